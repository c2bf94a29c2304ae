"""Damage or mask heads compared on the same features of the same crops, and scored on the true buildings."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.structures import Instances

from skyeye_det.data.catalog import register_datasets
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.loading import build_pair_train_loader
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.faults import told_in_a_sentence
from skyeye_det.engine.footprint_score import folds_of, footprint_instances, footprint_views
from skyeye_det.engine.head_variants import MASK, Contender, Part, contender, read_variants, train_beside
from skyeye_det.engine.setup import build_pair_model, check_training, load_config, mask_side
from skyeye_det.errors import InputError
from skyeye_det.evaluation.bootstrap import Resampling
from skyeye_det.evaluation.official_truth import paint_annotations
from skyeye_det.evaluation.tuning_counts import Counts, PaintedCounts
from skyeye_det.evaluation.tuning_grades import counts_by_rule, cross_fitted_grades
from skyeye_det.evaluation.tuning_report import share_higher
from skyeye_det.evaluation.xview2_metrics import CLASS_F1_KEYS, CLASS_NAMES, PixelCounts, count_pixels
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.postprocessing.rasterize import rasterize_instances
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned

_Judged = dict[tuple[int, bool], Counts]
"""(shift in px, whether the damage weights are cross-fitted) -> pixels by tile, int64 (T, 3, 5)."""

_MASK_THRESHOLD = 0.5


def compare_heads(
    config_file: str,
    weights: str,
    variants: Path,
    dataset: str,
    shifts: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Trains a head for each variant on the features of one trained model, and scores them.

    All heads see the same crops in the same order, begin from the same seed, and learn from the true
    footprints for ``SOLVER.MAX_ITER`` iterations; the rest of the model stays as it is. Held against joint
    training this costs a backbone's forward pass for all of them together.

    Damage heads grade the true footprints. Classes are the likeliest ones, and in one more row, of shift 0,
    those by weights that are tuned for this head on the other folds of tiles: which of two heads is the
    better may turn on it. Mask heads draw every building in its true box, from probability 0.5 on, and are
    judged by localization F1.

    Args:
        config_file: YAML of the model.
        weights: its checkpoint, whose own head is not used.
        variants: YAML, name -> ``[KEY, VALUE, ...]`` changes, all of ``MODEL.DAMAGE_HEAD`` or all of
            ``MODEL.ROI_MASK_HEAD``.
        dataset: name of the converted split to score on.
        shifts: px by which the post images are moved for scoring; mask heads do not see them.
        overrides: ``KEY VALUE ...`` of the config.

    Returns:
        For each variant: ``name``, ``loss`` (smoothed, at the end), and for each shift a row in ``rows`` with
        the official score's parts, ``figure`` (which of them decides) and ``above_first``, the share of
        paired draws of tiles in which that figure exceeds the first variant's; the row of tuned weights,
        which only damage heads and 2 tiles or more have, is ``cross_fitted``.

    Raises:
        InputError: a file is not what it should be, or a variant changes something else than the head.
    """
    cfg = load_config(config_file, overrides)
    check_training(cfg, 1)
    part, changes = read_variants(variants)
    if part is MASK and tuple(shifts) != (0,):
        raise InputError(
            f"--shifts: expected 0 for mask heads, which see the pre image, found {list(shifts)}"
        )
    register_datasets([*cfg.DATASETS.TRAIN, dataset])
    trunk = build_pair_model(cfg).eval()
    if not isinstance(trunk, PairRCNN):
        raise InputError(f"config {config_file}: expected a model of instances, found {type(trunk).__name__}")
    SkyeyeCheckpointer(trunk).load_whole_model(weights)
    contenders = [contender(config_file, overrides, part, *item) for item in changes.items()]
    with told_in_a_sentence():
        train_beside(cfg, trunk, contenders, iter(build_pair_train_loader(cfg, cfg.DATASETS.TRAIN)))
        judged = (
            _judged_masks(cfg, trunk, contenders, dataset)
            if part is MASK
            else _judged_damage(cfg, trunk, contenders, dataset, shifts)
        )
    return [
        {"name": each.name, "loss": each.loss, "rows": _rows(part, own, judged[0])}
        for each, own in zip(contenders, judged, strict=True)
    ]


def _rows(part: Part, own: _Judged, first: _Judged) -> list[dict[str, Any]]:
    rows = []
    for (shift, cross_fitted), counts in own.items():
        other = first[shift, cross_fitted]
        share = None if counts is other else share_higher(counts, other, Resampling())[part.figure]
        figures = PixelCounts(*counts.sum(axis=0)).score()
        about = {"shift": shift, "cross_fitted": cross_fitted, "figure": part.figure}
        rows.append(about | figures | {"above_first": share})
    return rows


@torch.inference_mode()
def _judged_damage(
    cfg: CfgNode, trunk: PairRCNN, contenders: Sequence[Contender], dataset: str, shifts: Sequence[int]
) -> list[_Judged]:
    tiles = DatasetCatalog.get(dataset)
    painted: list[list[list[PaintedCounts]]] = [[[] for _ in shifts] for _ in contenders]
    for view in footprint_views(cfg, tiles, shifts, "score"):
        features = trunk.backbone(trunk.preprocess_image([view.pair]).tensor)
        for each, by_shift in zip(contenders, painted, strict=True):
            (graded,) = each.heads.grade(features, [view.footprints.to(trunk.device)])
            by_shift[view.row].append(view.counts(graded.pred_damage_probs.float().cpu().numpy()))
    scenes = [tile["scene"] for tile in tiles]
    return [_with_cross_fit(dict(zip(shifts, by_shift, strict=True)), scenes) for by_shift in painted]


def _with_cross_fit(painted: Mapping[int, Sequence[PaintedCounts]], scenes: Sequence[str]) -> _Judged:
    """Counts by the likeliest classes and, of shift 0, by the cross-fitted ones."""
    likeliest = DecisionRule()
    judged: _Judged = {}
    for shift, tiles in painted.items():
        judged[shift, False] = _stacked([counts_by_rule(tile, likeliest) for tile in tiles])
        if shift == 0 and len(tiles) > 1:
            judged[shift, True], _ = cross_fitted_grades(tiles, scenes, folds_of(len(tiles)))
    return judged


@torch.inference_mode()
def _judged_masks(
    cfg: CfgNode, trunk: PairRCNN, contenders: Sequence[Contender], dataset: str
) -> list[_Judged]:
    tiles, mapper = DatasetCatalog.get(dataset), PairMapper(cfg, is_train=False)
    side = mask_side(cfg)
    counts: list[list[Counts]] = [[] for _ in contenders]
    for tile in progress(iter(tiles), len(tiles), "score", "tile"):
        features = trunk.backbone(trunk.preprocess_image([mapper(tile)]).tensor)
        boxes, truth = footprint_instances(tile, side).pred_boxes.to(trunk.device), paint_annotations(tile)
        for each, by_tile in zip(contenders, counts, strict=True):
            given = Instances((tile["height"], tile["width"]), pred_boxes=boxes)
            given.pred_classes = torch.zeros(len(boxes), dtype=torch.int64, device=trunk.device)
            (found,) = each.heads.draw(features, [given])
            masks = found.pred_masks[:, 0].float().cpu().numpy()
            ones = np.ones(len(masks), np.float32)
            undamaged = np.zeros(len(masks), np.int64)
            drawn = rasterize_instances(
                boxes.tensor.cpu().numpy(), masks, ones, undamaged, given.image_size, _MASK_THRESHOLD
            )
            by_tile.append(count_pixels(*drawn, *truth).as_array())
    return [{(0, False): _stacked(by_tile)} for by_tile in counts]


def _stacked(counts: Sequence[Counts]) -> Counts:
    return np.array(counts, np.int64).reshape(-1, 3, len(CLASS_NAMES) + 1)


def format_comparison(results: Sequence[dict[str, Any]]) -> str:
    """A table: a line for each variant and shift."""
    if results[0]["rows"][0]["figure"] == MASK.figure:
        lines = [["mask head", "localization F1 in true boxes", "above the first in"]]
        for result in results:
            (row,) = result["rows"]
            lines.append([result["name"], f"{row[MASK.figure]:.4f}", _share(row)])
        return aligned(lines)
    lines = [["damage head", "shift", "damage F1", *CLASS_NAMES, "above the first in"]]
    for result in results:
        for row in result["rows"]:
            figures = [f"{row[key]:.3f}" for key in ("damage_f1", *CLASS_F1_KEYS)]
            shift = f"{row['shift']} px" + ", cross-fitted" * row["cross_fitted"]
            lines.append([result["name"], shift, *figures, _share(row)])
    return aligned(lines)


def _share(row: Mapping[str, Any]) -> str:
    share = row["above_first"]
    if share is None:
        return ""
    return "n/a" if math.isnan(share) else f"{share:.1%} of draws"
