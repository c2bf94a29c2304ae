"""Grades of known buildings decided by weights tuned on other tiles."""

import numpy as np
import pytest
from test_tuning_weights import biased_blocks, block, damage_f1

from skyeye_det.errors import InputError
from skyeye_det.evaluation.tuning_grades import counts_of_owners, cross_fitted_grades
from skyeye_det.evaluation.tuning_weights import graded_rule
from skyeye_det.evaluation.xview2_metrics import PixelCounts, count_pixels
from skyeye_det.postprocessing.decision import DecisionRule


def names(count: int) -> list[str]:
    return [f"scene_{number:08d}" for number in range(count)]


def random_town(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    owner = rng.integers(-1, count, (12, 10)).repeat(3, 0).repeat(3, 1)
    grade = rng.integers(-1, 4, count + 1)
    localization = (owner >= 0).astype(np.uint8)
    damage = (localization * (grade[owner] + 1)).astype(np.uint8)
    return owner, rng.dirichlet((1,) * 4, count).astype(np.float32), (localization, damage)


@pytest.mark.parametrize("count", [0, 1, 9])
def test_counts_are_those_of_painted_images(count: int) -> None:
    owner, probs, truth = random_town(count, count)
    rule = DecisionRule(damage_weights=(1.0, 2.0, 0.7, 1.5), temperature=1.7)
    counts = counts_of_owners(owner, probs, truth)
    damage = np.where(owner >= 0, np.append(rule.damage(probs), 0)[owner] + 1, 0).astype(np.uint8)
    expected = count_pixels(truth[0], damage, *truth)
    found = counts.pixel_counts(rule.temperature, np.array([rule.damage_weights]))[0]
    np.testing.assert_array_equal(found, np.stack([expected.tp, expected.fp, expected.fn]))


def test_bias_against_rare_classes_is_undone_on_tiles_left_out() -> None:
    tiles = biased_blocks(15, 0)
    by_tile, rules = cross_fitted_grades(tiles, names(15), 5)
    counts = by_tile.sum(axis=0)
    assert len(rules) == 5
    assert PixelCounts(*counts).score()["damage_f1"] > damage_f1(DecisionRule(), tiles) + 0.05
    np.testing.assert_array_equal(counts[:, 0], np.sum([tile.localization for tile in tiles], axis=0))
    np.testing.assert_array_equal((counts[0] + counts[2])[1:], np.sum([tile.true for tile in tiles], axis=0))


def test_a_tile_has_no_say_in_the_weights_it_is_judged_by() -> None:
    tiles = [*biased_blocks(1, 0, bias=8), *biased_blocks(1, 1, bias=0.2)]
    counts, _ = cross_fitted_grades(tiles, names(2), 2)
    rules = [graded_rule(DecisionRule(), [tile]) for tile in tiles]
    assert rules[0].damage_weights != rules[1].damage_weights
    expected = sum(
        tile.pixel_counts(rule.temperature, np.array([rule.damage_weights]))[0]
        for tile, rule in zip(tiles, rules[::-1], strict=True)
    )
    np.testing.assert_array_equal(counts.sum(axis=0), expected)


def test_tiles_without_classified_buildings_keep_equal_weights() -> None:
    nothing = counts_of_owners(
        np.full((8, 8), -1), np.zeros((0, 4), np.float32), (np.zeros((8, 8), np.uint8),) * 2
    )
    unknown = block(np.full((3, 4), 0.25), np.full(3, -1))
    by_tile, rules = cross_fitted_grades([nothing, unknown, nothing], names(3), 3)
    counts = by_tile.sum(axis=0)
    assert {rule.damage_weights for rule in rules} == {(1.0,) * 4}
    assert counts[:, 1:].sum() == 0
    assert counts[:, 0].tolist() == [300, 0, 0]


def test_more_folds_than_tiles_are_refused() -> None:
    with pytest.raises(InputError, match="expected 2 to the number of tiles, found 2"):
        cross_fitted_grades(biased_blocks(2, 0), names(2), 3)
