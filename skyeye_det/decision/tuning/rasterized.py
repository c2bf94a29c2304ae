"""Kept predictions rasterized by many rules at once, as counts: which pixels are building, and whose.

Pixels are those of ``decide`` with the outline ``painted``; what that works out anew for each rule is shared
here between rules that differ in less.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.decide import building_pixels
from skyeye_det.decision.owners import OWNER_FLOOR, owner_map
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.settle import InstanceSettling, SettledInstances
from skyeye_det.decision.tuning.counts import (
    Counts,
    GroupCounts,
    code_table,
    counts_of_groups,
    truth_codes,
)
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction, Prediction, unit_probs

Truth = tuple[np.ndarray, np.ndarray]
"""localization 0/1 and damage 0..4, uint8 (h, w)"""


def pixel_numbers(prediction: Prediction) -> tuple[str, ...]:
    """Numbers of a rule that have an effect on which pixels of such a prediction are building."""
    if isinstance(prediction, PixelPrediction):
        return "pixel_threshold", "min_area", "presence_threshold"
    with_map = ("map_weight",) if prediction.building_map is not None else ()
    return "pixel_threshold", "score_threshold", *with_map, "min_area", "presence_threshold"


def rasterized_counts(
    prediction: Prediction, rules: Sequence[DecisionRule], truth: Truth
) -> list[GroupCounts]:
    """Counts of one tile under the rasterization of each rule; its classification has no effect.

    Args:
        prediction: before any decision.
        rules: temperature 1 and equal damage weights.
        truth: localization 0/1 and damage 0..4, uint8 (h, w).
    """
    codes = truth_codes(*truth)
    totals = np.bincount(codes.ravel(), minlength=10).reshape(2, 5)
    if isinstance(prediction, PixelPrediction):
        return [_of_pixels(prediction, rule, codes, totals) for rule in rules]
    settling = InstanceSettling(prediction)
    settled: dict[tuple[float, float, float], SettledInstances] = {}
    alike: dict[tuple[bytes, float, float], list[int]] = defaultdict(list)
    of_key: dict[tuple[bytes, float, float], SettledInstances] = {}
    for number, rule in enumerate(rules):
        which = rule.score_threshold, rule.min_area, rule.presence_threshold
        if which not in settled:
            settled[which] = settling.settle(rule)
        # An owner does not depend on the pixel threshold: one map serves them all.
        key = settled[which].key(), rule.map_weight, min(OWNER_FLOOR, rule.pixel_threshold)
        alike[key].append(number)
        of_key[key] = settled[which]
    counts: dict[int, GroupCounts] = {}
    for key, numbers in alike.items():
        thresholds = np.array([rules[number].pixel_threshold for number in numbers], np.float32)
        tables = _level_tables(prediction, of_key[key], thresholds, key[1:], codes)
        probs = prediction.damage_probs[of_key[key].buildings]
        for number, table in zip(numbers, tables, strict=True):
            counts[number] = counts_of_groups(table, probs, totals, of_buildings=True)
    return [counts[number] for number in range(len(rules))]


def _level_tables(
    prediction: InstancePrediction,
    settled: SettledInstances,
    thresholds: NDArray[np.float32],
    weight_and_floor: tuple[float, float],
    codes: NDArray[np.uint8],
) -> Counts:
    """int64 (thresholds, B, 2, 5): pixels of each building by truth, where ``B`` reaches each threshold."""
    owner, probability = owner_map(prediction, settled, *weight_and_floor)
    levels, level_of = np.unique(thresholds, return_inverse=True)
    inside = np.flatnonzero((owner >= 0) & (probability >= levels[0]))
    level = np.searchsorted(levels, probability.ravel()[inside], side="right") - 1
    count = len(settled.buildings)
    groups = level * count + owner.ravel()[inside]
    single = code_table(groups, codes.ravel()[inside], len(levels) * count)
    table = single.reshape(len(levels), count, *single.shape[1:])
    return table[::-1].cumsum(axis=0)[::-1][level_of]


def _of_pixels(
    prediction: PixelPrediction, rule: DecisionRule, codes: NDArray[np.uint8], totals: Counts
) -> GroupCounts:
    """Each pixel is graded by itself; those of equal probabilities are a group."""
    building = building_pixels(prediction, rule).labels > 0
    values = np.ascontiguousarray(prediction.damage_map[:, building].T)
    distinct, group = np.unique(values.view(np.uint32).ravel(), return_inverse=True)
    probs = unit_probs(distinct.view(np.uint8).reshape(-1, values.shape[1]))
    table = code_table(group, codes[building], len(distinct))
    return counts_of_groups(table, probs, totals, of_buildings=False)


def classified_buildings(
    prediction: Prediction, rule: DecisionRule, truth: Truth
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rasterized buildings that have classified truth under them.

    Args:
        prediction: before any decision.
        rule: its damage weights have no effect.
        truth: localization 0/1 and damage 0..4, uint8 (h, w).

    Returns:
        Damage probabilities float32 (B, 4) at the rule's temperature, of single pixels their mean; and the
        class int64 (B,), 0..3, that most of those pixels have.
    """
    if isinstance(prediction, PixelPrediction):
        regions = building_pixels(prediction, rule)
        building, label, count = regions.labels > 0, regions.numbers, len(regions)
        pixel_probs = rule.calibrated(unit_probs(prediction.damage_map[:, building].T))
        sums = np.stack([np.bincount(label, column, count) for column in pixel_probs.T], axis=1)
        # Pixels of which nothing is known have no say.
        probs = (sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
        pixels = code_table(label, truth_codes(*truth)[building], count).sum(axis=1)
    else:
        (counts,) = rasterized_counts(prediction, [pixel_rule(rule)], truth)
        probs, pixels = rule.calibrated(counts.probs), counts.pixels
    known = probs.any(axis=1) & pixels[:, 1:].any(axis=1)
    return probs[known], pixels[known, 1:].argmax(axis=1)


def pixel_rule(rule: DecisionRule) -> DecisionRule:
    """The rule without what decides about grades alone."""
    return replace(rule, temperature=1.0, damage_weights=(1.0,) * NUM_DAMAGE_CLASSES)
