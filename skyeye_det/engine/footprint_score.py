"""Damage on the true footprints: the damage head alone, with the post image in place or shifted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances

from skyeye_det.data.augmentation import ShiftTransform
from skyeye_det.data.catalog import register_datasets
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.targets import building_mask, parts_from_segmentation
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.faults import told_in_a_sentence
from skyeye_det.engine.setup import build_pair_model, load_config, mask_side
from skyeye_det.errors import InputError
from skyeye_det.evaluation.official_truth import paint_annotations
from skyeye_det.evaluation.tuning import TuningOptions
from skyeye_det.evaluation.tuning_counts import PaintedCounts
from skyeye_det.evaluation.tuning_grades import counts_by_rule, counts_of_owners, cross_fitted_grades
from skyeye_det.evaluation.xview2_metrics import CLASS_F1_KEYS, CLASS_NAMES, PixelCounts
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.postprocessing.decision import DecisionRule, read_rule
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned

_DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))


@dataclass(frozen=True)
class FootprintScore:
    """One row of the curve.

    Attributes:
        shift: px by which the post images were moved, each tile in one of four directions in turn.
        counts: pixels of all tiles; localization is that of the true outlines.
        fold_rules: what each fold was decided by where that was tuned on the others; empty where
            ``TEST.DECISIONS`` decided.
    """

    shift: int
    counts: PixelCounts
    fold_rules: tuple[DecisionRule, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """``shift``, the official score's parts, 0..1, and ``fold_rules``: temperature and damage weights."""
        rules = [
            {"temperature": rule.temperature, "damage_weights": list(rule.damage_weights)}
            for rule in self.fold_rules
        ]
        return {"shift": self.shift} | self.counts.score() | {"fold_rules": rules}


def score_footprints(
    config_file: str,
    weights: str,
    dataset: str,
    shifts: Sequence[int] = (0,),
    overrides: Sequence[str] = (),
    *,
    cross_fit: bool = False,
) -> list[FootprintScore]:
    """Grades every true building of a data set and scores the result, once for each shift.

    The classes are decided by ``TEST.DECISIONS``; the rest of the rule has no say, since nothing is found.

    Args:
        config_file: YAML of an instance model.
        weights: its checkpoint.
        dataset: name of a converted split, such as ``xbd_val``.
        shifts: px, 0 or more.
        overrides: ``KEY VALUE ...`` of the config.
        cross_fit: whether to add a row, at shift 0, in which each tile is decided by the temperature and
            damage weights tuned on the other folds of tiles.

    Returns:
        A row for each shift, in their order, and last the cross-fitted one where it was asked for.

    Raises:
        InputError: data, config or weights are not what they should be, the model has no instances, or there
            is too little to cross-fit on.
    """
    cfg = load_config(config_file, overrides)
    register_datasets([dataset])
    tiles = DatasetCatalog.get(dataset)
    rule = read_rule(cfg.TEST.DECISIONS)
    if cross_fit:
        _check_cross_fit(shifts, len(tiles))
    model = build_pair_model(cfg).eval()
    if not isinstance(model, PairRCNN):
        raise InputError(
            f"config {config_file}: expected a model of instances (PairRCNN, HybridRCNN), found "
            f"{cfg.MODEL.META_ARCHITECTURE}"
        )
    SkyeyeCheckpointer(model).load_whole_model(weights)
    kept: list[list[PaintedCounts]] = [[] for _ in shifts]  # smaller than the annotations
    with told_in_a_sentence():
        for view in footprint_views(cfg, tiles, shifts, "grade"):
            probs = _damage_probs(model, view.pair, view.footprints)
            kept[view.row].append(view.counts(probs))
    counts = [sum((counts_by_rule(tile, rule) for tile in row), np.zeros((3, 5), np.int64)) for row in kept]
    rows = [FootprintScore(shift, PixelCounts(*found)) for shift, found in zip(shifts, counts, strict=True)]
    if cross_fit:
        judged, rules = cross_fitted_grades(
            kept[shifts.index(0)], [tile["scene"] for tile in tiles], folds_of(len(tiles))
        )
        rows.append(FootprintScore(0, PixelCounts(*judged.sum(axis=0)), tuple(rules)))
    return rows


def folds_of(tiles: int) -> int:
    """Folds of a cross-fit over so many tiles, as ``tools/tune_postprocess.py`` deals them."""
    return min(TuningOptions().folds, tiles)


def _check_cross_fit(shifts: Sequence[int], tiles: int) -> None:
    if 0 not in shifts:
        raise InputError(
            f"--cross-fit: expected 0 among --shifts, since it judges images in place, found {list(shifts)}"
        )
    if tiles < 2:
        raise InputError(
            f"--cross-fit: expected at least 2 tiles, to tune on one and judge by the other, found {tiles}; "
            "choose another --dataset"
        )


@dataclass(frozen=True, eq=False)
class FootprintView:
    """The true buildings of a tile whose post image was moved.

    Attributes:
        row: number of the shift.
        pair: as ``PairMapper`` gives it.
        footprints: of ``footprint_instances``.
        owner: of ``footprint_owners``.
        truth: of ``paint_annotations``.
    """

    row: int
    pair: dict[str, Any]
    footprints: Instances
    owner: np.ndarray
    truth: tuple[np.ndarray, np.ndarray]

    def counts(self, probs: np.ndarray) -> PaintedCounts:
        """Counts of the tile when its buildings have these damage probabilities (N, 4)."""
        return counts_of_owners(self.owner, probs, self.truth)


def footprint_views(
    cfg: CfgNode, tiles: Sequence[dict[str, Any]], shifts: Sequence[int], told: str
) -> Iterator[FootprintView]:
    """Every tile at every shift, each tile in one of four directions in turn.

    Args:
        cfg: of the model.
        tiles: dataset dicts.
        shifts: px.
        told: what is done with them, for the progress.
    """
    mapper, side = PairMapper(cfg, is_train=False), mask_side(cfg)
    for number, tile in enumerate(progress(iter(tiles), len(tiles), told, "tile")):
        pair, footprints = mapper(tile), footprint_instances(tile, side)
        truth, owner = paint_annotations(tile), footprint_owners(tile)
        for row, image in enumerate(shifted(pair["image"], shifts, _DIRECTIONS[number % 4])):
            yield FootprintView(row, {**pair, "image": image}, footprints, owner, truth)


def footprint_instances(tile: dict[str, Any], side: int) -> Instances:
    """The true buildings of a tile as instances that the damage head can grade.

    Args:
        tile: dataset dict with ``annotations``.
        side: S of the masks.

    Returns:
        ``pred_boxes`` (N, 4) XYXY px, tight around the official masks, ``pred_masks`` (N, 1, S, S) float32.
    """
    shape = tile["height"], tile["width"]
    boxes, masks = np.zeros((len(tile["annotations"]), 4), np.float32), []
    for box, annotation in zip(boxes, tile["annotations"], strict=True):
        mask, (x0, y0) = building_mask(parts_from_segmentation(annotation["segmentation"]), shape)
        height, width = mask.shape
        box[:] = x0, y0, x0 + width, y0 + height
        empty = np.zeros((side, side), np.float32)
        masks.append(cv2.resize(mask.astype(np.float32), (side, side)) if mask.size else empty)
    footprints = Instances(shape)
    footprints.pred_boxes = Boxes(torch.from_numpy(boxes))
    stacked = np.stack(masks) if masks else np.zeros((0, side, side), np.float32)
    footprints.pred_masks = torch.from_numpy(stacked)[:, None]
    return footprints


def footprint_owners(tile: dict[str, Any]) -> np.ndarray:
    """Which annotation each pixel belongs to, as the targets are painted: int32 (h, w), -1 for none."""
    shape = tile["height"], tile["width"]
    owner = np.full(shape, -1, np.int32)
    for number, annotation in enumerate(tile["annotations"]):
        mask, (x0, y0) = building_mask(parts_from_segmentation(annotation["segmentation"]), shape)
        owner[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]][mask > 0] = number
    return owner


@torch.inference_mode()
def _damage_probs(model: PairRCNN, pair: dict[str, Any], footprints: Instances) -> np.ndarray:
    """Damage probabilities float32 (N, 4) of a tile's buildings."""
    given = Instances(footprints.image_size, **footprints.get_fields())
    (graded,) = model.grade([pair], [given])
    return np.asarray(graded.pred_damage_probs.float().cpu().numpy())


def shifted(image: torch.Tensor, shifts: Sequence[int], direction: tuple[int, int]) -> Iterator[torch.Tensor]:
    """The pair (6, H, W) with its post half moved by each of the shifts."""
    pre, post = image.split(3)
    planes = np.ascontiguousarray(post.permute(1, 2, 0).numpy())
    for shift in shifts:
        moved = ShiftTransform(shift * direction[0], shift * direction[1]).apply_image(planes)
        yield torch.cat([pre, torch.from_numpy(np.ascontiguousarray(moved)).permute(2, 0, 1)])


def format_footprint_scores(rows: Sequence[FootprintScore]) -> str:
    """A table: score, damage F1 and the four classes by shift, and what share of the first row is kept."""
    first = rows[0].as_dict()["damage_f1"]
    lines = [["post shifted by", "score", "damage F1", "kept", *CLASS_NAMES]]
    for row in rows:
        values = row.as_dict()
        kept = values["damage_f1"] / first if first else float("nan")
        cells = [values["score"], values["damage_f1"], kept]
        cells += [values[key] for key in CLASS_F1_KEYS]
        label = f"{row.shift} px, weights cross-fitted" if row.fold_rules else f"{row.shift} px"
        lines.append([label, *(f"{value:.3f}" for value in cells)])
    return aligned(lines)
