"""Direct search for the rule of an assessment: few wrong buildings, and unbiased totals by grade.

The competition's harmonic mean pays for rare grades, so its rule calls undamaged houses damaged by the dozen.
Here the least ordinal error of buildings is searched, end to end. 'No building' is one step below no damage:
a building of grade g that is missed, or a false one that is given grade g, costs g + 1 steps; one whose true
grade is not known costs 1 where it is missed, and nothing where it is found. A total by grade that is off
beyond the tolerance costs so much that hardly any error outweighs it.

Of what decides which buildings there are one threshold is tried: buildings are matched by their own masks,
which the pixel threshold and the map weight of a model with instances do not change. Painted pixels reach
into the gaps between houses, so the outline is ``mask``. Grades are searched on a building's probabilities;
of a semantic model, where most pixels decide, their mean stands in for these.

Glossary: ``D`` sets of damage weights; ``confusion`` (..., 6, 6): numbers of buildings, true ones in rows
(four grades, un-classified, no building) and predicted ones in columns (four grades, not assessed, missed).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.calibration import fit_temperature
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import Counts, graded_amounts
from skyeye_det.decision.tuning.weights import best_weights
from skyeye_det.prediction.prediction import PixelPrediction, Prediction

Floats = NDArray[np.float64]

LEAST_FINDING = 0.65
"""Precision and recall that a rule has where any candidate reaches them."""

TOLERANCE = math.log(1.1)
"""Of a grade's total: predicted and true ones may differ by this factor at no cost."""

BIAS_COST = 10.0
"""Steps per building that a grade's total costs for each unit of its logarithm beyond the tolerance."""

UNKNOWN, NONE = NUM_DAMAGE_CLASSES, NUM_DAMAGE_CLASSES + 1
"""Rows of ``confusion``: un-classified, no building. As columns: not assessed, missed."""

THRESHOLDS = tuple(round(0.1 + 0.05 * step, 2) for step in range(17))


def _steps() -> Counts:
    """int64 (6, 6), what a building in each cell of ``confusion`` costs."""
    grades = np.arange(NUM_DAMAGE_CLASSES)
    steps = np.zeros((NONE + 1, NONE + 1), np.int64)
    steps[:NUM_DAMAGE_CLASSES, :NUM_DAMAGE_CLASSES] = np.abs(np.subtract.outer(grades, grades))
    steps[:NUM_DAMAGE_CLASSES, NONE] = steps[NONE, :NUM_DAMAGE_CLASSES] = grades + 1
    steps[UNKNOWN, NONE] = steps[NONE, UNKNOWN] = 1
    return steps


STEPS = _steps()


def ordinal_error(confusion: NDArray[np.number]) -> Floats:
    """Steps per true building (...,) of ``confusion`` (..., 6, 6); NaN without true buildings."""
    true = confusion[..., :NONE, :].sum(axis=(-2, -1)).astype(np.float64)
    return (confusion * STEPS).sum(axis=(-2, -1)) / np.where(true > 0, true, np.nan)


def grade_totals(confusion: NDArray[np.number]) -> tuple[NDArray[np.number], NDArray[np.number]]:
    """Buildings predicted and true of each grade, (..., 4) of ``confusion`` (..., 6, 6).

    Those whose true grade is not known are in neither: no total could be held against theirs.
    """
    compared = np.delete(confusion, UNKNOWN, axis=-2)
    return (
        compared[..., :NUM_DAMAGE_CLASSES].sum(axis=-2),
        confusion[..., :NUM_DAMAGE_CLASSES, :].sum(axis=-1),
    )


def bias(confusion: NDArray[np.number]) -> Floats:
    """How far totals by grade are off beyond ``TOLERANCE``: sum of logarithms (...,) of (..., 6, 6)."""
    predicted, true = grade_totals(confusion)
    off = np.abs(np.log((predicted + 1) / (true + 1)))
    return np.asarray(np.maximum(off - TOLERANCE, 0).sum(axis=-1))


def cost(confusion: NDArray[np.number]) -> Floats:
    """What the search makes small, (...,) of ``confusion`` (..., 6, 6); without true buildings bias alone."""
    return np.nan_to_num(ordinal_error(confusion)) + BIAS_COST * bias(confusion)


@dataclass(frozen=True, eq=False)
class FoundBuildings:
    """The buildings of one or more tiles under one rule, before they are graded.

    Attributes:
        probs: float32 (N, 4), damage probabilities of the predicted ones at the rule's temperature.
        truth: int64 (N,), the row of ``confusion`` that each belongs to.
        missed: int64 (5,), true buildings without a predicted one: of each grade, and un-classified.
    """

    probs: NDArray[np.float32]
    truth: Counts
    missed: Counts

    @classmethod
    def total(cls, parts: Iterable["FoundBuildings"]) -> "FoundBuildings":
        """Those of several tiles, at least one."""
        probs, truth, missed = zip(*((part.probs, part.truth, part.missed) for part in parts), strict=True)
        return cls(np.concatenate(probs), np.concatenate(truth), np.sum(missed, axis=0))

    @property
    def true(self) -> Counts:
        """int64 (5,): true buildings of each grade, and un-classified."""
        return self.missed + np.bincount(self.truth, minlength=NONE + 1)[:NONE]

    @property
    def finding(self) -> float:
        """The lower of precision and recall, 0..1; 0 of nothing."""
        found = np.count_nonzero(self.truth != NONE)
        return found / max(len(self.truth), int(self.true.sum()), 1)

    @property
    def graded(self) -> tuple[NDArray[np.float32], Counts]:
        """Probabilities (M, 4) and true grades (M,), 0..3, of those found whose grades are known."""
        known = (self.truth < UNKNOWN) & self.probs.any(axis=1)
        return self.probs[known], self.truth[known]

    def confusion(self, temperature: float, weights: NDArray[np.floating]) -> Floats:
        """float64 (D, 6, 6), whole numbers, under each of the damage weights (D, 4)."""
        rows = np.eye(NONE + 1, dtype=np.int64)[self.truth]
        found = np.zeros((len(weights), NONE + 1, NONE + 1))
        amounts = graded_amounts(self.probs, rows, temperature, weights)
        found[:, :, :NUM_DAMAGE_CLASSES] = np.swapaxes(amounts, 1, 2)
        found[:, :NONE, NONE] = self.missed
        return found


def candidate_rules(prediction: Prediction) -> list[DecisionRule]:
    """Rules whose buildings are tried, for such a prediction, the nearest to the default first."""
    rule = DecisionRule(outline="mask", purpose="assessment")
    name = "pixel_threshold" if isinstance(prediction, PixelPrediction) else "score_threshold"
    nearest = sorted(THRESHOLDS, key=lambda threshold: abs(threshold - getattr(rule, name)))
    changes: list[dict[str, Any]] = [{name: threshold} for threshold in nearest]
    return [replace(rule, **change) for change in changes]


def assessment_rule(rules: Sequence[DecisionRule], found: Sequence[FoundBuildings]) -> DecisionRule:
    """The best of the rules, with its best grades.

    Args:
        rules: of ``candidate_rules``, with temperature 1.
        found: the buildings of the tiles to tune on, by each rule.

    Returns:
        The rule of the least ``cost`` of those whose precision and recall reach ``LEAST_FINDING``, or where
        none does, of all; of equal ones the first.
    """
    tried = list(zip(rules, found, strict=True))
    reaching = [pair for pair in tried if pair[1].finding >= LEAST_FINDING]
    graded = [_with_grades(*pair) for pair in reaching or tried]
    return min(graded, key=lambda pair: pair[1])[0]


def _with_grades(rule: DecisionRule, found: FoundBuildings) -> tuple[DecisionRule, float]:
    """The rule with the likeliest temperature and the damage weights of the least cost, and that cost."""
    temperature = float(f"{fit_temperature(*found.graded):.4g}")
    known = np.flatnonzero(found.true[:NUM_DAMAGE_CLASSES])
    weights = best_weights(lambda tried: -cost(found.confusion(temperature, tried)), known)
    value = float(cost(found.confusion(temperature, np.array([weights])))[0])
    return replace(rule, temperature=temperature, damage_weights=weights), value
