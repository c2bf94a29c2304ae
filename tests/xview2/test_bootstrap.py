import numpy as np
import pytest

from skyeye_det.evaluation.submission_score import score_intervals
from skyeye_det.xview2.bootstrap import Resampling, percentile_interval, resampled_totals, score_draws
from skyeye_det.xview2.score import PixelCounts

RNG = np.random.default_rng(7)


def tiles(count: int) -> np.ndarray:
    return RNG.integers(0, 5000, (count, 3, 5))


def test_score_of_each_draw_is_the_official_one() -> None:
    totals = tiles(20).astype(float)
    totals[3, 0, 2] = 0  # a class without a hit
    draws = score_draws(totals, np.ones(4, bool))
    for row, counts in enumerate(totals.astype(np.int64)):
        expected = PixelCounts(*counts).score()
        assert {name: values[row] for name, values in draws.items()} == pytest.approx(expected, rel=1e-12)


def test_class_that_chance_took_away_is_left_out_and_one_that_is_absent_counts_nothing() -> None:
    totals = np.full((1, 3, 5), 10.0)
    totals[0, :, 4] = 0, 10, 0
    gone = score_draws(totals, np.array([True, True, True, True]))
    absent = score_draws(totals, np.array([True, True, True, False]))
    assert gone["damage_f1"][0] == pytest.approx(0.5, abs=2e-6)
    assert np.isnan(gone["damage_f1_destroyed"][0])
    assert absent["damage_f1"][0] == pytest.approx(PixelCounts(*totals[0].astype(int)).score()["damage_f1"])
    assert absent["damage_f1_destroyed"][0] == 0


def test_equal_tiles_give_an_interval_without_width() -> None:
    one = tiles(1)
    found = np.array([[3, 5, 6]])
    intervals = score_intervals(np.repeat(one, 9, axis=0), np.repeat(found, 9, axis=0), Resampling())
    score = PixelCounts(*(one[0] * 9)).score() | {
        "building_precision": 3 / 6,
        "building_recall": 3 / 5,
        "building_f1": 6 / 11,
    }
    assert set(intervals) == set(score)
    for name, (low, high) in intervals.items():
        assert low == high == pytest.approx(score[name], rel=1e-12)


def test_totals_are_those_of_sets_of_tiles() -> None:
    totals = resampled_totals(np.eye(6, dtype=np.int64), Resampling(500, 1))
    assert (totals.sum(axis=1) == 6).all()
    assert (totals == np.round(totals)).all()
    # A tile is left out of a draw with probability (5/6)**6 = 0.335.
    assert (totals == 0).mean() == pytest.approx(0.335, abs=0.03)
    assert totals.mean(axis=0) == pytest.approx(np.ones(6), abs=0.15)


def test_same_seed_draws_the_same_tiles_from_another_run() -> None:
    first, second = tiles(30), tiles(30)
    drawn = [resampled_totals(run, Resampling(50, 3)) for run in (first, second, first + second)]
    np.testing.assert_array_equal(drawn[0] + drawn[1], drawn[2])
    assert not np.array_equal(drawn[0], resampled_totals(first, Resampling(50, 4)))


def test_large_sets_are_drawn_in_blocks_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = tiles(40)
    whole = resampled_totals(counts, Resampling(101, 5))
    monkeypatch.setattr("skyeye_det.xview2.bootstrap._BLOCK", 130)
    np.testing.assert_array_equal(resampled_totals(counts, Resampling(101, 5)), whole)


@pytest.mark.parametrize(("count", "draws"), [(0, 100), (1, 100), (5, 0)])
def test_too_little_to_draw_from_gives_no_interval(count: int, draws: int) -> None:
    intervals = score_intervals(tiles(count), np.ones((count, 3), int), Resampling(draws))
    assert all(np.isnan(end) for ends in intervals.values() for end in ends)


def test_values_that_are_not_defined_are_left_out_of_an_interval() -> None:
    low, high = percentile_interval(np.array([np.nan, *range(101)], float))
    assert (low, high) == pytest.approx((5, 95))
    assert np.isnan(percentile_interval(np.full(4, np.nan))).all()


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    inside = 0
    for _ in range(150):
        sizes = rng.integers(1, 60, 40)
        hits = rng.binomial(sizes, np.clip(rng.normal(0.6, 0.1, 40), 0, 1))
        found = np.stack([hits, sizes, sizes], axis=1)
        low, high = score_intervals(np.zeros((40, 3, 5), int), found, Resampling(300))["building_recall"]
        inside += low <= 0.6 <= high
    assert 0.82 < inside / 150 < 0.96
