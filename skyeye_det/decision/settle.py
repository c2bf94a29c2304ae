"""Which instances of a window count as buildings: thresholds, duplicates, components that stand in.

Instances and components of the building map may stand for the same house. A building is taken once: the
instances that the rule's score threshold lets through first, the surest before the others, then the
components that those do not cover. What is below the threshold makes the candidates, which are listed and
never rasterized. No two of all these overlap by more than half of the smaller one.
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
        candidates: indices (C,) of what the rule's score threshold left out, surest first.
        crops: index -> mask of a building or candidate, bool; components without what instances cover.
        covered: bool (h, w), pixels of the instances among the buildings.
    """

    buildings: np.ndarray
    candidates: np.ndarray
    crops: dict[int, Crop]
    covered: np.ndarray


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
        scores = self._prediction.scores
        crops: dict[int, Crop] = {}
        covered = np.zeros(self._prediction.shape, np.bool_)
        large = self._areas >= max(rule.min_area, 1)
        sure = scores >= rule.score_threshold
        buildings = self._take(large & sure, rule, crops, covered)
        instances_cover = covered.copy()
        candidates = self._take(large & ~sure, rule, crops, covered)
        if not (scores[buildings] >= rule.presence_threshold).any():
            buildings = buildings[:0]
        return SettledInstances(buildings, candidates, crops, instances_cover)

    def _take(
        self, offered: np.ndarray, rule: DecisionRule, crops: dict[int, Crop], covered: np.ndarray
    ) -> np.ndarray:
        """Takes what is no duplicate, instances first, then components; adds to ``crops`` and ``covered``."""
        is_component = self._prediction.is_component[self._order]
        order = self._order[np.argsort(is_component, kind="stable")]
        taken = []
        for index in order[offered[order]].tolist():
            crop = self._crops[index]
            window = window_of(crop)
            if self._prediction.is_component[index]:
                crop = self._uncovered(crop, covered[window], rule)
                if not crop[1].size:
                    continue
            elif any(rival in crops for rival in self._rivals.get(index, ())):
                continue
            else:
                covered[window] |= crop[1]
            crops[index] = crop
            taken.append(index)
        found = np.array(taken, np.int64)
        return found[np.argsort(-self._prediction.scores[found], kind="stable")]

    def _uncovered(self, crop: Crop, covered: np.ndarray, rule: DecisionRule) -> Crop:
        """What instances leave of a component; empty where it is known already, or too small."""
        corner, mask = crop
        left = mask & ~covered
        area = np.count_nonzero(left)
        hidden = np.count_nonzero(mask) - area
        if hidden >= MOST_SHARED * (area + hidden) or area < max(rule.min_area, LEAST_PIECE):
            return EMPTY_CROP
        return trimmed((corner, left))
