#!/usr/bin/env python
r"""Compares `skyeye adapt` with retraining the damage head on an event's labels.

    python tools/benchmark/retraining.py --event NAME PREDICTIONS XBD_ROOT \
        --config-file CONFIG --weights WEIGHTS --csv table.csv

PREDICTIONS are tools/infer.py's of these weights on images of XBD_ROOT. Labels and judgement are those of
adaptation.py, random draws of 30 and 100 alone. Method `retrained`: the whole damage head trains on from
the model, 20 updates by AdamW with all labels each, at the learning rate of configs/xbd_mrcnn.yaml; a
building sees those of its tile that have labels. `again`: no update, but on the outlines of decided
buildings; its distance from `none` comes of the masks alone.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adaptation import Answers, command_line, study, write_table
from events import Event, read_event
from skyeye_det.arguments import named_path
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.pairs import find_pairs
from skyeye_det.decision.adaptation import Labels
from skyeye_det.decision.results import PREDICTIONS_FOLDER, decide_image
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.models import Models
from skyeye_det.engine.pair_reading import tile_of
from skyeye_det.errors import InputError, run_command
from skyeye_det.modeling.damage_head import DamageHead, ordinal_loss, ordinal_probabilities
from skyeye_det.prediction.footprints import Footprints
from skyeye_det.prediction.store import PredictionStore

COUNTS = (30, 100)
STEPS = 20
RATE = 6e-4


@dataclass(frozen=True, eq=False)
class Pooled:
    """What the damage head reads of N buildings.

    Attributes:
        inputs: (N, ...) each: features before and after, masks, boxes, evidence.
        tiles: (N,), number of the tile of each.
    """

    inputs: tuple[Tensor, ...]
    tiles: np.ndarray

    def logits(self, head: DamageHead, numbers: np.ndarray) -> Tensor:
        """Logits of some buildings, tile by tile."""
        order = np.argsort(self.tiles[numbers], kind="stable")
        ordered = numbers[order]
        counts = np.unique(self.tiles[ordered], return_counts=True)[1].tolist()
        pre, post, masks, boxes, evidence = (each[ordered] for each in self.inputs)
        logits, _ = head(pre, post, masks, list(boxes.split(counts)), evidence)
        return logits[np.argsort(order)]


def damage_head(models: Models) -> DamageHead:
    """That of the one network."""
    head = models.load().networks[0].get_submodule("roi_heads.damage_head")
    assert isinstance(head, DamageHead)
    return head


def pooled(models: Models, event: Event, predictions: Path, root: Path) -> Pooled:
    """Runs the network over an event's tiles, on the outlines of its buildings."""
    head = damage_head(models)
    store = PredictionStore.read(predictions / PREDICTIONS_FOLDER)
    pairs = {pair.name: pair for pair in find_pairs(root)[0]}
    mapper = PairMapper(models.cfg, is_train=False)
    rows: list[tuple[Tensor, ...]] = []

    def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
        pre, post, masks, boxes, evidence = given
        rows.append((pre, post, masks, torch.cat(boxes), evidence))

    watch = head.register_forward_pre_hook(keep)
    for image in store.images:
        crops = decide_image(store, image, event.rule).masks
        if len(crops):
            pixels = mapper(tile_of(pairs[image.scene]))["image"].numpy()
            models.classify(pixels, Footprints(crops, (image.height, image.width)))
    watch.remove()
    # A copy each: tensors of inference mode take part in no training.
    return Pooled(tuple(torch.cat(each).clone() for each in zip(*rows, strict=True)), event.tiles)


def retrained(head: DamageHead, seen: Pooled, labels: Labels, chosen: np.ndarray) -> DamageHead:
    """The damage head after ``STEPS`` updates on the buildings ``chosen``."""
    own = copy.deepcopy(head).requires_grad_(True).train()
    grades = torch.from_numpy(np.asarray(labels.grades)).long()
    optimizer = torch.optim.AdamW(own.parameters(), RATE, weight_decay=0.01)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = ordinal_loss(seen.logits(own, chosen), grades, own.class_weights, own.ordinal)
        loss.backward()
        nn.utils.clip_grad_norm_(own.parameters(), 1.0)
        optimizer.step()
    return own.eval()


def retraining(head: DamageHead, seen: Pooled, event: Event) -> Callable[[Labels, list[int]], Answers]:
    """The head's methods, for those buildings of ``event`` that have a true grade."""
    graded = np.flatnonzero(event.grades >= 0)

    @torch.no_grad()
    def probabilities(own: DamageHead) -> np.ndarray:
        tiles = np.unique(seen.tiles)
        logits = torch.cat([seen.logits(own, np.flatnonzero(seen.tiles == each)) for each in tiles])
        return event.rule.calibrated(ordinal_probabilities(logits, own.ordinal).numpy())[graded]

    again = probabilities(head)

    def answers(labels: Labels, chosen: list[int]) -> Answers:
        taught = probabilities(retrained(head, seen, labels, graded[chosen]))
        return {"again": again.__getitem__, "retrained": taught.__getitem__}

    return answers


def main() -> None:
    """Runs the network, and writes and prints the table."""
    parser = command_line(__doc__)
    add = parser.add_argument
    add("--config-file", type=named_path, required=True, metavar="FILE")
    add("--weights", type=named_path, required=True, metavar="FILE")
    add("--opts", nargs="+", default=[], metavar="KEY VALUE", help="changes to the config")
    given = parser.parse_args()
    if len(given.event) != 1:
        raise InputError(f"--event: expected one, that of the weights, found {len(given.event)}")
    name, folder, root = given.event[0]
    event = read_event(name, Path(folder), Path(root), given.decisions)
    models = Models([ModelFiles(str(given.config_file), str(given.weights))], given.opts)
    seen = pooled(models, event, Path(folder), Path(root))
    more = retraining(damage_head(models), seen, event)
    rows = partial(study, draws=given.draws, more=more, ways=["random"], counts=COUNTS)
    write_table(given.csv, [event.graded()], rows)


if __name__ == "__main__":
    run_command(main)
