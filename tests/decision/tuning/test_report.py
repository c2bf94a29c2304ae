from pathlib import Path

import numpy as np
import pytest

from skyeye_det.decision.tuning.report import (
    compare_reports,
    format_comparison,
    read_counts,
    row_figures,
    share_higher,
)
from skyeye_det.errors import InputError
from skyeye_det.files import write_json
from skyeye_det.xview2.bootstrap import Resampling
from skyeye_det.xview2.score import PixelCounts

RESAMPLING = Resampling(300)


def tiles(count: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(50, 500, (count, 3, 5))


def better(counts: np.ndarray) -> np.ndarray:
    """The same with half of the false pixels."""
    improved = counts.copy()
    improved[:, 1] //= 2
    return improved


def write_report(path: Path, counts: np.ndarray, order: list[int] | None = None, folds: int = 5) -> Path:
    order = list(range(len(counts))) if order is None else order
    scenes = [f"storm_{number:08d}" for number in order]
    options = {"folds": folds, "seed": 0}
    write_json(path, {"tiles": {"scenes": scenes, "tuned": counts[order]}, "options": options})
    return path


def test_better_system_is_higher_in_every_draw_whatever_the_order_of_tiles(tmp_path: Path) -> None:
    one = write_report(tmp_path / "one.json", better(tiles()))
    other = write_report(tmp_path / "other.json", tiles(), order=list(range(12))[::-1])
    found = compare_reports([one], [other], RESAMPLING)
    expected = [PixelCounts(*counts.sum(axis=0)).score() for counts in (better(tiles()), tiles())]
    for key in ("score", "localization_f1", "damage_f1"):
        row = found["figures"][key]
        assert row["difference"] == pytest.approx(expected[0][key] - expected[1][key])
        assert row["share_higher"] == 1
        assert row["interval"][0] > 0
    back = compare_reports([other], [one], RESAMPLING)["figures"]["score"]
    assert back["share_higher"] == 0
    assert back["difference"] == -found["figures"]["score"]["difference"]
    text = format_comparison(found, "one", "other")
    assert "12 tiles" in text
    assert "100.0 %" in text


def test_system_is_never_higher_than_itself(tmp_path: Path) -> None:
    one = write_report(tmp_path / "one.json", tiles())
    figures = compare_reports([one], [one], RESAMPLING)["figures"]
    assert {row["share_higher"] for row in figures.values()} == {0.0}
    assert {row["difference"] for row in figures.values()} == {0.0}


def test_even_systems_share_the_draws() -> None:
    share = share_higher(tiles(40, 1), tiles(40, 2), RESAMPLING)
    back = share_higher(tiles(40, 2), tiles(40, 1), RESAMPLING)
    assert 0 < share["score"] < 1
    assert share["score"] + back["score"] == pytest.approx(1)


def test_other_tiles_are_not_compared(tmp_path: Path) -> None:
    one = write_report(tmp_path / "one.json", tiles(12))
    other = write_report(tmp_path / "other.json", tiles(11))
    with pytest.raises(InputError, match="found 1 that only one of them has, storm_00000011 among them"):
        compare_reports([one], [other], RESAMPLING)


def test_other_folds_are_not_compared(tmp_path: Path) -> None:
    one, other = (write_report(tmp_path / f"{folds}.json", tiles(), folds=folds) for folds in (5, 4))
    with pytest.raises(InputError, match=r"expected \(folds, seed\) \[\(5, 0\)\] as .*, found \[\(4, 0\)\]"):
        compare_reports([one], [other], RESAMPLING)


def test_of_several_reports_the_means_are_compared(tmp_path: Path) -> None:
    paths = [
        [write_report(tmp_path / f"{name}{seed}.json", make(tiles(seed=seed))) for seed in (1, 2)]
        for name, make in (("own", better), ("other", np.copy))
    ]
    both = compare_reports(*paths, RESAMPLING)["figures"]
    single = [
        compare_reports([own], [other], RESAMPLING)["figures"] for own, other in zip(*paths, strict=True)
    ]
    for key, row in both.items():
        expected = [each[key]["difference"] for each in single]
        assert row["difference"] == pytest.approx(np.mean(expected))
        assert row["share_higher"] == 1
        assert row["interval"][0] > min(each[key]["interval"][0] for each in single)
    uneven = compare_reports(paths[0], paths[1][:1], RESAMPLING)["figures"]["score"]
    assert uneven["own"] == both["score"]["own"]
    assert uneven["other"] == single[0]["score"]["other"]


def test_draws_without_end_are_refused(tmp_path: Path) -> None:
    one = write_report(tmp_path / "one.json", tiles())
    with pytest.raises(InputError, match="expected 0..1000000 draws"):
        compare_reports([one], [one], Resampling(10**9))


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"tiles": {"scenes": ["a"], "tuned": [[1, 2]]}},
        {"tiles": {"scenes": ["a", "b"], "tuned": np.zeros((1, 3, 5), int)}},
        {"tiles": {"scenes": ["a", "a"], "tuned": np.zeros((2, 3, 5), int)}},
        {"tiles": {"scenes": ["a"], "tuned": np.full((1, 3, 5), -1)}},
        {"tiles": {"scenes": ["a"], "tuned": np.full((1, 3, 5), 0.5)}},
        {"tiles": {"scenes": 3, "tuned": np.zeros((3, 3, 5), int)}},
        {"tiles": {"scenes": ["a"], "tuned": np.zeros((1, 3, 5), int)}, "options": {}},
    ],
)
def test_file_that_is_no_report_is_told(content, tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", content)
    with pytest.raises(InputError, match=r"x\.json: expected a report of tools/tune_postprocess.py --json"):
        read_counts(tmp_path / "x.json")


def test_figures_leave_out_what_the_truth_lacks() -> None:
    counts = tiles()
    counts[:, 0, 4] = counts[:, 2, 4] = 0
    row = row_figures(counts, RESAMPLING)
    report = PixelCounts(*counts.sum(axis=0)).report()
    assert row["score"] == report["score"]
    assert np.isnan(row["damage_f1_destroyed"])
    assert row["official"]["damage_f1_destroyed"] == 0
    low, high = row["intervals"]["score"]
    assert low < row["score"] < high


def test_one_tile_has_no_interval() -> None:
    row = row_figures(tiles(1), RESAMPLING)
    assert np.isnan(row["intervals"]["score"]).all()
    assert np.isnan(share_higher(tiles(1), tiles(1), RESAMPLING)["score"])
