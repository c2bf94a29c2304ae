import math
from collections.abc import Sequence

import numpy as np
import pytest
from tuning_tiles import random_tile

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.assessment import (
    NONE,
    TOLERANCE,
    UNKNOWN,
    FoundBuildings,
    assessment_rule,
    bias,
    candidate_rules,
    cost,
    grade_totals,
    ordinal_error,
)

FLAT = np.ones((1, 4))
RULES = [DecisionRule(score_threshold=threshold, purpose="assessment") for threshold in (0.6, 0.3)]


def found(truth: Sequence[int], probs: Sequence[Sequence[float]], missed: Sequence[int] = ()):
    """Buildings of these rows, and one missed of each row in ``missed``."""
    return FoundBuildings(
        np.array(probs, np.float32).reshape(-1, 4),
        np.array(truth, np.int64),
        np.bincount(np.array(missed, np.int64), minlength=NONE),
    )


def sure(*grades: int) -> list[list[float]]:
    return np.where(np.eye(4)[list(grades)] > 0, 0.91, 0.03).tolist()


def flat(buildings: FoundBuildings) -> np.ndarray:
    """Its confusion by the likeliest grades."""
    return buildings.confusion(1.0, FLAT)[0]


def test_ordinal_error_of_a_missed_a_false_and_a_wrong_building() -> None:
    # right; destroyed called minor: 2 steps; false and called minor: 2; major missed: 3
    confusion = flat(found([0, 3, NONE], sure(0, 1, 1), missed=[2]))
    assert confusion.sum() == 4
    assert ordinal_error(confusion) == pytest.approx((0 + 2 + 2 + 3) / 3)


def test_un_classified_counts_for_finding_alone() -> None:
    buildings = found([UNKNOWN, 0], sure(3, 0), missed=[UNKNOWN])
    confusion = flat(buildings)
    assert ordinal_error(confusion) == pytest.approx(1 / 3)  # of three, one is missed
    predicted, true = grade_totals(confusion)
    assert predicted.tolist() == true.tolist() == [1, 0, 0, 0]
    assert buildings.finding == pytest.approx(2 / 3)
    assert buildings.graded[1].tolist() == [0]


def test_totals_are_biased_beyond_the_tolerance_alone() -> None:
    # No damage: 10 true, 11 predicted, (11 + 1) / (10 + 1) < 1.1. Destroyed: 1 true, 3 predicted.
    confusion = flat(found([0] * 10 + [NONE, 3, NONE, NONE], sure(*[0] * 11, 3, 3, 3)))
    assert bias(confusion) == pytest.approx(math.log(4 / 2) - TOLERANCE)
    assert bias(np.stack([confusion, 10 * confusion])).shape == (2,)


def lookalikes() -> FoundBuildings:
    """Of ten that look nearly minor three are, of twenty that look less so seven; all likeliest undamaged."""
    probs = [[0.55, 0.45, 0, 0]] * 10 + [[0.7, 0.3, 0, 0]] * 20
    return found([1] * 3 + [0] * 7 + [1] * 7 + [0] * 13, probs)


def test_unbiased_totals_win_over_a_lower_error() -> None:
    buildings = lookalikes()
    rule = assessment_rule(RULES[:1], [buildings])
    weights = np.array([rule.damage_weights])
    chosen = buildings.confusion(rule.temperature, weights)[0]
    # The ten are called minor, as many as there are: 7 + 7 wrong, and not the 10 of the likeliest grades.
    assert grade_totals(chosen)[0].tolist() == grade_totals(chosen)[1].tolist() == [20, 10, 0, 0]
    assert ordinal_error(chosen) == pytest.approx(14 / 30)
    assert ordinal_error(flat(buildings)) == pytest.approx(10 / 30)
    assert cost(chosen) < cost(flat(buildings))
    np.testing.assert_array_equal(rule.damage(buildings.probs), [1] * 10 + [0] * 20)
    assert rule.damage_weights[2:] == (1.0, 1.0)  # grades that are not there


def test_precision_and_recall_come_first_where_a_rule_reaches_them() -> None:
    reaching = found([0, 0, NONE], sure(3, 3, 0))  # 2/3 of precision, and grades that are all wrong
    short = found([0, 0], sure(0, 0), missed=[0, 0])  # half of recall
    assert short.finding == 0.5
    assert assessment_rule(RULES, [short, reaching]).score_threshold == RULES[1].score_threshold
    shorter = found([0, 0], sure(0, 0), missed=[0, 0, 0])
    assert assessment_rule(RULES, [short, shorter]).score_threshold == RULES[0].score_threshold
    assert assessment_rule(RULES, [shorter, short]).score_threshold == RULES[1].score_threshold


def test_nothing_predicted_and_nothing_there() -> None:
    nothing, unseen = found([], []), found([], [], missed=[0, 3])
    assert math.isnan(ordinal_error(flat(nothing)))
    assert cost(flat(nothing)) == 0
    assert nothing.finding == unseen.finding == 0
    assert ordinal_error(flat(unseen)) == pytest.approx((1 + 4) / 2)
    for empty in (nothing, unseen):
        rule = assessment_rule(RULES, [empty, empty])
        assert rule == RULES[0]


def test_tiles_add_up() -> None:
    one, other = found([0, NONE], sure(0, 1), missed=[2]), found([3], sure(3), missed=[2, UNKNOWN])
    both = FoundBuildings.total([one, other])
    np.testing.assert_array_equal(flat(both), flat(one) + flat(other))
    assert both.true.tolist() == [1, 0, 2, 1, 1]


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [
        ("hybrid", "score_threshold", [0.6, 0.55, 0.65]),
        ("instances", "score_threshold", [0.6, 0.55, 0.65]),
        ("pixels", "pixel_threshold", [0.35, 0.3, 0.4]),
    ],
)
def test_one_threshold_is_tried_the_nearest_to_the_default_first(kind, name, nearest) -> None:
    rules = candidate_rules(random_tile(kind, 0).prediction)
    values = [getattr(rule, name) for rule in rules]
    assert values[0] == nearest[0]
    assert set(values[:3]) == set(nearest)
    assert {(rule.outline, rule.purpose) for rule in rules} == {("mask", "assessment")}
