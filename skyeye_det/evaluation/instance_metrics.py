"""Mask AP and AR of buildings as COCO defines them, and how many buildings the proposals reach.

faster-coco-eval evaluates tile by tile, in a process for each where there are several, and pools what it made
of them in the end: a tile leaves about 1 KB an instance behind, where the masks of all at once take 5 KB.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from skyeye_det.evaluation.buildings import LEAST_IOU, SIZES, size_groups
from skyeye_det.evaluation.truth import TrueBuildings, annotated_buildings

MAX_DETECTIONS = 1000
"""Instances that count a tile; COCO's 100 would cap the recall of dense tiles."""

_AREAS = {"all": [0, 1e10], "below_16": [0, 255], "16_32": [256, 1024], "above_32": [1025, 1e10]}
"""Least and greatest area, px, of the buildings that count in each group."""

_BLOCK = 1024  # buildings compared with all proposals at a time

TileMatches = list[Any]
"""What faster-coco-eval makes of one tile, an evaluation for each of ``_AREAS``."""


def match_tile(true: TrueBuildings, masks: Sequence[dict[str, Any]], scores: Iterable[float]) -> TileMatches:
    """Matches the instances of one tile to its buildings.

    Args:
        true: the buildings.
        masks: N run lengths of the tile's size, which have been checked.
        scores: N of them, 0..1; the best ``MAX_DETECTIONS`` count, of equal ones the first.
    """
    return list(_evaluation(true, masks, scores)._evalImgs_cpp)


def _evaluation(
    true: TrueBuildings, masks: Sequence[dict[str, Any]], scores: Iterable[float]
) -> COCOeval_faster:
    one = {"image_id": 1, "category_id": 1}
    buildings = zip(true.run_lengths(), true.areas.tolist(), strict=True)
    truth = COCO(
        {
            "images": [{"id": 1, "height": true.shape[0], "width": true.shape[1]}],
            "annotations": [
                {**one, "id": number, "segmentation": mask, "area": area, "iscrowd": 0}
                for number, (mask, area) in enumerate(buildings, start=1)
            ],
            "categories": [{"id": 1, "name": "building"}],
        }
    )
    instances = zip(masks, scores, strict=True)
    found = truth.loadRes([{**one, "segmentation": mask, "score": float(score)} for mask, score in instances])
    evaluation = COCOeval_faster(truth, found, "segm", separate_eval=True)
    evaluation.params.maxDets = [MAX_DETECTIONS]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = list(_AREAS.values()), list(_AREAS)
    evaluation.evaluate()
    return evaluation


def precision_and_recall(tiles: Sequence[TileMatches]) -> dict[str, float]:
    """COCO's figures over tiles.

    Args:
        tiles: in the order of the images; it decides between instances of one score.

    Returns:
        Percent, 0..100: ``AP`` (mean over IoU 0.50:0.95), ``AP50``, ``AP75``, ``AP_<size>``, ``AR`` (recall,
        mean over IoU 0.50:0.95), ``AR_<size>``, ``recall50`` (found with IoU of at least 0.5) and
        ``recall50_<size>`` for buildings whose area is that of a square of less than 16, 16 to 32 and over
        32 px. NaN where the truth has no building (of that size).
    """
    pooled = _evaluation(TrueBuildings.of((), (1, 1)), (), ())
    if tiles:
        pooled._evalImgs_cpp = [tile[group] for group in range(len(_AREAS)) for tile in tiles]
        pooled._paramsEval.imgIds = list(range(1, len(tiles) + 1))
    pooled.accumulate()
    # -1 where nothing is true; by IoU, recall level, category, size and most detections
    precision, recall = (
        np.where(values < 0, np.nan, values)[..., 0, :, 0]
        for values in (pooled.eval["precision"], pooled.eval["recall"])
    )
    figures = {"AP50": precision[0, :, 0].mean(), "AP75": precision[5, :, 0].mean()}
    for group, size in enumerate(_AREAS):
        suffix = "" if size == "all" else f"_{size}"
        figures[f"AP{suffix}"] = precision[:, :, group].mean()
        figures[f"AR{suffix}"] = recall[:, group].mean()
        figures[f"recall50{suffix}"] = recall[0, group]
    return {name: 100 * float(value) for name, value in figures.items()}


def average_precision(tiles: Iterable[dict[str, Any]], results: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Figures of :func:`precision_and_recall` for a data set and the results of a model on it.

    Args:
        tiles: dataset dicts with ``image_id``, ``height``, ``width`` and ``annotations``; the truth is masks
            of their outlines by the official fill rule.
        results: COCO results with ``image_id``, ``segmentation`` and ``score``.
    """
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        found[result["image_id"]].append(result)
    return precision_and_recall(
        [
            match_tile(
                TrueBuildings.of(annotated_buildings(tile), (tile["height"], tile["width"])),
                [result["segmentation"] for result in found[tile["image_id"]]],
                [result["score"] for result in found[tile["image_id"]]],
            )
            for tile in sorted(tiles, key=lambda tile: tile["image_id"])
        ]
    )


def proposal_figures(counts: NDArray[np.int64]) -> dict[str, float]:
    """``proposal_recall50`` and ``proposal_recall50_<size>``, 0..100; NaN without buildings."""
    names = ["proposal_recall50", *(f"proposal_recall50_{size}" for size in SIZES)]
    rows = zip(names, *counts.tolist(), strict=True)
    return {name: 100 * met / count if count else float("nan") for name, count, met in rows}


def count_proposals(tile: dict[str, Any], proposals: NDArray[np.floating]) -> NDArray[np.int64]:
    """Counts the buildings of one tile that proposals meet; no later stage can find the others.

    A building is met or not, however many proposals meet it; one proposal may meet two buildings.

    Args:
        tile: dataset dict with ``annotations``, ``height`` and ``width``; buildings without a pixel in the
            tile do not count.
        proposals: (P, 4) boxes, XYXY in px, pixel ``k`` covers ``[k, k + 1]``.

    Returns:
        int64 (2, 4), which adds up over tiles: buildings, all and in each of ``buildings.SIZES``, and those
        whose box a proposal overlaps with an IoU of at least 0.5.
    """
    true = TrueBuildings.of(annotated_buildings(tile), (tile["height"], tile["width"]))
    boxes = np.array(
        [(*corner, *crop.shape[::-1]) for corner, crop in zip(true.corners, true.crops, strict=True)], float
    ).reshape(-1, 4)
    offered = np.array(proposals, np.float64)
    offered[:, 2:] -= offered[:, :2]
    met = np.zeros(len(boxes), bool)
    for start in range(0, len(boxes) if len(offered) else 0, _BLOCK):
        block = boxes[start : start + _BLOCK]
        ious = coco_mask.iou(offered, block, [0] * len(block))
        met[start : start + _BLOCK] = (ious >= LEAST_IOU).any(axis=0)
    groups = size_groups(true.areas)
    by_size = [np.bincount(group, minlength=len(SIZES)) for group in (groups, groups[met])]
    return np.array([[counts.sum(), *counts] for counts in by_size], np.int64)
