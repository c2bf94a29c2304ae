from pathlib import Path

import numpy as np
import pytest
from tuning_tiles import keep, random_tile

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.rasterized import pixel_rule, rasterized_counts
from skyeye_det.decision.tuning.tiles import (
    MOST_BLOCKS,
    BlockCounts,
    KnownWindow,
    count_truth,
    deal_blocks,
)


def test_blocks_are_single_tiles_where_there_are_few_and_bounded_where_there_are_many() -> None:
    folds = np.arange(25) % 5
    assert sorted(deal_blocks(folds)) == list(range(25))
    folds = np.random.default_rng(0).integers(0, 5, 900)
    blocks = deal_blocks(folds)
    assert blocks.max() + 1 == MOST_BLOCKS
    for block in range(MOST_BLOCKS):
        assert len(set(folds[blocks == block])) == 1


@pytest.fixture
def windows(tmp_path: Path) -> list[KnownWindow]:
    return keep(tmp_path, [random_tile("hybrid", number) for number in range(5)])


def test_truth_is_counted_by_class(windows: list[KnownWindow]) -> None:
    localization, damage = windows[0].read()[1]
    expected = [1, (localization > 0).sum(), *((damage == value).sum() for value in (1, 2, 3, 4))]
    np.testing.assert_array_equal(count_truth(windows[0]), expected)


def test_blocks_hold_the_counts_of_their_tiles(
    windows: list[KnownWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = BlockCounts(windows, np.array([0, 1, 0, 2, 1]))
    rules = [DecisionRule(0.2, 0.3), DecisionRule(0.5, 0.2, damage_weights=(1, 2, 3, 4), temperature=2)]
    found = table.rasterize(rules, [2, 0])
    for rule, (alone, both) in zip(rules, found, strict=True):
        single = []
        for index in (0, 2, 3):
            prediction, truth = windows[index].read()
            single += rasterized_counts(prediction, [pixel_rule(rule)], truth)
        weights = np.array([[1.0, 2.0, 1.0, 3.0]])
        np.testing.assert_array_equal(alone.pixel_counts(1, weights), single[2].pixel_counts(1, weights))
        np.testing.assert_array_equal(
            both.pixel_counts(1, weights),
            single[0].pixel_counts(1, weights) + single[1].pixel_counts(1, weights),
        )
    monkeypatch.setattr("skyeye_det.decision.tuning.tiles.count_window", None)  # no window is read again
    assert table.rasterize(rules[::-1], [1])[0][0] is not None
    assert table.rasterize([rules[0]], [2])[0][0] is found[0][0]


def test_old_counts_are_let_go(windows: list[KnownWindow], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyeye_det.decision.tuning.tiles._MOST_KEPT", 2)
    table = BlockCounts(windows[:1], np.array([0]))
    for step in range(4):
        table.rasterize([DecisionRule(pixel_threshold=0.2 + 0.1 * step)], [0])
    assert [round(rule.pixel_threshold, 1) for rule in table._kept] == [0.4, 0.5]
