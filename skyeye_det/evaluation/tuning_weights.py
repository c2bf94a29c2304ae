"""Damage weights of the best official score, and how far to trust them.

A search on the counts of all tiles finds the weights that fit them best. They hang on the few tiles that have
a rare class, and other tiles want others. So at the end they are settled by bootstrap (Efron and Tibshirani
1997, the out-of-bag estimate): weights found on resampled tiles are judged on the tiles left out of the sample,
drawn back by several powers to equal weights or to those of the class frequencies (few numbers, by
likelihood, that hardly overfit); the form that wins is taken of the mean over samples (bagging).

Glossary: ``D`` sets of weights; ``K`` blocks of tiles; ``R`` resamples. Logarithms of weights are binary.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.evaluation.bootstrap import score_draws
from skyeye_det.evaluation.calibration import fit_class_factors, fit_temperature
from skyeye_det.evaluation.tuning_counts import Counts, PaintedCounts
from skyeye_det.evaluation.xview2_metrics import LOCALIZATION_WEIGHT
from skyeye_det.postprocessing.decision import DecisionRule

Floats = NDArray[np.float64]
Parts = Sequence[PaintedCounts]
"""Counts of the blocks to tune on."""

POWERS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Tried of the found weights, against what they are drawn back to."""

SETTLE_TIE = 2e-3
"""Of the mean out-of-bag score: a smaller gain is not worth going further from equal weights."""

_SPREAD_COST = 1e-3
"""Score that a variance of 1 of the logarithms costs: of like weights the nearer to equal."""

_RESAMPLES = 100
_LARGEST = 4.0
_COARSE = tuple(float(step) for step in range(-3, 4))
_FINE = tuple(0.5 * step for step in range(-7, 8))
_STARTS = 3  # places of the coarse grid that are refined
_STEPS = (0.5, 0.25, 0.125)


def scores(pixels: NDArray[np.integer] | Floats) -> Floats:
    """Official scores, where classes that the truth lacks are left out and not counted 0.

    Args:
        pixels: (D, 3, 5), TP, FP and FN.

    Returns:
        float64 (D,); without any classified truth the localization's part of the score alone.
    """
    draws = score_draws(np.asarray(pixels, np.float64), np.ones(NUM_DAMAGE_CLASSES, bool))
    return np.where(np.isnan(draws["score"]), LOCALIZATION_WEIGHT * draws["localization_f1"], draws["score"])


def rule_score(parts: Parts, rule: DecisionRule) -> float:
    """Score of a rule on counts painted by it."""
    return float(scores(_summed(parts, rule.temperature, np.array([rule.damage_weights])))[0])


def graded_rule(rule: DecisionRule, parts: Parts) -> DecisionRule:
    """The rule with the temperature and damage weights that fit the counts best; its painting stays.

    The temperature is that of the likeliest buildings, and no part of the search. Weights are relative to
    the first class that the truth has; classes that it lacks keep 1.

    Args:
        rule: what the counts were painted by.
        parts: counts to tune on.
    """
    temperature = fit_temperature(*_buildings(parts))
    temperature = float(f"{temperature:.4g}")
    return replace(rule, temperature=temperature, damage_weights=_weights(_found_logs(parts, temperature)))


def settled_rule(rule: DecisionRule, parts: Parts, seed: int) -> DecisionRule:
    """The rule with damage weights that hold on tiles they were not found on.

    Args:
        rule: painting and temperature.
        parts: counts of each block to tune on; of less than two the rule comes back as it is.
        seed: of the resamples.
    """
    known = _known(parts)
    if len(parts) < 2 or len(known) < 2:
        return rule
    draws = np.random.default_rng(seed).integers(len(parts), size=(_RESAMPLES, len(parts)))
    taken = np.stack([np.bincount(row, minlength=len(parts)) for row in draws])
    found = _best_of_grid(parts, rule.temperature, taken, known)
    centres = np.stack([_frequency_logs(parts, rule, row, known) for row in taken])
    candidates = _candidates(found, centres)
    form = _best_form(parts, rule.temperature, candidates, taken)
    logs = candidates[form].mean(axis=0)
    return replace(rule, damage_weights=_weights(logs))


def _candidates(found: Floats, centres: Floats) -> Floats:
    """Logarithms (forms, R, 4), from the most cautious on: all equal, by frequency, then towards the found."""
    forms = []
    for power in POWERS:
        forms += [power * found, power * found + (1 - power) * centres]
    return np.stack(forms[:-1])  # at power 1 both are the same


def _best_form(parts: Parts, temperature: float, candidates: Floats, taken: Counts) -> int:
    """The first form whose score, on the blocks that a sample left out, is within the tie of the best."""
    weights = 2.0 ** candidates.reshape(-1, NUM_DAMAGE_CLASSES)
    counts = np.stack([part.pixel_counts(temperature, weights) for part in parts])
    counts = counts.reshape(len(parts), *candidates.shape[:2], *counts.shape[2:])
    left_out = (taken == 0).astype(np.float64)
    usable = left_out.any(axis=1)  # a sample may hold every block
    if not usable.any():
        return 0
    sums = np.einsum("rk,kfrij->frij", left_out, counts)[:, usable]
    values = scores(sums.reshape(-1, *sums.shape[2:])).reshape(sums.shape[:2]).mean(axis=1)
    return int(np.flatnonzero(values >= values.max() - SETTLE_TIE)[0])


def _best_of_grid(parts: Parts, temperature: float, taken: Counts, known: NDArray[np.int64]) -> Floats:
    """Logarithms (R, 4) of the best weights of each resample, on the fine grid."""
    logs = _grid(_FINE, known[1:])
    cost = _SPREAD_COST * logs[:, known].var(axis=1)
    counts = np.stack([part.pixel_counts(temperature, 2.0**logs).reshape(len(logs), -1) for part in parts])
    best = []
    for row in taken.astype(np.float64):
        sums = np.tensordot(row, counts, axes=1).reshape(len(logs), 3, -1)
        best.append(logs[np.argmax(np.round(scores(sums) - cost, 12))])
    return np.stack(best)


def _frequency_logs(parts: Parts, rule: DecisionRule, times: Counts, known: NDArray[np.int64]) -> Floats:
    """Logarithms (4,) that make the classes as frequent as they are among a resample's buildings."""
    probs, grades = _buildings(parts)
    amounts = np.repeat(times, [len(part.building_grades) for part in parts]).astype(np.float64)
    logs = fit_class_factors(rule.calibrated(probs), grades, amounts) / np.log(2)
    relative = np.zeros(NUM_DAMAGE_CLASSES)
    relative[known] = np.clip(logs[known] - logs[known[0]], -_LARGEST, _LARGEST)
    return relative


def _found_logs(parts: Parts, temperature: float) -> Floats:
    """Logarithms (4,) of the best damage weights: a coarse grid, refined around its best places."""
    known = _known(parts)
    free = known[1:]
    if not len(free):
        return np.zeros(NUM_DAMAGE_CLASSES)

    def values(logs: Floats) -> Floats:
        cost = _SPREAD_COST * logs[:, known].var(axis=1)
        return np.asarray(scores(_summed(parts, temperature, 2.0**logs)) - cost)

    coarse = _grid(_COARSE, free)
    found = values(coarse)
    # Of equal ones the nearest to equal weights comes first.
    order = np.lexsort([np.abs(coarse).sum(axis=1), -np.round(found, 12)])
    ends = []
    for start in order[:_STARTS].tolist():
        here, value = coarse[start], float(found[start])
        for step in _STEPS:
            here, value = _climbed(values, here, value, _grid((-step, 0.0, step), free))
        ends.append((value, here))
    return max(ends, key=lambda end: end[0])[1]


def _climbed(
    values: Callable[[Floats], Floats], here: Floats, value: float, moves: Floats
) -> tuple[Floats, float]:
    """Goes to the best neighbour while that is better."""
    while True:
        neighbours = np.clip(here + moves, -_LARGEST, _LARGEST)
        found = values(neighbours)
        index = int(np.argmax(np.round(found, 12)))
        if found[index] <= value + 1e-9:
            return here, value
        here, value = neighbours[index], float(found[index])


def _grid(steps: Sequence[float], free: NDArray[np.int64]) -> Floats:
    """Logarithms (D, 4), every combination of steps for the free classes, 0 for the others."""
    logs = np.zeros((len(steps) ** len(free), NUM_DAMAGE_CLASSES))
    logs[:, free] = list(itertools.product(steps, repeat=len(free)))
    return logs


def _known(parts: Parts) -> NDArray[np.int64]:
    """Classes that the truth has."""
    return np.flatnonzero(np.any([part.present for part in parts], axis=0))


def _summed(parts: Parts, temperature: float, weights: Floats) -> Counts:
    return np.sum([part.pixel_counts(temperature, weights) for part in parts], axis=0, dtype=np.int64)


def _buildings(parts: Parts) -> tuple[NDArray[np.float32], Counts]:
    """Damage probabilities (B, 4) and true classes (B,) of all blocks."""
    return (
        np.concatenate([part.building_probs for part in parts]),
        np.concatenate([part.building_grades for part in parts]),
    )


def _weights(logs: Floats) -> tuple[float, ...]:
    # Rounded here, so that the rule is judged by the very numbers that are written.
    return tuple(float(f"{weight:.4g}") for weight in 2.0**logs)
