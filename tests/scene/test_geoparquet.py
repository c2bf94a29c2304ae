"""Footprints as GeoParquet, as others publish them and as ``skyeye assess`` writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from rasterio.crs import CRS

from skyeye_det.errors import InputError
from skyeye_det.scene.vector_file import read_layer

HOUSES = [shapely.box(500000, 3300000, 500010, 3300020), shapely.box(500100, 3300000, 500110, 3300020)]


def written(path: Path, geo: Any = None, **columns: Any) -> Path:
    """A file of two houses and a feature without geometry; ``geo`` joins what describes the geometry."""
    shapes = [*(shapely.to_wkb(each) for each in HOUSES), None]
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
