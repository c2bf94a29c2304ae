"""Damage heads compared on the same features of the same crops, and scored on the true footprints."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.solver import build_lr_scheduler
from torch import Tensor

from skyeye_det.data.catalog import register_datasets
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.loading import build_pair_train_loader
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.faults import told_in_a_sentence
from skyeye_det.engine.footprint_score import (
    DIRECTIONS,
    folds_of,
    footprint_instances,
    footprint_owners,
    shifted,
)
from skyeye_det.engine.setup import build_pair_model, check_training, load_config, mask_side
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.errors import InputError, shown
from skyeye_det.evaluation.bootstrap import Resampling
from skyeye_det.evaluation.official_truth import paint_annotations
from skyeye_det.evaluation.tuning_counts import Counts, PaintedCounts
from skyeye_det.evaluation.tuning_grades import counts_by_rule, counts_of_owners, cross_fitted_grades
from skyeye_det.evaluation.tuning_report import share_higher
from skyeye_det.evaluation.xview2_metrics import CLASS_NAMES, PixelCounts
from skyeye_det.files import read_bytes
from skyeye_det.modeling.footprint_rcnn import as_proposals
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.modeling.roi_heads import BuildingROIHeads
from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned
from skyeye_det.yaml_text import parse_yaml

_MOST_VARIANTS = 64


@dataclass(eq=False)
class _Contender:
    """A head in training."""

    name: str
    heads: BuildingROIHeads
    optimizer: torch.optim.Optimizer
    scheduler: Any
    loss: float = 0.0

    def learn(self, features: dict[str, Tensor], proposals: list) -> None:
        """One iteration."""
        loss = self.heads.damage_losses(features, proposals)["loss_damage"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.loss += 0.05 * (float(loss.detach()) - self.loss)


def compare_heads(
    config_file: str,
    weights: str,
    variants: Path,
    dataset: str,
    shifts: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Trains a damage head for each variant on the features of one trained model, and scores them.

    All heads see the same crops in the same order, begin from the same seed, and learn from the true
    footprints for ``SOLVER.MAX_ITER`` iterations; the rest of the model stays as it is. Held against joint
    training this costs a backbone's forward pass for all of them together. Classes are the likeliest ones,
    and in one more row, of shift 0, those by weights that are tuned for this head on the other folds of
    tiles: which of two heads is the better may turn on it.

    Args:
        config_file: YAML of the model.
        weights: its checkpoint, whose own damage head is not used.
        variants: YAML, name -> ``[KEY, VALUE, ...]`` changes of ``MODEL.DAMAGE_HEAD``.
        dataset: name of the converted split to score on.
        shifts: px by which the post images are moved for scoring.
        overrides: ``KEY VALUE ...`` of the config.

    Returns:
        For each variant: ``name``, ``loss`` (smoothed, at the end), and for each shift a row in ``rows`` with
        the official score's parts and ``above_first``, the share of paired draws of tiles in which its damage
        F1 exceeds that of the first variant; the row of tuned weights, which only 2 tiles or more have, is
        ``cross_fitted``.

    Raises:
        InputError: a file is not what it should be, or a variant changes something else than the head.
    """
    cfg = load_config(config_file, overrides)
    check_training(cfg, 1)
    changes = read_variants(variants)
    register_datasets([*cfg.DATASETS.TRAIN, dataset])
    trunk = build_pair_model(cfg).eval()
    if not isinstance(trunk, PairRCNN):
        raise InputError(f"config {config_file}: expected a model of instances, found {type(trunk).__name__}")
    SkyeyeCheckpointer(trunk).load_whole_model(weights)
    contenders = [_contender(config_file, overrides, *item) for item in changes.items()]
    with told_in_a_sentence():
        _train(cfg, trunk, contenders)
        painted = _score(cfg, trunk, contenders, dataset, shifts)
    scenes = [tile["scene"] for tile in DatasetCatalog.get(dataset)]
    judged = [_judged(by_shift, shifts, scenes) for by_shift in painted]
    return [
        {
            "name": each.name,
            "loss": each.loss,
            "rows": [
                {"shift": shift, "cross_fitted": fitted, **_figures(counts, judged[0][shift, fitted])}
                for (shift, fitted), counts in judged[index].items()
            ],
        }
        for index, each in enumerate(contenders)
    ]


def read_variants(path: Path) -> dict[str, list[str]]:
    """Reads names and changes.

    Raises:
        InputError: the file is no mapping of names to ``[KEY, VALUE, ...]`` of ``MODEL.DAMAGE_HEAD``.
    """
    try:
        content = parse_yaml(read_bytes(path))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected plain YAML, found other") from error
    if not isinstance(content, Mapping) or not 0 < len(content) <= _MOST_VARIANTS:
        raise InputError(
            f"{path}: expected a mapping of 1 to {_MOST_VARIANTS} variants; see configs/ablations"
        )
    for name, change in content.items():
        keys = change[::2] if isinstance(change, list) and len(change) % 2 == 0 else [None]
        if not all(isinstance(key, str) and key.startswith("MODEL.DAMAGE_HEAD.") for key in keys):
            raise InputError(
                f"{path}: {shown(str(name))}: expected [KEY, VALUE, ...] of MODEL.DAMAGE_HEAD, found "
                f"{shown(str(change))}"
            )
    return {str(name): [str(item) for item in change] for name, change in content.items()}


def _contender(config_file: str, overrides: Sequence[str], name: str, change: Sequence[str]) -> _Contender:
    cfg = load_config(config_file, [*overrides, *change])
    torch.manual_seed(max(cfg.SEED, 0))
    heads = build_pair_model(cfg).roi_heads
    if not isinstance(heads, BuildingROIHeads):
        raise InputError(f"MODEL.ROI_HEADS.NAME: expected BuildingROIHeads, found {cfg.MODEL.ROI_HEADS.NAME}")
    optimizer = PairTrainer.build_optimizer(cfg, heads.damage_head)
    return _Contender(name, heads.train(), optimizer, build_lr_scheduler(cfg, optimizer))


def _train(cfg: CfgNode, trunk: PairRCNN, contenders: Sequence[_Contender]) -> None:
    logger = logging.getLogger(__name__)
    batches = iter(build_pair_train_loader(cfg, cfg.DATASETS.TRAIN))
    for iteration in progress(range(cfg.SOLVER.MAX_ITER), cfg.SOLVER.MAX_ITER, "train", "iteration"):
        batch = next(batches)
        torch.manual_seed(max(cfg.SEED, 0) + iteration)
        with torch.no_grad():
            features = trunk.backbone(trunk.preprocess_image(batch).tensor)
        proposals = [as_proposals(each["instances"].to(trunk.device)) for each in batch]
        for contender in contenders:
            contender.learn(features, proposals)
    for contender in contenders:
        logger.info("%s: loss %.4f", contender.name, contender.loss)


@torch.inference_mode()
def _score(
    cfg: CfgNode, trunk: PairRCNN, contenders: Sequence[_Contender], dataset: str, shifts: Sequence[int]
) -> list[list[list[PaintedCounts]]]:
    """What the buildings of each tile are graded, by contender, shift and tile."""
    tiles, mapper = DatasetCatalog.get(dataset), PairMapper(cfg, is_train=False)
    side = mask_side(cfg)
    painted: list[list[list[PaintedCounts]]] = [[[] for _ in shifts] for _ in contenders]
    for contender in contenders:
        contender.heads.eval()
    for number, tile in enumerate(progress(iter(tiles), len(tiles), "score", "tile")):
        pair, footprints = mapper(tile), footprint_instances(tile, side)
        truth, owner = paint_annotations(tile), footprint_owners(tile)
        for row, image in enumerate(shifted(pair["image"], shifts, DIRECTIONS[number % 4])):
            features = trunk.backbone(trunk.preprocess_image([{**pair, "image": image}]).tensor)
            for contender, by_shift in zip(contenders, painted, strict=True):
                (graded,) = contender.heads.grade(features, [footprints.to(trunk.device)])
                probs = graded.pred_damage_probs.float().cpu().numpy()
                by_shift[row].append(counts_of_owners(owner, probs, truth))
    return painted


def _judged(
    painted: Sequence[Sequence[PaintedCounts]], shifts: Sequence[int], scenes: Sequence[str]
) -> dict[tuple[int, bool], Counts]:
    """Counts (T, 3, 5) by shift, the likeliest classes and, of shift 0, the cross-fitted ones."""
    plain = DecisionRule()
    judged = {}
    for shift, tiles in zip(shifts, painted, strict=True):
        judged[shift, False] = np.array([counts_by_rule(tile, plain) for tile in tiles]).reshape(-1, 3, 5)
        if shift == 0 and len(tiles) > 1:
            judged[shift, True], _ = cross_fitted_grades(tiles, scenes, folds_of(len(tiles)))
    return judged


def _figures(counts: Counts, first: Counts) -> dict[str, float | None]:
    share = None if counts is first else share_higher(counts, first, Resampling())["damage_f1"]
    return PixelCounts(*counts.sum(axis=0)).score() | {"above_first": share}


def format_comparison(results: Sequence[dict[str, Any]]) -> str:
    """A table: a line for each variant and shift."""
    classes = [f"damage_f1_{name.replace('-', '_')}" for name in CLASS_NAMES]
    lines = [["damage head", "shift", "damage F1", *CLASS_NAMES, "above the first in"]]
    for result in results:
        for row in result["rows"]:
            figures = [f"{row[key]:.3f}" for key in ("damage_f1", *classes)]
            share = row["above_first"]
            told = "" if share is None else f"{share:.1%} of draws"
            shift = f"{row['shift']} px" + ", cross-fitted" * row["cross_fitted"]
            lines.append([result["name"], shift, *figures, told])
    return aligned(lines)
