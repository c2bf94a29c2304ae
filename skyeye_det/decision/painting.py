"""From instances and a building map to the two competition images: every building pixel has an object.

Glossary: ``P_i = score_i * mask_i`` of a pixel; ``B = w * map + (1 - w) * max_i P_i`` its probability of
being building, ``w`` the rule's ``map_weight``. Instances are as in ``postprocessing.rasterize``.
"""

import numpy as np

from skyeye_det.damage import DamageClass
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.components import as_probability
from skyeye_det.prediction.rasterize import check_scores, rasterize_instances
from skyeye_det.prediction.regions import connected_regions, spread_labels
from skyeye_det.prediction.soft_masks import keep_largest, soft_groups

OWNER_FLOOR = 0.1
"""Least ``B`` of a pixel that is given an owner, and least ``P_i`` of an instance that owns it by itself."""

Images = tuple[np.ndarray, np.ndarray]


def paint(
    boxes: np.ndarray,
    masks: np.ndarray,
    scores: np.ndarray,
    damage: np.ndarray,
    shape: tuple[int, int],
    building_map: np.ndarray | None,
    rule: DecisionRule,
) -> Images:
    """Paints the instances that the rule has kept.

    With a map, a pixel is building where ``B`` reaches the pixel threshold and ``owner_map`` gives it an
    owner, whose class it has. Without one, where ``P_i`` of an instance reaches it; of several the instance
    with the higher score wins.

    Args:
        boxes: (N, 4) float32, XYXY in px.
        masks: (N, M, M) float32, 0..1.
        scores: (N,) float32, 0..1.
        damage: (N,) int, ``DamageClass`` 0..3.
        shape: (h, w) in px.
        building_map: (h, w) probability of building, uint8 0..255 or float 0..1; or None.
        rule: ``pixel_threshold`` and ``map_weight`` are obeyed; what its other thresholds leave out is to be
            left out before, see ``TilePrediction.decided``.

    Returns:
        localization, damage: uint8 (h, w), 0/1 and 0..4.

    Raises:
        ValueError: as ``owner_map``, and damage outside 0..3.
    """
    if building_map is None:
        likely = masks * scores[:, None, None]
        return rasterize_instances(boxes, likely, scores, damage, shape, rule.pixel_threshold)
    check_scores(scores, damage)
    floor = min(OWNER_FLOOR, rule.pixel_threshold)
    owner, probability = owner_map(boxes, masks, scores, shape, building_map, rule.map_weight, floor)
    inside = (owner >= 0) & (probability >= np.float32(rule.pixel_threshold))
    places = np.flatnonzero(inside)
    values = np.asarray(damage) + DamageClass.NO_DAMAGE.pixel_value
    painted = np.zeros(shape, np.uint8)
    painted.ravel()[places] = values.astype(np.uint8)[owner.ravel()[places]]
    return inside.view(np.uint8), painted


def owner_map(
    boxes: np.ndarray,
    masks: np.ndarray,
    scores: np.ndarray,
    shape: tuple[int, int],
    building_map: np.ndarray,
    map_weight: float,
    floor: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The instance that each pixel belongs to, whatever threshold is then laid on its probability.

    A pixel's owner is the instance of the largest ``P_i`` where that reaches the floor; else the owner of the
    nearest such pixel in the same connected region of pixels from the floor on. Regions without instance
    have no owner: what the map finds by itself is to become an instance before, see ``BuildingComponents``.

    Args:
        boxes: (N, 4) float32, XYXY in px.
        masks: (N, M, M) float32, 0..1.
        scores: (N,) float32, 0..1.
        shape: (h, w) in px.
        building_map: (h, w) probability of building, uint8 0..255 or float 0..1.
        map_weight: share of the map in ``B``, 0..1.
        floor: least ``B`` of a pixel with an owner.

    Returns:
        owner int32 (h, w), index of the instance or -1; ``B`` float32 (h, w), of every pixel.

    Raises:
        ValueError: shapes that do not fit, values that are not finite.
    """
    owner, likely = strongest_instances(boxes, masks, scores, shape)
    least = np.float32(floor)
    if building_map.shape != tuple(shape):
        raise ValueError(f"expected a building map {tuple(shape)} as the tile, found {building_map.shape}")
    probability = likely * np.float32(1 - map_weight)
    probability += as_probability(building_map) * np.float32(map_weight)
    if not np.isfinite(probability).all():
        raise ValueError("expected a finite building map, found NaN or infinity")
    regions = connected_regions(probability >= least)
    is_owned = likely.ravel()[regions.places] >= least
    seeds = np.where(is_owned, owner.ravel()[regions.places] + 1, 0)
    return spread_labels(seeds, regions) - 1, probability


def strongest_instances(
    boxes: np.ndarray, masks: np.ndarray, scores: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """The instance of the largest ``P_i`` of each pixel; of equal ones the first listed.

    Returns:
        index int32 (h, w), -1 where every ``P_i`` is 0; ``max_i P_i`` float32 (h, w).

    Raises:
        ValueError: as ``owner_map``.
    """
    scores = np.asarray(scores, np.float32)
    check_scores(scores, np.zeros(len(scores), int))
    # One number that orders as P_i does, since bits of floats from 0 on do, and holds the index below it.
    codes = np.arange(len(scores), 0, -1, dtype=np.uint64)
    winner = np.zeros(shape, np.uint64)
    for numbers, corners, sizes, soft in soft_groups(boxes, masks, shape):
        likely = np.multiply(soft, scores[numbers, None, None], out=soft)
        np.maximum(likely, 0, out=likely)
        likely += np.float32(0)  # -0 becomes 0: its bits are those of a large number
        coded = likely.view(np.uint32).astype(np.uint64)
        coded <<= np.uint64(32)
        coded |= codes[numbers, None, None]
        keep_largest(winner, coded, corners, sizes)
    largest = (winner >> np.uint64(32)).astype(np.uint32).view(np.float32)
    index = len(scores) - winner.astype(np.uint32).view(np.int32)
    index[largest == 0] = -1
    return index, largest
