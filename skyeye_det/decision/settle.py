"""Which instances of a window count as buildings: thresholds, duplicates, components that stand in.

Instances and components of the building map may stand for the same house. A building is taken once: the
instances that the rule's score threshold lets through first, the surest before the others, then the
components that those do not cover. No two buildings overlap by more than half of the smaller one. What is
left out, being below the threshold or a duplicate, makes the candidates: listed, never rasterized.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.masks import EMPTY_CROP, Crop, mask_crops, overlap, trimmed, window_of
from skyeye_det.prediction.prediction import InstancePrediction

MOST_SHARED = 0.5
"""Share of the smaller of two masks from which they are one building, and of a component that is covered."""

LEAST_PIECE = 12
"""px of a component that instances leave; less is no building."""


@dataclass(frozen=True, eq=False)
class SettledInstances:
    """The instances of a window by a rule.

    Attributes:
        buildings: indices (B,) of what is rasterized, surest first.
        candidates: indices (C,) of what is left out, surest first.
        is_duplicate: bool (C,), whether a candidate is left out since it shows a building once more, or only
            for its score.
        crops: index -> mask of a building or candidate, bool; components without what instances cover.
        covered: bool (h, w), pixels of the instances among the buildings.
    """

    buildings: np.ndarray
    candidates: np.ndarray
    is_duplicate: np.ndarray
    crops: dict[int, Crop]
    covered: np.ndarray

    def key(self) -> bytes:
        """The same for the same buildings with the same masks."""
        areas = [np.count_nonzero(self.crops[index][1]) for index in self.buildings.tolist()]
        return self.buildings.tobytes() + np.array(areas, np.int64).tobytes()


class InstanceSettling:
    """One window's instances, to be settled by any number of rules.

    Args:
        prediction: of a model with instances.
    """

    def __init__(self, prediction: InstancePrediction):
        self._prediction = prediction
        self._order = np.argsort(-prediction.scores, kind="stable")

    @cached_property
    def _crops(self) -> list[Crop]:
        found = self._prediction
        return [trimmed(crop) for crop in mask_crops(found.boxes, found.masks, found.shape)]

    @cached_property
    def _areas(self) -> np.ndarray:
        return np.array([np.count_nonzero(crop) for _, crop in self._crops], np.int64)

    @cached_property
    def _rivals(self) -> dict[int, list[int]]:
        """Instances, of each those that share more than half of the smaller mask with it."""
        boxes = np.array(
            [(x, y, x + crop.shape[1], y + crop.shape[0]) for (x, y), crop in self._crops], np.int64
        ).reshape(-1, 4)
        own = np.flatnonzero(~self._prediction.is_component & (self._areas > 0))
        low, high = boxes[own, None, :2], boxes[own, None, 2:]
        meets = (np.maximum(low, low.swapaxes(0, 1)) < np.minimum(high, high.swapaxes(0, 1))).all(axis=2)
        rivals: dict[int, list[int]] = {}
        for one, other in own[np.argwhere(np.triu(meets, 1))].tolist():
            shared = overlap(self._crops[one], self._crops[other])
            if shared > MOST_SHARED * min(self._areas[one], self._areas[other]):
                rivals.setdefault(one, []).append(other)
                rivals.setdefault(other, []).append(one)
        return rivals

    def settle(self, rule: DecisionRule) -> SettledInstances:
        """Settles the instances by ``score_threshold``, ``min_area`` and ``presence_threshold``.

        A window where no building's score reaches ``presence_threshold`` has none; its candidates stay.
        """
        found, order = self._prediction, self._order.tolist()
        is_sure = (found.scores >= rule.score_threshold).tolist()
        is_large = (self._areas >= max(rule.min_area, 1)).tolist()
        buildings: set[int] = set()
        covered = np.zeros(found.shape, np.bool_)
        for index in order:
            is_offered = is_sure[index] and is_large[index] and not found.is_component[index]
            if is_offered and buildings.isdisjoint(self._rivals.get(index, ())):
                buildings.add(index)
                covered[window_of(self._crops[index])] |= self._crops[index][1]
        crops = {index: self._crops[index] for index in order if is_large[index]}
        for index in np.flatnonzero(found.is_component).tolist():
            crops[index] = self._uncovered(self._crops[index], covered, rule)
            if not crops[index][1].size:
                del crops[index]
            elif is_sure[index]:
                buildings.add(index)
        if not any(found.scores[index] >= rule.presence_threshold for index in buildings):
            buildings = set()
        candidates = [index for index in order if index in crops and index not in buildings]
        return SettledInstances(
            buildings=np.array([index for index in order if index in buildings], np.int64),
            candidates=np.array(candidates, np.int64),
            is_duplicate=np.array(
                [not buildings.isdisjoint(self._rivals.get(index, ())) for index in candidates], np.bool_
            ),
            crops=crops,
            covered=covered,
        )

    def _uncovered(self, crop: Crop, covered: np.ndarray, rule: DecisionRule) -> Crop:
        """What instances leave of a component; empty where it is known already, or too small."""
        corner, mask = crop
        left = mask & ~covered[window_of(crop)]
        area = np.count_nonzero(left)
        hidden = np.count_nonzero(mask) - area
        if hidden >= MOST_SHARED * (area + hidden) or area < max(rule.min_area, LEAST_PIECE):
            return EMPTY_CROP
        return trimmed((corner, left))
