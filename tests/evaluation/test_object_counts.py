import math

import numpy as np
import pytest
from test_object_match import tile

from skyeye_det.evaluation.object_counts import (
    FOUND_COLUMNS,
    TRUE_ROWS,
    ObjectCounts,
    count_objects,
    finding_figures,
)


def counts(true: list[tuple[int, ...]], damage: list[int], pairs: list[tuple[int, int]]) -> ObjectCounts:
    matched = np.array(pairs, np.int64).reshape(-1, 2)
    return count_objects(tile(*true), np.array(damage, np.int64), (matched[:, 0], matched[:, 1]))


def test_figures_worked_out_by_hand() -> None:
    true = [
        (0, 0, 8, 8, 0),
        (0, 0, 16, 16, 1),
        (0, 0, 32, 32, 2),
        (0, 0, 33, 33, 3),
        (0, 0, 8, 8, -1),
        (0, 0, 8, 8, 3),
    ]
    # found: none as none, minor as major, major as none, the un-classified one; missed: both destroyed
    found = counts(true, [0, 2, 0, 3, 1, 1], [(0, 0), (1, 1), (2, 2), (4, 3)])
    assert found.sizes.tolist() == [[3, 2, 1], [2, 2, 0]]
    assert found.finding.tolist() == [4, 6, 6]
    assert found.confusion.tolist() == [
        [1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 2],
        [0, 0, 0, 1, 0, 0],
        [0, 2, 0, 0, 0, 0],
    ]
    report = found.report()
    assert (report["precision"], report["recall"], report["f1"]) == pytest.approx((4 / 6, 4 / 6, 4 / 6))
    assert [group["recall"] for group in report["by_size"].values()] == pytest.approx([2 / 3, 1, 0])
    of_found = report["damage_found"]["classes"]
    assert of_found["no-damage"]["f1"] == pytest.approx(2 / 3)
    assert of_found["minor-damage"]["f1"] == of_found["major-damage"]["f1"] == 0
    assert math.isnan(of_found["destroyed"]["f1"])  # none was found
    assert report["damage_found"]["macro_f1"] == pytest.approx(2 / 9)
    end = report["damage_end_to_end"]["classes"]
    assert [end[name]["f1"] for name in end] == pytest.approx([2 / 3, 0, 0, 0])
    assert (end["minor-damage"]["fp"], end["destroyed"]["fn"], end["destroyed"]["fp"]) == (2, 2, 0)
    assert report["damage_end_to_end"]["macro_f1"] == pytest.approx(1 / 6)
    assert report["graded"] == 3
    assert report["ordinal_error"] == pytest.approx((0 + 1 + 2) / 3)
    assert report["confusion"]["rows"] == list(TRUE_ROWS)
    assert report["confusion"]["columns"] == list(FOUND_COLUMNS)


def test_prediction_without_a_grade_is_wrong_and_not_part_of_the_ordinal_error() -> None:
    report = counts([(0, 0, 8, 8, 0), (20, 0, 8, 8, 0)], [-1, 0], [(0, 0), (1, 1)]).report()
    assert report["damage_found"]["classes"]["no-damage"]["recall"] == 0.5
    assert (report["graded"], report["ordinal_error"]) == (1, 0)


def test_truth_against_itself_is_perfect() -> None:
    true = [(0, 0, 8, 8, 0), (20, 0, 17, 17, 1), (0, 20, 40, 40, 2), (50, 20, 8, 8, 3)]
    report = counts(true, [0, 1, 2, 3], [(n, n) for n in range(4)]).report()
    assert report["precision"] == report["recall"] == report["f1"] == 1
    for key in ("damage_found", "damage_end_to_end"):
        assert report[key]["macro_f1"] == 1
        assert report[key]["harmonic_f1"] == pytest.approx(1, abs=2e-6)
    assert report["ordinal_error"] == 0


def test_unclassified_buildings_count_for_finding_alone() -> None:
    report = counts([(0, 0, 8, 8, -1), (20, 0, 8, 8, -1)], [2, 3], [(0, 0)]).report()
    assert (report["recall"], report["precision"], report["f1"]) == (0.5, 0.5, 0.5)
    assert math.isnan(report["damage_found"]["macro_f1"])
    assert math.isnan(report["ordinal_error"])
    assert report["graded"] == 0


def test_nothing_there_and_nothing_predicted_is_not_defined() -> None:
    for empty in (counts([], [], []), ObjectCounts.zero(), ObjectCounts.total([])):
        report = empty.report()
        assert all(math.isnan(report[key]) for key in ("precision", "recall", "f1", "ordinal_error"))
        assert all(math.isnan(group["recall"]) for group in report["by_size"].values())


def test_only_one_side_is_there() -> None:
    missed, made_up = counts([(0, 0, 8, 8, 1)], [], []).report(), counts([], [1], []).report()
    assert (missed["recall"], missed["f1"]) == (0, 0)
    assert math.isnan(missed["precision"])
    assert missed["damage_end_to_end"]["classes"]["minor-damage"]["f1"] == 0
    assert made_up["precision"] == 0
    assert math.isnan(made_up["f1"])


def test_order_and_grouping_of_tiles_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    tiles = [
        ObjectCounts(
            rng.integers(0, 9, (6, 6)) * (np.indices((6, 6)).sum(axis=0) < 10), rng.integers(0, 9, (2, 3))
        )
        for _ in range(5)
    ]
    assert str(ObjectCounts.total(tiles).report()) == str(ObjectCounts.total(tiles[::-1]).report())


def test_figures_of_many_draws_at_once() -> None:
    precision, recall, f1 = finding_figures(np.array([[1, 2, 4], [0, 0, 3], [0, 2, 0]]))
    np.testing.assert_array_equal(precision, [0.25, 0, np.nan])
    np.testing.assert_array_equal(recall, [0.5, np.nan, 0])
    np.testing.assert_allclose(f1, [1 / 3, np.nan, 0])
