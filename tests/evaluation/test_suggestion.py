import numpy as np
import pytest

from skyeye_det.evaluation import suggestion
from skyeye_det.evaluation.suggestion import suggest

GRID = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0)), axis=2).reshape(-1, 2)
NOBODY = np.zeros(400, bool)


def sure(most: np.ndarray) -> np.ndarray:
    """Probabilities whose highest is given."""
    return np.column_stack([most, *[(1 - most) / 3] * 3])


def test_of_buildings_that_look_the_same_the_uncertain_ones_come_first() -> None:
    most = np.full(400, 0.99)
    most[[7, 210, 390]] = 0.4
    chosen = suggest(sure(most), np.zeros((400, 8)), GRID, NOBODY, 3)
    assert sorted(chosen.tolist()) == [7, 210, 390]


def test_those_unlike_the_labelled_ones_come_first() -> None:
    features = np.zeros((400, 8))
    features[200:, 3] = 5.0
    known = NOBODY.copy()
    known[:40] = True
    chosen = suggest(sure(np.full(400, 0.6)), features, np.zeros((400, 2)), known, 1)
    assert chosen[0] >= 200


def test_they_are_spread_over_the_map_and_differ() -> None:
    chosen = suggest(sure(np.full(400, 0.6)), np.zeros((400, 8)), GRID, NOBODY, 16)
    assert len(set(chosen.tolist())) == 16
    quarters = {(bool(x >= 10), bool(y >= 10)) for x, y in GRID[chosen]}
    assert len(quarters) == 4
    apart = np.abs(GRID[chosen][:, None] - GRID[chosen]).max(axis=2) + 99 * np.eye(16)
    assert apart.min() >= 2  # of 20, where the choice by chance has neighbours


@pytest.mark.parametrize("features", [0, 8])
def test_known_ones_are_never_chosen_and_all_that_are_left_where_there_are_few(features: int) -> None:
    known = np.ones(400, bool)
    known[[3, 50, 399]] = False
    chosen = suggest(sure(np.full(400, 0.6)), np.zeros((400, features)), GRID, known, 20)
    assert sorted(chosen.tolist()) == [3, 50, 399]
    assert not len(suggest(sure(np.full(400, 0.6)), np.zeros((400, features)), GRID, ~NOBODY, 20))


def test_of_none_none_is_chosen() -> None:
    assert not len(suggest(np.zeros((0, 4)), np.zeros((0, 8)), np.zeros((0, 2)), np.zeros(0, bool), 20))


def test_of_very_many_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestion, "_MOST", 50)
    chosen = suggest(sure(np.full(400, 0.6)), np.zeros((400, 0)), GRID, NOBODY, 20)
    assert len(set(chosen.tolist())) == 20
