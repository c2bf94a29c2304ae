from dataclasses import replace

import numpy as np
import pytest

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import GroupCounts, counts_of_groups
from skyeye_det.decision.tuning.weights import rule_score, rule_with_grades, scores, settled_rule
from skyeye_det.xview2.score import PixelCounts

RULE = DecisionRule()


def block(probs: np.ndarray, grades: np.ndarray, pixels: int = 100) -> GroupCounts:
    """A tile whose buildings of one class each are found to the pixel."""
    table = np.zeros((len(grades), 2, 5), np.int64)
    table[np.arange(len(grades)), 1, grades + 1] = pixels
    return counts_of_groups(table, probs.astype(np.float32), table.sum(axis=0), of_buildings=True)


def biased_blocks(count: int, seed: int, classes: int = 4, bias: float = 4.0) -> list[GroupCounts]:
    """Buildings of rare grades, whose probability of no damage is ``bias`` times what it should be."""
    rng = np.random.default_rng(seed)
    frequency = np.array([0.7, 0.1, 0.1, 0.1])[:classes]
    blocks = []
    for _ in range(count):
        probs = np.zeros((60, 4))
        probs[:, :classes] = rng.dirichlet(2 * frequency, 60)
        grades = (probs.cumsum(axis=1) < rng.random((60, 1))).sum(axis=1).clip(0, classes - 1)
        probs[:, 0] *= bias
        blocks.append(block(probs / probs.sum(axis=1, keepdims=True), grades))
    return blocks


def damage_f1(rule: DecisionRule, parts: list[GroupCounts]) -> float:
    counts = sum(part.pixel_counts(rule.temperature, np.array([rule.damage_weights])) for part in parts)
    return PixelCounts(*counts[0]).score()["damage_f1"]


def test_bias_against_rare_classes_is_undone_on_tiles_not_seen() -> None:
    parts, others = biased_blocks(12, 0), biased_blocks(12, 1)
    found = settled_rule(rule_with_grades(RULE, parts), parts, 0)
    assert damage_f1(found, others) > damage_f1(RULE, others) + 0.05
    assert min(found.damage_weights[1:]) > 1.5


def test_found_weights_score_at_least_what_equal_ones_do_where_they_were_found() -> None:
    for seed in range(5):
        parts = biased_blocks(3, seed)
        found = rule_with_grades(RULE, parts)
        equal = replace(found, damage_weights=(1.0,) * 4)
        assert rule_score(parts, found) >= rule_score(parts, equal)


def test_probabilities_that_are_right_leave_weights_near_one() -> None:
    parts = []
    for seed in range(10):
        grades = np.arange(40) % 4
        probs = np.full((40, 4), 0.1) + 0.6 * np.eye(4)[grades]
        wrong = np.random.default_rng(seed).random(40) < 0.2
        probs[wrong] = np.roll(probs[wrong], 1, axis=1)
        parts.append(block(probs, grades))
    found = rule_with_grades(RULE, parts)
    assert found.damage_weights == (1.0,) * 4
    assert settled_rule(found, parts, 0).damage_weights == pytest.approx((1.0,) * 4, abs=0.1)


def test_class_that_the_truth_lacks_keeps_its_factor() -> None:
    parts = biased_blocks(8, 2, classes=3)
    found = settled_rule(rule_with_grades(RULE, parts), parts, 0)
    assert found.damage_weights[3] == 1
    assert found.damage_weights[0] == 1
    assert found.damage_weights[1] > 1


def test_first_class_that_is_there_is_what_others_are_relative_to() -> None:
    rng = np.random.default_rng(0)
    grades = rng.integers(1, 4, 80)
    probs = 0.2 + 0.3 * np.eye(4)[grades] + 0.3 * np.eye(4)[rng.integers(1, 4, 80)]
    parts = [block(probs[i::4] / probs[i::4].sum(axis=1, keepdims=True), grades[i::4]) for i in range(4)]
    assert settled_rule(rule_with_grades(RULE, parts), parts, 0).damage_weights[:2] == (1.0, 1.0)


@pytest.mark.parametrize("grades", [[], [2, 2]])
def test_too_few_classes_to_weigh_keep_the_default(grades: list[int]) -> None:
    parts = [block(np.full((len(grades), 4), 0.25), np.array(grades, int))] * 3
    found = settled_rule(rule_with_grades(RULE, parts), parts, 0)
    assert found.damage_weights == RULE.damage_weights


def test_same_seed_settles_the_same_weights() -> None:
    parts = biased_blocks(6, 3)
    graded = rule_with_grades(RULE, parts)
    assert settled_rule(graded, parts, 1) == settled_rule(graded, parts, 1)
    assert settled_rule(graded, parts, 1) != settled_rule(graded, parts, 2)
    assert settled_rule(graded, parts[:1], 1) == graded


def test_score_is_the_official_one_where_every_class_is_there() -> None:
    counts = np.random.default_rng(0).integers(1, 500, (4, 3, 5))
    assert scores(counts) == pytest.approx([PixelCounts(*one).score()["score"] for one in counts])


def test_absent_class_is_left_out_of_the_score() -> None:
    counts = np.random.default_rng(0).integers(1, 500, (1, 3, 5))
    counts[0, 0, 3] = counts[0, 2, 3] = 0
    assert scores(counts)[0] == pytest.approx(PixelCounts(*counts[0]).report()["score"])
    counts[0, :, 1:] = 0
    assert scores(counts)[0] == pytest.approx(0.3 * PixelCounts(*counts[0]).score()["localization_f1"])
