"""Heads that differ in their config and learn side by side on the features of one trained model."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.solver import build_lr_scheduler
from detectron2.utils.events import EventStorage
from torch import Tensor

from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_bytes
from skyeye_det.modeling.footprint_rcnn import as_proposals
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.modeling.roi_heads import BuildingROIHeads
from skyeye_det.progress import progress
from skyeye_det.yaml_text import parse_yaml

_MOST_VARIANTS = 64

Losses = Callable[[dict[str, Tensor], list], dict[str, Tensor]]
"""(features, proposals with ``gt_*``) -> losses."""


@dataclass(frozen=True)
class Part:
    """A part of the ROI heads whose variants can be compared.

    Attributes:
        keys: what the names of its config keys begin with.
        module: child of the ROI heads.
        losses: method of the ROI heads that trains it.
        figure: what decides between two variants, of ``PixelCounts.score``.
    """

    keys: str
    module: str
    losses: str
    figure: str


DAMAGE = Part("MODEL.DAMAGE_HEAD.", "damage_head", "damage_losses", "damage_f1")
MASK = Part("MODEL.ROI_MASK_HEAD.", "mask_head", "mask_losses", "localization_f1")


@dataclass(eq=False)
class Contender:
    """A head in training.

    Attributes:
        name: of the variant.
        heads: ROI heads of its config, of which one part learns.
        losses: of that part.
        optimizer: of its parameters.
        scheduler: of the learning rate.
        loss: smoothed.
    """

    name: str
    heads: BuildingROIHeads
    losses: Losses
    optimizer: torch.optim.Optimizer
    scheduler: Any
    loss: float = 0.0

    def learn(self, features: dict[str, Tensor], proposals: list) -> None:
        """One iteration."""
        loss = torch.stack(list(self.losses(features, proposals).values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.loss += 0.05 * (float(loss.detach()) - self.loss)


def read_variants(path: Path) -> tuple[Part, dict[str, list[str]]]:
    """Reads names and changes.

    Returns:
        The part that all of them change, and name -> ``[KEY, VALUE, ...]``.

    Raises:
        InputError: the file is no mapping of names to ``[KEY, VALUE, ...]`` of one part.
    """
    try:
        content = parse_yaml(read_bytes(path))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected plain YAML, found other") from error
    if not isinstance(content, Mapping) or not 0 < len(content) <= _MOST_VARIANTS:
        raise InputError(
            f"{path}: expected a mapping of 1 to {_MOST_VARIANTS} variants; see configs/ablations"
        )
    fitting = [part for part in (DAMAGE, MASK) if all(_is_of(part, each) for each in content.values())]
    if not fitting:
        neither = [name for name, each in content.items() if not (_is_of(DAMAGE, each) or _is_of(MASK, each))]
        wrong = (neither or [name for name, each in content.items() if not _is_of(DAMAGE, each)])[0]
        raise InputError(
            f"{path}: {shown(str(wrong))}: expected [KEY, VALUE, ...] of {DAMAGE.keys}* alone, or of"
            f" {MASK.keys}* alone in the whole file, found {shown(str(content[wrong]))}"
        )
    return fitting[0], {str(name): [str(item) for item in each] for name, each in content.items()}


def _is_of(part: Part, change: Any) -> bool:
    keys = change[::2] if isinstance(change, list) and len(change) % 2 == 0 else [None]
    return all(isinstance(key, str) and key.startswith(part.keys) for key in keys)


def contender(
    config_file: str, overrides: Sequence[str], part: Part, name: str, change: Sequence[str]
) -> Contender:
    """A head with new weights, the same in all variants as far as their shapes are.

    Raises:
        InputError: the config names a part that does not exist, or has no ROI heads of ours.
    """
    cfg = load_config(config_file, [*overrides, *change])
    torch.manual_seed(max(cfg.SEED, 0))
    heads = build_pair_model(cfg).roi_heads
    if not isinstance(heads, BuildingROIHeads):
        raise InputError(f"MODEL.ROI_HEADS.NAME: expected BuildingROIHeads, found {cfg.MODEL.ROI_HEADS.NAME}")
    learning = getattr(heads, part.module).requires_grad_(True)  # whatever META_ARCHITECTURE leaves as it is
    optimizer = PairTrainer.build_optimizer(cfg, learning)
    losses = getattr(heads, part.losses)
    return Contender(name, heads.train(), losses, optimizer, build_lr_scheduler(cfg, optimizer))


def train_beside(cfg: CfgNode, trunk: PairRCNN, contenders: Sequence[Contender], batches: Iterator) -> None:
    """Trains all of them on the same crops, in the same order, with the same draws.

    Args:
        cfg: ``SOLVER.MAX_ITER`` and ``SEED`` are read.
        trunk: model in evaluation mode whose features they see.
        contenders: left in evaluation mode.
        batches: of training, endless.
    """
    for iteration in progress(range(cfg.SOLVER.MAX_ITER), cfg.SOLVER.MAX_ITER, "train", "iteration"):
        batch = next(batches)
        torch.manual_seed(max(cfg.SEED, 0) + iteration)
        with torch.no_grad():
            features = trunk.backbone(trunk.preprocess_image(batch).tensor)
        proposals = [as_proposals(each["instances"].to(trunk.device)) for each in batch]
        for each in contenders:
            with EventStorage():  # detectron2's mask loss logs to it
                each.learn(features, proposals)
    for each in contenders:
        each.heads.eval()
        logging.getLogger(__name__).info("%s: loss %.4f", each.name, each.loss)
