"""How many buildings the proposals reach: what no proposal meets, no later stage can find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from skyeye_det.data.targets import building_mask, parts_from_segmentation
from skyeye_det.evaluation.object_counts import LEAST_AREAS, SIZES
from skyeye_det.evaluation.object_match import LEAST_IOU

_GROUPS = ("all", *SIZES)
_BLOCK = 1024  # buildings compared with all proposals at a time


@dataclass(frozen=True, eq=False)
class ProposalCounts:
    """Buildings of one tile, or of many.

    Attributes:
        buildings: int64 (4,), all and in each of ``object_counts.SIZES``.
        met: int64 (4,), those whose box a proposal overlaps with an IoU of at least 0.5.
    """

    buildings: NDArray[np.int64]
    met: NDArray[np.int64]

    @classmethod
    def zero(cls) -> ProposalCounts:
        """Counts of no tile."""
        return cls(np.zeros(len(_GROUPS), np.int64), np.zeros(len(_GROUPS), np.int64))

    def __add__(self, other: ProposalCounts) -> ProposalCounts:
        return ProposalCounts(self.buildings + other.buildings, self.met + other.met)

    def figures(self) -> dict[str, float]:
        """``proposal_recall50`` and ``proposal_recall50_<size>``, 0..100; NaN without buildings."""
        names = ["proposal_recall50", *(f"proposal_recall50_{size}" for size in SIZES)]
        pairs = zip(names, self.met.tolist(), self.buildings.tolist(), strict=True)
        return {name: 100 * met / count if count else float("nan") for name, met, count in pairs}


def count_proposals(tile: dict[str, Any], proposals: NDArray[np.floating]) -> ProposalCounts:
    """Counts the buildings of one tile that proposals meet.

    A building is met or not, however many proposals meet it; one proposal may meet two buildings.

    Args:
        tile: dataset dict with ``annotations``, ``height`` and ``width``; buildings without a pixel in the
            tile do not count.
        proposals: (P, 4) boxes, XYXY in px, pixel ``k`` covers ``[k, k + 1]``.
    """
    boxes, areas = _true_boxes(tile)
    size = np.searchsorted(LEAST_AREAS, areas, side="right")
    met = _met(boxes, proposals)
    by_size = [np.bincount(group, minlength=len(_GROUPS)) for group in (size, size[met])]
    for counts in by_size:
        counts[0] = counts.sum()
    return ProposalCounts(*by_size)


def _true_boxes(tile: dict[str, Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Boxes (T, 4), XYWH in px, around the official masks, and the masks' areas (T,), px."""
    shape = tile["height"], tile["width"]
    boxes, areas = [], []
    for annotation in tile["annotations"]:
        mask, corner = building_mask(parts_from_segmentation(annotation["segmentation"]), shape)
        if mask.any():
            boxes.append((*corner, mask.shape[1], mask.shape[0]))
            areas.append(np.count_nonzero(mask))
    return np.array(boxes, np.float64).reshape(-1, 4), np.array(areas, np.int64)


def _met(boxes: NDArray[np.float64], proposals: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Whether each box (T, 4), XYWH, has a proposal (P, 4), XYXY, of enough IoU: bool (T,)."""
    met = np.zeros(len(boxes), bool)
    if not len(proposals):
        return met
    offered = np.array(proposals, np.float64)
    offered[:, 2:] -= offered[:, :2]
    for start in range(0, len(boxes), _BLOCK):
        block = slice(start, start + _BLOCK)
        ious = coco_mask.iou(offered, boxes[block], [0] * len(boxes[block]))
        met[block] = (ious >= LEAST_IOU).any(axis=0)
    return met
