"""To which building each pixel of a window belongs.

Glossary: ``P_i = score_i * mask_i`` of a pixel; ``B = w * map + (1 - w) * max_i P_i`` its probability of
being building, ``w`` the rule's ``map_weight`` (0 without a map).
"""

import numpy as np

from skyeye_det.decision.settle import SettledInstances
from skyeye_det.prediction.masks import soft_crops, window_of
from skyeye_det.prediction.prediction import InstancePrediction, as_probability
from skyeye_det.prediction.regions import connected_regions, spread_labels

OWNER_FLOOR = 0.1
"""Least ``B`` of a pixel that is given an owner, and least ``P_i`` of an instance that owns it by itself."""


def owner_map(
    prediction: InstancePrediction, settled: SettledInstances, map_weight: float, floor: float
) -> tuple[np.ndarray, np.ndarray]:
    """The building that each pixel belongs to, whatever threshold is then applied to its probability.

    A pixel's owner is the building of the largest ``P_i`` where that reaches the floor; else the owner of the
    nearest such pixel in the same connected region of pixels from the floor on. Regions without a building
    have no owner.

    Args:
        prediction: with N instances.
        settled: of which B are buildings.
        map_weight: share of the map in ``B``, 0..1; without a map it has no effect.
        floor: least ``B`` of a pixel with an owner.

    Returns:
        owner int32 (h, w), index into ``settled.buildings`` or -1; ``B`` float32 (h, w), of every pixel.
    """
    owner, probability = _strongest(prediction, settled)
    likely = probability
    least = np.float32(floor)
    if prediction.building_map is not None and map_weight > 0:
        probability = likely * np.float32(1 - map_weight)
        probability += as_probability(prediction.building_map) * np.float32(map_weight)
    regions = connected_regions(probability >= least)
    is_owned = likely.ravel()[regions.places] >= least
    seeds = np.where(is_owned, owner.ravel()[regions.places] + 1, 0)
    return spread_labels(seeds, regions) - 1, probability


def _strongest(prediction: InstancePrediction, settled: SettledInstances) -> tuple[np.ndarray, np.ndarray]:
    """Index int32 (h, w) of the building of the largest ``P_i``, -1 where all are 0; that float32 (h, w)."""
    chosen = settled.buildings
    owner = np.full(prediction.shape, -1, np.int32)
    largest = np.zeros(prediction.shape, np.float32)
    scores, is_component = prediction.scores[chosen], prediction.is_component[chosen]
    crops = soft_crops(prediction.boxes[chosen], prediction.masks[chosen], prediction.shape)
    for index, crop in crops:
        window, likely = window_of(crop), crop[1] * scores[index]
        if is_component[index]:  # it stands in where no instance is
            likely[settled.covered[window]] = 0
        # Of equal ones the surer building, which is listed first.
        wins = (likely > largest[window]) | ((likely == largest[window]) & (index < owner[window]))
        wins &= likely > 0
        owner[window][wins] = index
        largest[window][wins] = likely[wins]
    return owner, largest
