"""Dealing groups out to parts by their amounts."""

import numpy as np
import pytest

from skyeye_det.data.stratification import stratify


def names(count: int) -> list[str]:
    return [f"train/e_{number:08d}" for number in range(count)]


def shares(amounts: np.ndarray, parts: np.ndarray, part: int) -> np.ndarray:
    return amounts[parts == part].sum(axis=0) / amounts.sum(axis=0)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.5, 0.5), (0.6, 0.2, 0.1, 0.1)])
@pytest.mark.parametrize("count", [300, 1200])
def test_every_column_gets_its_fraction_though_classes_are_rare_and_uneven(
    fractions: tuple[float, ...], count: int
) -> None:
    rng = np.random.default_rng(1)
    amounts = rng.poisson(rng.gamma(0.3, (3, 30, 6, 2, 0.5), (count, 5))).astype(np.int64)
    amounts = np.column_stack([np.ones(count, np.int64), amounts])
    parts = stratify(amounts, fractions, names(count), 0)
    for part, fraction in enumerate(fractions):
        np.testing.assert_allclose(shares(amounts, parts, part), fraction, atol=0.02)


def test_result_depends_on_the_seed_and_not_on_the_order() -> None:
    amounts = np.random.default_rng(2).integers(1, 9, (60, 3))
    order = np.random.default_rng(3).permutation(60)
    first = stratify(amounts, (0.7, 0.3), names(60), 0)
    again = stratify(amounts[order], (0.7, 0.3), [names(60)[index] for index in order], 0)
    other = stratify(amounts, (0.7, 0.3), names(60), 1)
    np.testing.assert_array_equal(first[order], again)
    assert (first != other).sum() > 10


def test_few_large_groups_are_dealt_as_well_as_they_can_be() -> None:
    amounts = np.array([[50], [30], [10], [10]], np.int64)
    parts = stratify(amounts, (0.5, 0.4, 0.1), names(4), 0)
    assert sorted(amounts[parts == part].sum() for part in range(3)) == [10, 40, 50]


@pytest.mark.parametrize("count", [3, 4, 600])
def test_every_part_gets_a_group_however_small_its_fraction(count: int) -> None:
    parts = stratify(np.ones((count, 1), np.int64), (0.999, 0.0005, 0.0005), names(count), 0)
    assert set(parts.tolist()) == {0, 1, 2}


def test_as_many_parts_as_groups_and_columns_of_nothing() -> None:
    amounts = np.array([[1, 0, 0], [1, 0, 0]], np.int64)
    assert sorted(stratify(amounts, (0.9, 0.1), names(2), 5).tolist()) == [0, 1]
    assert stratify(amounts[:1], (1.0,), names(1), 5).tolist() == [0]


def test_groups_without_difference_are_dealt_by_their_number() -> None:
    parts = stratify(np.ones((100, 2), np.int64), (0.8, 0.1, 0.1), names(100), 7)
    assert np.bincount(parts).tolist() == [80, 10, 10]
