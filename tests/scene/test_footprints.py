"""Footprints on a scene's grid: pixels, ids, and what no footprint has."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import shapely
from rasterio.warp import transform as project
from scenes import UTM, moved_by
from scenes import write_polygons as written
from test_records import GRID, STILL, TEXTS, buildings

from skyeye_det.decision.decide import decide_footprints
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.prediction.windows import cut_windows
from skyeye_det.scene.footprints import beside, open_aoi, open_footprints, remarks
from skyeye_det.scene.records import OUTSIDE, Origin, footprint_records, records_in


def place(x: float, y: float, width: float, height: float) -> shapely.Polygon:
    """A rectangle in px of the grid, as coordinates."""
    left, top = GRID.transform @ (x, y)
    right, bottom = GRID.transform @ (x + width, y + height)
    return shapely.box(left, bottom, right, top)


def test_footprints_cover_the_pixels_whose_centres_they_hold(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", place(10, 20, 8, 6), place(50.6, 60.6, 0.2, 0.2), place(-9, 5, 12, 4))
    found = open_footprints(path, None, GRID)
    (corner, mask), (tiny, pixel), (edge, part) = found.crops
    assert (corner, mask.shape, int(mask.sum())) == ((10, 20), (6, 8), 48)
    assert (tiny, int(pixel.sum())) == ((50, 60), 1)
    assert (edge, part.shape) == ((0, 5), (4, 3))
    np.testing.assert_allclose(found.inside, [1, 1, 0.25], atol=1e-6)
    assert (
        found.digest != open_footprints(written(tmp_path / "b.gpkg", place(10, 20, 8, 6)), None, GRID).digest
    )


def test_every_footprint_has_a_record_with_its_own_id_and_outline(tmp_path: Path) -> None:
    outlines = [place(10, 20, 8, 6), place(GRID.width + 99, 5, 9, 9), place(GRID.width - 2, 50, 10, 10)]
    outlines.append(place(10, 20, 8, 6))  # twice in the file
    path = written(tmp_path / "a.gpkg", *outlines, key=["a", "b", "c", "d"])
    for column, expected in (("key", ["a", "b", "c", "d"]), (None, None)):
        found = open_footprints(path, column, GRID)
        probs = np.full((4, 4), 0.25, np.float32)
        decided = decide_footprints(found.crops, probs, GRID.shape, DecisionRule())
        seen = np.repeat(found.inside[:, None], 3, axis=1)
        records = footprint_records(
            decided.graded_where_seen(lambda _, seen=seen: seen), found, Origin(GRID, STILL, TEXTS)
        )
        assert records.columns["status"].tolist() == [ASSESSED, OUTSIDE, OUTSIDE, ASSESSED]
        assert records.missing["damage"].tolist() == [False, True, True, False]
        assert set(records.columns["outline_from"]) == {"footprint"}
        assert all(shapely.equals(records.geometry, np.array(outlines, object)))
        ids = records.columns["building_id"].tolist()
        assert len(set(ids)) == 4
        assert expected is None or ids == expected


def test_each_footprint_on_the_grid_is_in_one_window(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.gpkg",
        place(10, 20, 8, 6),
        place(999, 5, 9, 9),
        place(180, 120, 60, 60),
        place(380, 300, 9, 9),
    )
    found = open_footprints(path, None, GRID)
    shared = found.shared_out(cut_windows(GRID.shape, 192, 64))
    assert sorted(number for numbers in shared for number in numbers) == [0, 2, 3]


def test_buildings_that_no_footprint_has_are_told_apart(tmp_path: Path) -> None:
    path = written(tmp_path / "a.gpkg", place(10, 10, 20, 20), place(60, 10, 4, 20))
    model = buildings((12, 12, 18, 18), (60, 10, 20, 20), (200, 200, 10, 10), (60, 10, 7, 20))
    assert beside(model, open_footprints(path, None, GRID)).tolist() == [1, 2]
    assert len(model.of(np.array([1, 2]))) == 2
    twice = written(tmp_path / "b.gpkg", place(200, 200, 3, 10), place(200, 200, 3, 10))  # 30 % twice
    assert 2 in beside(model, open_footprints(twice, None, GRID))


def test_a_shift_against_the_image_and_another_date_are_told(tmp_path: Path) -> None:
    places = [(20 + 40 * (k % 8), 20 + 40 * (k // 8), 16, 16) for k in range(40)]
    path = written(tmp_path / "a.gpkg", *(place(*each) for each in places))
    footprints = open_footprints(path, None, GRID)
    assert remarks(buildings(*places), footprints, GRID, None) == []
    moved = buildings(*((x + 6, y - 4, w, h) for x, y, w, h in places))
    (told,) = remarks(moved, footprints, GRID, None)
    assert "3.0 m east and 2.0 m north" in told
    (told,) = remarks(buildings(*places[:10]), footprints, GRID, None)
    assert "75% of the footprints" in told
    assert len(remarks(buildings(), footprints, GRID, None)) == 1


def test_an_area_of_interest_keeps_what_lies_in_it(tmp_path: Path) -> None:
    area = open_aoi(written(tmp_path / "a.gpkg", place(0, 0, 100, 100)), GRID)
    found = open_footprints(
        written(tmp_path / "b.gpkg", place(10, 10, 9, 9), place(200, 10, 9, 9)), None, GRID
    )
    decided = decide_footprints(found.crops, np.full((2, 4), 0.25, np.float32), GRID.shape, DecisionRule())
    records = footprint_records(decided, found, Origin(GRID, STILL, TEXTS))
    assert len(records_in(records, area)) == 1
    assert len(records_in(records, None)) == 2


def test_bad_footprints_are_one_sentence(tmp_path: Path) -> None:
    none = written(tmp_path / "none.gpkg", key=[])
    with pytest.raises(InputError, match="expected polygons, found none with an area here"):
        open_footprints(none, "key", GRID)
    (tmp_path / "a.vrt").write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    with pytest.raises(InputError, match="found one that names other files"):
        open_footprints(str(tmp_path / "a.vrt"), None, GRID)
    far = moved_by(place(0, 0, 9, 9), 90000, 0)
    twice = written(tmp_path / "twice.gpkg", place(0, 0, 9, 9), place(20, 0, 9, 9), key=["a", "a"])
    beside = written(tmp_path / "beside.gpkg", place(-9, 0, 9, 9))
    with pytest.raises(InputError, match="expected polygons where both images are"):
        open_aoi(beside, GRID)
    empty = written(tmp_path / "empty.gpkg", place(0, 0, 9, 9), key=[""])
    with pytest.raises(InputError, match="expected polygons where both images are"):
        open_footprints(written(tmp_path / "far.gpkg", far), None, GRID)
    with pytest.raises(InputError, match="expected polygons where both images are"):
        open_aoi(written(tmp_path / "aoi.gpkg", far), GRID)
    with pytest.raises(InputError, match="expected another value of key in every feature, found 2 with 'a'"):
        open_footprints(twice, "key", GRID)
    with pytest.raises(InputError, match="expected another value of key in every feature, found 1 with ''"):
        open_footprints(empty, "key", GRID)


def test_ids_may_be_lists_and_as_long_as_they_like(tmp_path: Path) -> None:
    (tmp_path / "a.geojson").write_text(
        json.dumps(
            {
                "type": "FeatureCollection",
                "crs": {"type": "name", "properties": {"name": "EPSG:32615"}},
                "features": [
                    {
                        "type": "Feature",
                        "properties": {"key": [number], "long": f"{number}" * 1_000_000},
                        "geometry": shapely.geometry.mapping(place(9 * number, 0, 8, 8)),
                    }
                    for number in range(8)
                ],
            }
        )
    )
    lists = open_footprints(str(tmp_path / "a.geojson"), "key", GRID).ids
    assert lists is not None
    assert len(set(lists.tolist())) == 8
    tracemalloc.start()
    try:
        open_footprints(str(tmp_path / "a.geojson"), "long", GRID)
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()


def test_an_outline_that_has_no_area_on_the_grid_is_left_out(tmp_path: Path) -> None:
    cap = shapely.Polygon([(-180, 90), (180, 90), (180, 80), (-180, 80)])
    house = shapely.transform(
        place(0, 0, 9, 9), lambda points: np.column_stack(project(UTM, "EPSG:4326", *points.T.tolist()))
    )
    found = open_footprints(written(tmp_path / "a.gpkg", cap, house, crs="EPSG:4326"), None, GRID)
    assert found.left_out == 1
    assert len(found.geometry) == len(found.on_grid) == 1
    with pytest.raises(InputError, match="expected polygons, found none with an area here"):
        open_aoi(written(tmp_path / "b.gpkg", cap, crs="EPSG:4326"), GRID)
