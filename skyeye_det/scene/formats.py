"""The buildings in formats beside GeoPackage: FlatGeobuf, GeoJSON, GeoParquet."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import shapely
from rasterio.crs import CRS
from rasterio.warp import transform

from skyeye_det.errors import InputError
from skyeye_det.files import whole_file
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.records import Records
from skyeye_det.scene.vector_writing import whole_vector_file, write_layer

FORMATS = ("fgb", "geojson", "parquet")
"""Endings. GeoJSON and GeoParquet are in longitude and latitude (RFC 7946, OGC:CRS84), others as the grid."""

_DRIVERS = {"fgb": "FlatGeobuf", "geojson": "GeoJSON"}
_DEGREES = CRS.from_epsg(4326)


def write_format(path: Path, records: Records, crs: CRS, name: str) -> None:
    """Writes records of a CRS in one of ``FORMATS``; InputError where that fails."""
    geometry = records.geometry
    if name != "fgb":
        geometry, crs = _in_degrees(geometry, crs), _DEGREES
    if name == "parquet":
        _write_parquet(path, geometry, records)
        return
    with whole_vector_file(path) as place:
        write_layer(place, BUILDINGS, geometry, records.columns, crs, records.missing, driver=_DRIVERS[name])


def _write_parquet(path: Path, geometry: np.ndarray, records: Records) -> None:
    """GeoParquet 1.0: polygons as WKB, and what they are in the metadata."""
    columns: dict[str, Any] = {
        name: pa.array(values.tolist(), mask=records.missing.get(name), from_pandas=True)
        if values.dtype == object
        else pa.array(values, mask=records.missing.get(name))
        for name, values in records.columns.items()
    }
    columns["geometry"] = pa.array(shapely.to_wkb(geometry).tolist(), pa.binary())
    described = {"encoding": "WKB", "geometry_types": ["Polygon", "MultiPolygon"]}
    geo = {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": described}}
    table = pa.table(columns).replace_schema_metadata({"geo": json.dumps(geo)})
    try:
        with whole_file(path) as partial:
            pq.write_table(table, partial, compression="zstd")
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: cannot be written ({' '.join(str(error).split())}); is there room on the disk?"
        ) from error


def _in_degrees(geometry: np.ndarray, crs: CRS) -> np.ndarray:
    def place(points: np.ndarray) -> np.ndarray:
        return np.column_stack(transform(crs, _DEGREES, *points.T.tolist()))

    return np.asarray(shapely.transform(geometry, place))
