"""Which true building is found by which predicted one: overlap of masks, one to one.

``T`` true and ``N`` predicted buildings of one tile. Nothing here costs an image per building: truth is held
as crops, predicted instances as run lengths (compared by pycocotools, boxes first), and the components of a
class image as one image of labels.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from skyeye_det.data.targets import building_mask
from skyeye_det.data.xbd import Building
from skyeye_det.prediction.masks import encode_crop

LEAST_IOU = 0.5
"""A building counts as found by a mask that overlaps it with at least this IoU."""

_BLOCK = 1024
"""Predicted instances compared with all true ones at a time."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrueBuildings:
    """Official masks of the buildings of a tile that fill a pixel.

    Attributes:
        crops: T bool or 0/1 arrays, each the box of a mask.
        corners: int64 (T, 2), first column and row of the crops, px.
        areas: int64 (T,), px.
        damage: int64 (T,), -1..3.
        shape: (h, w) of the tile, px.
    """

    crops: list[NDArray[np.uint8]]
    corners: Ints
    areas: Ints
    damage: Ints
    shape: tuple[int, int]

    @classmethod
    def of(cls, buildings: Iterable[Building], shape: tuple[int, int]) -> "TrueBuildings":
        """Masks of the pre outlines by the official fill rule."""
        drawn = [(*building_mask(building.parts, shape), building.damage) for building in buildings]
        drawn = [item for item in drawn if item[0].size]
        return cls(
            crops=[mask for mask, _, _ in drawn],
            corners=np.array([corner for _, corner, _ in drawn], np.int64).reshape(-1, 2),
            areas=np.array([np.count_nonzero(mask) for mask, _, _ in drawn], np.int64),
            damage=np.array([damage for _, _, damage in drawn], np.int64),
            shape=shape,
        )

    def run_lengths(self) -> list[dict[str, Any]]:
        """COCO run lengths of the masks."""
        return [
            encode_crop((x, y), crop, self.shape)
            for (x, y), crop in zip(self.corners.tolist(), self.crops, strict=True)
        ]


class Overlaps(NamedTuple):
    """Pairs with an IoU of at least ``LEAST_IOU``.

    Attributes:
        true: int64 (P,), index of the true building.
        found: int64 (P,), index of the predicted one.
        iou: float64 (P,).
    """

    true: Ints
    found: Ints
    iou: NDArray[np.float64]


def overlaps_of_masks(true: list[dict[str, Any]], found: list[dict[str, Any]]) -> Overlaps:
    """Overlaps of run lengths that have been checked; sorted by ``found``, then ``true``."""
    pairs = []
    for start in range(0, len(found) if true else 0, _BLOCK):
        ious = coco_mask.iou(found[start : start + _BLOCK], true, [0] * len(true))
        rows, columns = np.nonzero(ious >= LEAST_IOU)
        pairs.append((columns, rows + start, ious[rows, columns]))
    if not pairs:
        return Overlaps(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Overlaps(*(np.concatenate(parts) for parts in zip(*pairs, strict=True)))


def overlaps_of_labels(true: TrueBuildings, labels: NDArray[np.int32], areas: Ints) -> Overlaps:
    """Overlaps with the components of an image.

    Args:
        true: T buildings.
        labels: int32 (h, w), 0 for background, 1..N for the components.
        areas: int64 (N,), pixels of the components.
    """
    beneath = [
        labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop > 0]
        for (x, y), crop in zip(true.corners.tolist(), true.crops, strict=True)
    ]
    if not beneath:
        return overlaps_of_masks([], [])
    owner = np.repeat(np.arange(len(beneath)), true.areas)
    keys, shared = np.unique(owner * (len(areas) + 1) + np.concatenate(beneath), return_counts=True)
    building, label = np.divmod(keys, len(areas) + 1)
    building, label, shared = (part[label > 0] for part in (building, label, shared))
    iou = shared / (true.areas[building] + areas[label - 1] - shared)
    kept = iou >= LEAST_IOU
    return Overlaps(building[kept], label[kept] - 1, iou[kept])


def match(overlaps: Overlaps, true_rank: Ints, found_rank: Ints) -> tuple[Ints, Ints]:
    """Pairs buildings one to one, the largest IoU first.

    By IoU and not by score, as COCO does: class images have no scores, and all kinds of model are to be
    measured by one rule. Above 0.5 the choice matters only where masks of one side overlap each other.

    Args:
        overlaps: P possible pairs.
        true_rank: int64 (T,), decides between equal IoUs, lowest first, then ``found_rank`` does.
        found_rank: int64 (N,).

    Returns:
        (index of the true building, index of the predicted one): int64 (M,), M <= P.
    """
    keys = found_rank[overlaps.found], true_rank[overlaps.true], -overlaps.iou
    order = np.lexsort(keys)
    taken: tuple[set[int], set[int]] = set(), set()
    pairs = []
    for true, found in zip(overlaps.true[order].tolist(), overlaps.found[order].tolist(), strict=True):
        if true not in taken[0] and found not in taken[1]:
            taken[0].add(true)
            taken[1].add(found)
            pairs.append((true, found))
    matched = np.array(pairs, np.int64).reshape(-1, 2)
    return matched[:, 0], matched[:, 1]


def rank(*keys: NDArray[Any]) -> Ints:
    """Place of each item in an order that does not depend on how they were listed; the first key leads."""
    order = np.lexsort(keys[::-1])
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return places
