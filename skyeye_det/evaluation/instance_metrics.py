"""Mask AP and AR of buildings as COCO defines them, with limits that fit dense tiles.

The figures are those of pycocotools' ``COCOeval`` to the last digit (a test holds it). Its matching compares
every instance of a tile with every building, forty times over, which takes minutes for 1,000 by 1,000; here
only pairs that overlap with an IoU of at least 0.5 are looked at, and what a tile leaves behind is 24 bytes
an instance.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.evaluation.object_counts import LEAST_AREAS, SIZES
from skyeye_det.evaluation.object_match import Overlaps, overlaps_of_masks
from skyeye_det.evaluation.run_lengths import mask_areas

MAX_DETECTIONS = 1000
"""Instances that count a tile; COCO's 100 would cap the recall of dense tiles."""

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALL_LEVELS = np.linspace(0, 1, 101)
_RANGES = {
    "all": (0, 1 << 62),
    **dict(
        zip(
            SIZES,
            zip(LEAST_AREAS, (LEAST_AREAS[1] - 1, LEAST_AREAS[2] - 1, 1 << 62), strict=True),
            strict=True,
        )
    ),
}
"""Least and greatest area, px, of the buildings that count in each group."""

_NAN = float("nan")
Ints = NDArray[np.int64]
Bits = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class TileMatches:
    """Which instances of a tile match a building; D instances, best score first, 4 groups of size.

    Attributes:
        scores: float64 (D,).
        hits: uint16 (D, 4); bit k is set where it matches a building at the k-th IoU, 0.50, 0.55, ... 0.95.
        ignored: uint16 (D, 4); bit k is set where it counts neither as hit nor as false.
        buildings: int64 (4,).
    """

    scores: NDArray[np.float64]
    hits: Bits
    ignored: Bits
    buildings: Ints


def match_tile(
    overlaps: Overlaps, scores: NDArray[np.float64], found_areas: Ints, true_areas: Ints
) -> TileMatches:
    """Matches the instances of one tile to its buildings as ``COCOeval.evaluateImg`` does.

    Args:
        overlaps: pairs of building and instance with an IoU of at least 0.5.
        scores: float64 (N,); the best ``MAX_DETECTIONS`` instances count.
        found_areas: int64 (N,), px.
        true_areas: int64 (T,), px.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_DETECTIONS]
    candidates = _candidates(overlaps, order, len(scores))
    hits, ignored = np.zeros((2, len(order), len(_RANGES)), np.uint16)
    buildings = np.zeros(len(_RANGES), np.int64)
    for group, (least, greatest) in enumerate(_RANGES.values()):
        outside = (true_areas < least) | (true_areas > greatest)
        buildings[group] = len(outside) - np.count_nonzero(outside)
        matched = _match_group(candidates, outside.tolist())
        for bit, pairs in enumerate(matched):
            for instance, building in pairs.items():
                hits[instance, group] |= 1 << bit
                ignored[instance, group] |= outside[building] << bit
        areas = found_areas[order]
        beside = (areas < least) | (areas > greatest)
        ignored[beside, group] |= ~hits[beside, group]
    return TileMatches(scores[order], hits, ignored, buildings)


def _candidates(overlaps: Overlaps, order: Ints, count: int) -> dict[int, list[tuple[int, float]]]:
    """Place of an instance in ``order`` -> (building, IoU) in the order of buildings; by ascending place."""
    place = np.full(count, -1)
    place[order] = np.arange(len(order))
    found = place[overlaps.found]
    candidates: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for row in np.lexsort((overlaps.true, found)):
        if found[row] >= 0:
            candidates[int(found[row])].append((int(overlaps.true[row]), float(overlaps.iou[row])))
    return candidates


def _match_group(candidates: dict[int, list[tuple[int, float]]], outside: list[bool]) -> list[dict[int, int]]:
    """Instance -> building at each IoU threshold; buildings of another size are taken if no other is left."""
    matches: list[dict[int, int]] = []
    for threshold in _THRESHOLDS.tolist():
        taken: set[int] = set()
        pairs: dict[int, int] = {}
        for instance, options in candidates.items():
            # The last of the largest, as in COCOeval.
            free = [
                (not outside[building], iou, building)
                for building, iou in options
                if iou >= threshold and building not in taken
            ]
            if free:
                pairs[instance] = max(free)[2]
                taken.add(pairs[instance])
        matches.append(pairs)
    return matches


def precision_and_recall(tiles: Iterable[TileMatches]) -> dict[str, float]:
    """COCO's figures over tiles, as ``COCOeval.accumulate`` pools them.

    Args:
        tiles: in the order of the images; it decides between instances of one score.

    Returns:
        Percent, 0..100: ``AP`` (mean over IoU 0.50:0.95), ``AP50``, ``AP75``, ``AP_<size>``, ``AR`` (recall,
        mean over IoU 0.50:0.95), ``AR_<size>``, ``recall50`` (found with IoU of at least 0.5) and
        ``recall50_<size>`` for buildings whose area is that of a square of less than 16, 16 to 32 and over
        32 px. NaN where the truth has no building (of that size).
    """
    tiles = list(tiles)
    none = np.zeros((0, len(_RANGES)), np.uint16)
    scores = np.concatenate([np.zeros(0), *(tile.scores for tile in tiles)])
    order = np.argsort(-scores, kind="stable")
    hits = np.concatenate([none, *(tile.hits for tile in tiles)])[order]
    ignored = np.concatenate([none, *(tile.ignored for tile in tiles)])[order]
    buildings = sum((tile.buildings for tile in tiles), start=np.zeros(len(_RANGES), np.int64)).tolist()
    figures: dict[str, dict[str, float]] = {name: {} for name in ("AP", "AP50", "AP75", "AR", "recall50")}
    for group, (size, count) in enumerate(zip(_RANGES, buildings, strict=True)):
        curves = [
            _curve(hits[:, group] & 1 << bit != 0, ignored[:, group] & 1 << bit == 0, count)
            for bit in range(len(_THRESHOLDS))
        ]
        precision = np.stack([curve for curve, _ in curves])
        recall = np.array([last for _, last in curves])
        for name, values in (("AP", precision), ("AR", recall), ("recall50", recall[0])):
            figures[name][size] = _percent(values, count)
        if size == "all":
            figures["AP50"]["all"] = _percent(precision[0], count)
            figures["AP75"]["all"] = _percent(precision[5], count)
    return {
        name if size == "all" else f"{name}_{size}": value
        for name, by_size in figures.items()
        for size, value in by_size.items()
    }


def _curve(
    hits: NDArray[np.bool_], counted: NDArray[np.bool_], buildings: int
) -> tuple[NDArray[np.float64], float]:
    """(precision at each recall level, recall in the end) of instances in the order of their scores."""
    at_levels = np.zeros(len(_RECALL_LEVELS))
    if not len(hits) or not buildings:
        return at_levels, 0.0
    right = np.cumsum(hits & counted).astype(np.float64)
    wrong = np.cumsum(~hits & counted).astype(np.float64)
    recall = right / buildings
    precision = right / (wrong + right + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(recall, _RECALL_LEVELS, side="left")
    reached = places < len(precision)
    at_levels[reached] = precision[places[reached]]
    return at_levels, float(recall[-1])


def _percent(values: NDArray[np.float64], buildings: int) -> float:
    return float(100 * np.mean(values)) if buildings else _NAN


def average_precision(truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """Figures of :func:`precision_and_recall` for a data set and the results of a model on it.

    Args:
        truth: a COCO data set with run lengths as ``segmentation``; ``area`` in px.
        results: COCO results with ``image_id``, ``segmentation`` and ``score``.

    Raises:
        RunLengthError: a result's mask is no mask of its image.
    """
    buildings: dict[int, list[dict[str, Any]]] = defaultdict(list)
    found: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for group, entries in ((buildings, truth["annotations"]), (found, results)):
        for entry in entries:
            group[entry["image_id"]].append(entry)
    return precision_and_recall(
        _match_entries(buildings[image["id"]], found[image["id"]], (image["height"], image["width"]))
        for image in sorted(truth["images"], key=lambda image: image["id"])
    )


def _match_entries(
    buildings: list[dict[str, Any]], found: list[dict[str, Any]], shape: tuple[int, int]
) -> TileMatches:
    true_masks, masks = ([entry["segmentation"] for entry in entries] for entries in (buildings, found))
    return match_tile(
        overlaps_of_masks(true_masks, masks),
        np.array([entry["score"] for entry in found], np.float64),
        mask_areas(masks, shape),
        np.array([entry["area"] for entry in buildings], np.int64),
    )
