"""Vector files of strangers: polygons of any format and CRS, or one sentence."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.crs import CRS
from scenes import CORNER, UTM, moved_by, write_polygons

from skyeye_det.errors import InputError
from skyeye_det.scene.vectors import read_polygons, text_values

SQUARE = shapely.box(CORNER[0], CORNER[1] - 20, CORNER[0] + 20, CORNER[1])


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "fgb", "shp"])
def test_any_format_and_crs_comes_to_the_grids(tmp_path: Path, ending: str) -> None:
    moved = moved_by(SQUARE, 30, 0)
    path = write_polygons(tmp_path / f"a.{ending}", SQUARE, moved, name=["one", "two"])
    found = read_polygons(path, "--areas", UTM, ["name"])
    names = text_values(found, "name").tolist()
    assert sorted(names) == ["one", "two"]  # FlatGeobuf orders by place
    np.testing.assert_allclose(shapely.bounds(found.geometry[names.index("one")]), SQUARE.bounds, atol=0.01)
    other = read_polygons(path, "--areas", CRS.from_epsg(32614))
    assert abs(other.geometry[0].bounds[0] - CORNER[0]) > 1000
    assert other.columns == {}


def test_bow_ties_are_mended_and_what_has_no_area_is_counted(tmp_path: Path) -> None:
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    path = write_polygons(
        tmp_path / "a.gpkg", bow, shapely.Polygon(), SQUARE, None, number=[1.0, 2.0, 3.5, np.nan]
    )
    found = read_polygons(path, "--footprints", UTM, ["number"])
    assert found.left_out == 2
    assert shapely.is_valid(found.geometry).all()
    assert text_values(found, "number").tolist() == ["1", "3.5"]


def test_bad_files_are_one_sentence(tmp_path: Path) -> None:
    point = write_polygons(tmp_path / "points.gpkg", shapely.Point(0, 0))
    mixed = write_polygons(tmp_path / "mixed.geojson", shapely.Point(0, 0), SQUARE)
    nowhere = write_polygons(tmp_path / "nowhere.gpkg", SQUARE, crs=None)
    several = write_polygons(tmp_path / "several.gpkg", SQUARE)
    pyogrio.raw.write(
        several, shapely.to_wkb([SQUARE]), [], [], layer="b", geometry_type="Polygon", crs="EPSG:32615"
    )
    wrong = write_polygons(tmp_path / "wrong.gpkg", SQUARE, crs="EPSG:4326")
    (tmp_path / "text.gpkg").write_text("no database")
    named = write_polygons(tmp_path / "named.gpkg", SQUARE, town=["a"])
    for path, sentence in (
        (point, "expected polygons, found 1 other geometries and 0 polygons"),
        (mixed, "expected polygons, found 1 other geometries and 1 polygons"),
        (nowhere, "expected a file that says its CRS"),
        (several, "expected a file with one layer of polygons, found 2"),
        (wrong, "expected coordinates that fit its CRS"),
        (str(tmp_path / "text.gpkg"), "expected a vector file"),
        (str(tmp_path / "none.gpkg"), "expected a vector file"),
    ):
        with pytest.raises(InputError, match=f"--areas .*{sentence}"):
            read_polygons(path, "--areas", UTM)
    with pytest.raises(InputError, match="expected a column 'name', found 'town'"):
        read_polygons(named, "--areas", UTM, ["name"])
