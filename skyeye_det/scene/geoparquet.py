"""GeoParquet, in which Overture, Google and Microsoft publish footprints, and which GDAL often cannot read.

Source: https://geoparquet.org, versions 1.0 and 1.1, geometries as WKB.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError

from skyeye_det.errors import InputError, shown

PARQUET = b"PAR1"
"""How the file begins."""

_DEGREES = "OGC:CRS84"  # where the file names no CRS
_PLAIN = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_dictionary,
    pa.types.is_temporal,
)


def read_geoparquet(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], CRS]:
    """Reads the primary geometry, and the columns of plain values; lists and structures are left out.

    Returns:
        Geometries (N,), None where there is none or no WKB; name -> values (N,), None or NaN where one is
        null; the CRS of the coordinates.

    Raises:
        InputError: no such file, without the metadata of GeoParquet, or of another encoding.
    """
    try:
        file = pq.ParquetFile(path)
        described = json.loads((file.schema_arrow.metadata or {})[b"geo"])
        primary = described["primary_column"]
        geometry = described["columns"][primary]
        if geometry["encoding"] != "WKB":
            raise InputError(
                f"{path}: expected geometries as WKB, found {shown(geometry['encoding'])}; save them so"
            )
        plain = [
            field.name
            for field in file.schema_arrow
            if field.name != primary and any(fits(field.type) for fits in _PLAIN)
        ]
        table = file.read([primary, *plain])
        columns = {name: _values(table[name]) for name in plain}
        found = shapely.force_2d(shapely.from_wkb(table[primary].to_pylist(), on_invalid="ignore"))
        return found, columns, _crs(path, geometry)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: expected GeoParquet with a geometry as WKB, found none that can be read"
            f" ({type(error).__name__}); save it again, or as a GeoPackage"
        ) from error


def _values(column: Any) -> np.ndarray:
    """Values (N,), as pyogrio gives them: texts and what may be true, false or null as objects."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_temporal(column.type) and not pa.types.is_timestamp(column.type):
        column = column.cast(pa.string())
    if pa.types.is_boolean(column.type):
        return np.array(column.to_pylist(), object)
    return np.asarray(column.to_numpy())


def _crs(path: Path, geometry: dict[str, Any]) -> CRS:
    """Of PROJJSON; one that is null is unknown."""
    text = geometry.get("crs", _DEGREES)
    if text is None:
        raise InputError(f"{path}: expected a CRS, found none; save it with one")
    try:
        return CRS.from_user_input(text if text == _DEGREES else json.dumps(text))
    except CRSError as error:
        raise InputError(f"{path}: expected a CRS that is known, found {shown(json.dumps(text))}") from error
