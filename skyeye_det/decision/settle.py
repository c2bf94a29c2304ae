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
from skyeye_det.prediction.masks import EMPTY_CROP, Crop, crop_boxes, mask_crops, overlap, trimmed, window_of
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
        self._shared: dict[tuple[int, int], int] = {}

    @cached_property
    def _crops(self) -> list[Crop]:
        found = self._prediction
        return mask_crops(found.boxes, found.masks, found.shape)

    @cached_property
    def _areas(self) -> np.ndarray:
        return np.array([np.count_nonzero(crop) for _, crop in self._crops], np.int64)

    @cached_property
    def _meets(self) -> list[list[int]]:
        """For each instance those whose boxes let both masks share more than half of the smaller."""
        x0, y0, x1, y1 = crop_boxes(self._crops).astype(np.int32).T.copy()
        width = np.minimum.outer(x1, x1) - np.maximum.outer(x0, x0)
        height = np.minimum.outer(y1, y1) - np.maximum.outer(y0, y0)
        smaller = np.minimum.outer(self._areas, self._areas)
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        is_instance = ~self._prediction.is_component
        meets = (shared > MOST_SHARED * smaller) & is_instance & is_instance[:, None]
        np.fill_diagonal(meets, False)
        found: list[list[int]] = [[] for _ in is_instance]
        for index, other in np.argwhere(meets).tolist():
            found[index].append(other)
        return found

    def _is_duplicate(self, index: int, buildings: np.ndarray) -> bool:
        """Whether an instance shows one of the buildings, bool (N,), once more."""
        for other in self._meets[index]:
            if not buildings[other]:
                continue
            pair = min(index, other), max(index, other)
            if pair not in self._shared:
                self._shared[pair] = overlap(self._crops[index], self._crops[other])
            if self._shared[pair] > MOST_SHARED * min(self._areas[index], self._areas[other]):
                return True
        return False

    def settle(self, rule: DecisionRule) -> SettledInstances:
        """Settles the instances by ``score_threshold``, ``min_area`` and ``presence_threshold``.

        A window where no building's score reaches ``presence_threshold`` has none; its candidates stay.
        """
        found, order = self._prediction, self._order.tolist()
        is_sure = found.scores >= rule.score_threshold
        is_large = self._areas >= max(rule.min_area, 1)
        offered = is_sure & is_large & ~found.is_component
        buildings = np.zeros(len(order), np.bool_)
        covered = np.zeros(found.shape, np.bool_)
        for index in order:
            if offered[index] and not self._is_duplicate(index, buildings):
                buildings[index] = True
                covered[window_of(self._crops[index])] |= self._crops[index][1]
        crops = {index: self._crops[index] for index in np.flatnonzero(is_large).tolist()}
        taken = covered.copy()
        for index in self._order[(found.is_component & is_large)[self._order]].tolist():
            crops[index] = self._uncovered(self._crops[index], taken, rule)
            if not crops[index][1].size:
                del crops[index]
            elif is_sure[index]:
                buildings[index] = True
                taken[window_of(crops[index])] |= crops[index][1]
        if not (found.scores[buildings] >= rule.presence_threshold).any():
            buildings[:] = False
        candidates = [index for index in order if index in crops and not buildings[index]]
        return SettledInstances(
            buildings=self._order[buildings[self._order]],
            candidates=np.array(candidates, np.int64),
            is_duplicate=np.array([self._is_duplicate(index, buildings) for index in candidates], np.bool_),
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
