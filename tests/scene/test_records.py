from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine
from scenes import CORNER, UTM

from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.masks import EMPTY_CROP
from skyeye_det.prediction.visibility import (
    ASSESSED,
    POST_UNSEEN,
    PRE_UNSEEN,
    Core,
    cores,
    keep_visibility,
    load_visibility,
    seen_shares,
)
from skyeye_det.prediction.windows import cut_windows
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import OUTLINES, Origin, building_records, disjoint
from skyeye_det.scene.shift import Shift, WindowShift
from skyeye_det.scene.summary import CELL, counts, grid_cells, summary_table

GRID = Grid(UTM, Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]), 400, 320)
STILL = Shift(0, 0, 0, (), float("nan"))
TEXTS = {"pre_date": "2011-05-01", "post_date": "", "model": "tiny", "run_id": "abc"}


def buildings(*places: tuple[int, int, int, int], probs: list[list[float]] | None = None) -> Buildings:
    """Rectangles (x, y, w, h) in px; the grades follow from their probabilities."""
    rows = np.array(probs or [[0.7, 0.1, 0.1, 0.1]] * len(places), np.float32).reshape(-1, 4)
    return Buildings(
        shape=GRID.shape,
        masks=[((x, y), np.ones((h, w), np.bool_)) for x, y, w, h in places],
        values=[EMPTY_CROP] * len(places),
        scores=np.linspace(0.9, 0.5, len(places), dtype=np.float32),
        damage=rows.argmax(axis=1) if len(rows) else np.zeros(0, np.int64),
        damage_probs=rows,
        sources=["instance"] * len(places),
        rule=DecisionRule(),
    )


def records(found: Buildings, seen: np.ndarray | None = None, shift: Shift = STILL, outlines: str = "mask"):
    shares = np.ones((len(found), 3)) if seen is None else seen
    return building_records(found.graded_where_seen(lambda _: shares), outlines, Origin(GRID, shift, TEXTS))


@pytest.mark.parametrize("outlines", OUTLINES)
def test_outlines_run_along_pixel_edges_and_keep_the_area(outlines: str) -> None:
    found = records(buildings((10, 20, 20, 15)), outlines=outlines)
    left, bottom, right, top = found.geometry[0].bounds
    assert (left, top) == (CORNER[0] + 5, CORNER[1] - 10)
    assert (right - left, top - bottom) == (10, 7.5)
    assert found.columns["area_m2"].tolist() == [75.0]
    assert found.columns["outline_from"].tolist() == ["model"]


def test_overlaps_go_to_the_surer_building_and_all_stay_valid() -> None:
    found = records(buildings((10, 10, 20, 20), (25, 10, 20, 20), (28, 12, 4, 4)))
    areas = found.columns["area_m2"].tolist()
    assert areas == [100.0, 75.0]  # the third lies within the two others and vanishes
    assert shapely.is_valid(found.geometry).all()
    assert shapely.intersection(*found.geometry).area == 0
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    assert shapely.is_valid(disjoint([bow])).all()


def test_what_was_not_seen_is_not_assessed_and_never_undamaged() -> None:
    seen = np.array([[1, 1, 1], [1, 0.2, 0.2], [0.1, 1, 0.1]])
    found = records(buildings((10, 10, 9, 9), (50, 10, 9, 9), (90, 10, 9, 9)), seen)
    assert found.columns["status"].tolist() == [ASSESSED, POST_UNSEEN, PRE_UNSEEN]
    for name in ("damage", "p_no_damage", "p_destroyed", "unosat_class"):
        assert found.missing[name].tolist()[1:] == [True, True]
    assert found.columns["damage_label"].tolist() == ["no-damage", "not assessed", "not assessed"]
    assert found.columns["damage_gra"].tolist() == ["No visible damage", "Not Analysed", "Not Analysed"]
    assert [count.labelled for count in counts(found)] == [1, 0, 0, 0]
    assert "not assessed          2" in summary_table(found)


def test_ids_follow_from_the_place_alone() -> None:
    one = records(buildings((10, 10, 9, 9), (50, 10, 9, 9))).columns["building_id"].tolist()
    other = records(buildings((50, 10, 9, 9), (10, 10, 9, 9), (90, 90, 5, 5))).columns["building_id"].tolist()
    assert len(set(other)) == 3
    assert one == [other[1], other[0]]


def test_the_residual_is_that_of_the_nearest_window() -> None:
    windows = (WindowShift(20, 20, 3.0, 4.0, 0.5), WindowShift(300, 300, 0.0, 0.0, 0.5))
    found = records(buildings((10, 10, 9, 9), (300, 280, 9, 9)), shift=Shift(0, 0, 2, windows, 0.0))
    assert found.columns["shift_m"].tolist() == [2.5, 0.0]
    assert records(buildings((10, 10, 9, 9))).missing["shift_m"].all()


def test_counts_carry_what_the_probabilities_say() -> None:
    found = records(buildings(*[(10 * k, 10, 5, 5) for k in range(16)], probs=[[0.5, 0.0, 0.0, 0.5]] * 16))
    first, *_, last = counts(found)
    assert (first.labelled, last.labelled) == (16, 0)
    assert (first.expected, last.expected) == (8, 8)
    assert last.low == pytest.approx(8 - 1.6449 * 2)  # deviation: root of 16 x 0.25
    assert last.high == pytest.approx(8 + 1.6449 * 2)


def test_cells_hold_the_buildings_whose_middle_they_hold() -> None:
    cells, members = grid_cells(records(buildings((10, 10, 9, 9), (12, 40, 9, 9), (390, 10, 9, 9))))
    assert sorted(map(len, members)) == [1, 2] or [*map(len, members)] == [3]
    assert all(cell.area == CELL**2 for cell in cells)


def test_no_building_is_no_record() -> None:
    found = records(buildings())
    assert len(found) == 0
    assert [count.expected for count in counts(found)] == [0, 0, 0, 0]
    cells, members = grid_cells(found)
    assert len(cells) == len(members) == 0


def test_cores_cover_the_grid_once_and_shares_are_counted_over_all_of_them(tmp_path: Path) -> None:
    windows = cut_windows((300, 500), 128, 32)
    covered = np.zeros((300, 500), np.int64)
    image = np.random.default_rng(0).random((2, 300, 500)) < 0.6
    parts: list[tuple[Core, np.ndarray]] = []
    for core in cores(windows):
        covered[core.y0 : core.y1, core.x0 : core.x1] += 1
        path = tmp_path / f"{core.x0}-{core.y0}.npz"
        keep_visibility(path, image[:, core.y0 : core.y1, core.x0 : core.x1])
        parts.append((core, load_visibility(path)))
    assert (covered == 1).all()
    mask = np.random.default_rng(1).random((200, 300)) < 0.5
    (found,) = seen_shares([((70, 60), mask)], iter(parts))
    crop = image[:, 60:260, 70:370]
    expected = [crop[0][mask].mean(), crop[1][mask].mean(), crop.all(axis=0)[mask].mean()]
    assert found.tolist() == pytest.approx(expected)
