"""Footprints as GeoParquet, as others publish them and as ``skyeye assess`` writes them."""

import json
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from rasterio.crs import CRS
from scenes import write_polygons

from skyeye_det.errors import InputError
from skyeye_det.scene.vector_file import read_layer

HOUSES = [shapely.box(500000, 3300000, 500010, 3300020), shapely.box(500100, 3300000, 500110, 3300020)]


SHAPES = [*(shapely.to_wkb(each) for each in HOUSES), None]


def written(path: Path, geo: Any = None, shapes: list[bytes | None] = SHAPES, **columns: Any) -> Path:
    """A file of two houses and a feature without geometry; ``geo`` joins what describes the geometry."""
    described = {"encoding": "WKB", "geometry_types": [], "crs": json.loads(CRS.from_epsg(32615)._projjson())}
    described |= geo or {}
    metadata = {"geo": json.dumps({"primary_column": "outline", "columns": {"outline": described}})}
    table = pa.table({"outline": pa.array(shapes, pa.binary()), **columns})
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_outlines_ids_and_crs_are_those_of_the_file(tmp_path) -> None:
    found = read_layer(
        written(
            tmp_path / "f.parquet",
            number=pa.array([7, None, 9]),
            name=pa.array(["<b>", "ü", None]).dictionary_encode(),
            checked=pa.array([True, None, False]),
            sources=pa.array([[{"a": 1}], [], None]),
        )
    )
    assert found.crs == CRS.from_epsg(32615)
    assert shapely.equals(found.geometry, HOUSES).all()
    assert (len(found), found.left_out) == (2, 1)
    assert found.texts("number", "", null="?") == ["7", "?"]
    assert found.texts("name", "") == ["<b>", "ü"]
    assert found.columns["checked"].tolist() == [True, None]
    assert "sources" not in found.columns


def test_without_a_crs_it_is_longitude_and_latitude(tmp_path) -> None:
    path = written(tmp_path / "f.parquet")
    table = pq.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["outline"]["crs"]
    degrees = [shapely.to_wkb(shapely.box(-93, 45, -92.999, 45.001)), None, None]
    table = pa.table({"outline": pa.array(degrees, pa.binary())})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    (left, bottom, right, top) = read_layer(path).projected(CRS.from_epsg(32615)).bounds
    assert (left, right - left) == pytest.approx((500000, 78.8), abs=0.1)
    assert (bottom, top - bottom) == pytest.approx((4982950, 111.1), abs=1)


@pytest.mark.parametrize(
    ("geo", "sentence"),
    [
        ({"crs": None}, "expected a CRS, found none"),
        ({"crs": {"type": "ProjectedCRS", "name": "<b>"}}, "expected a CRS that is known"),
        ({"encoding": "polygon"}, "expected geometries as WKB, found 'polygon'"),
        ({"encoding": None}, "expected geometries as WKB"),
    ],
)
def test_what_is_not_known_of_it_is_told(tmp_path, geo, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        read_layer(written(tmp_path / "f.parquet", geo))


def test_other_parquet_files_and_cut_ones_are_refused(tmp_path) -> None:
    plain, cut = tmp_path / "plain.parquet", tmp_path / "cut.parquet"
    pq.write_table(pa.table({"a": np.arange(3)}), plain)
    cut.write_bytes(written(tmp_path / "f.parquet").read_bytes()[:-100])
    for path in (plain, cut):
        with pytest.raises(InputError, match="expected GeoParquet with a geometry as WKB, found none"):
            read_layer(path)


def test_ids_are_those_of_the_file_whatever_their_type(tmp_path) -> None:
    large = 2**53 + 1
    columns = {
        "beside_null": pa.array([large, large + 1, None]),
        "repeated": pa.array([2**64 - 1, large, None], pa.uint64()).dictionary_encode(),
        "decimal": pa.array([Decimal(large), Decimal(10**30), None], pa.decimal128(38, 0)),
        "view": pa.array(["a", "b", None], pa.string_view()),
    }
    found = read_layer(written(tmp_path / "f.parquet", **columns))
    assert {name: found.texts(name, "") for name in columns} == {
        "beside_null": ["9007199254740993", "9007199254740994"],
        "repeated": ["18446744073709551615", "9007199254740993"],
        "decimal": ["9007199254740993", "1" + 30 * "0"],
        "view": ["a", "b"],
    }


def test_numbers_that_gdal_has_rounded_are_no_ids(tmp_path) -> None:
    path = write_polygons(tmp_path / "f.gpkg", *HOUSES, number=[2.0**53 + 2, np.nan])
    with pytest.raises(
        InputError, match=r"f\.gpkg: column 'number': expected numbers up to 9007199254740992"
    ):
        read_layer(Path(path)).texts("number", "")


def test_curves_are_told_and_corners_that_are_no_numbers_have_no_area(tmp_path) -> None:
    corners = np.array([0, 0, 1, 1, 2, 0, 1, -1, 0, 0], "<f8").tobytes()
    ring = struct.pack("<BII", 1, 8, 5) + corners
    curved = struct.pack("<BII", 1, 10, 1) + ring
    with pytest.raises(InputError, match="found none that can be read"):
        read_layer(written(tmp_path / "curved.parquet", shapes=[SHAPES[0], curved, None]))
    odd = struct.pack("<BIII", 1, 3, 1, 5) + corners.replace(struct.pack("<d", 2), struct.pack("<d", np.nan))
    found = read_layer(written(tmp_path / "odd.parquet", shapes=[SHAPES[0], odd, None]))
    assert (len(found), found.left_out) == (1, 2)


def test_few_bytes_do_not_fill_the_memory(tmp_path) -> None:
    text = 200 * ["x" * 500_000]
    path = written(tmp_path / "text.parquet", shapes=200 * SHAPES[:1], text=text)
    assert len({id(each) for each in read_layer(path).columns["text"]}) == 1
    rows = written(tmp_path / "rows.parquet", shapes=200_000 * [None])
    large = shapely.to_wkb(shapely.Point(0, 0).buffer(1, 10_000))
    outlines = written(tmp_path / "outlines.parquet", shapes=2_000 * [large])
    for path, found in ((rows, "200000 rows"), (outlines, "geometries of")):
        with pytest.raises(InputError, match=f"what a file of .* bytes can hold, found {found}"):
            read_layer(path)


def test_geometries_within_geometries_do_not_end_the_process(tmp_path) -> None:
    path = tmp_path / "f.parquet"
    deep = b"\x01\x07\x00\x00\x00\x01\x00\x00\x00" * 100_000 + shapely.to_wkb(HOUSES[0])
    table = pq.read_table(written(path)).set_column(0, "outline", pa.array([deep] * 3, pa.binary()))
    pq.write_table(table, path, compression="none")
    with pytest.raises(InputError, match="geometries within geometries"):
        read_layer(path)
