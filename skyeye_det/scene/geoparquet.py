"""GeoParquet, in which Overture, Google and Microsoft publish footprints, and which GDAL often cannot read.

Source: https://geoparquet.org, versions 1.0 and 1.1, geometries as WKB.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import shapely
from rasterio.crs import CRS
from rasterio.errors import CRSError

from skyeye_det.errors import InputError, shown

PARQUET = b"PAR1"
"""How the file begins."""

_DEGREES = "OGC:CRS84"  # where the file names no CRS
_TEXTS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_PLAIN = (
    *_TEXTS,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_decimal,
    pa.types.is_temporal,
)
_NESTED = re.compile(
    rb"\x01(?:[\x04-\x07]\x00|[\xec-\xef]\x03|[\xd4-\xd7]\x07|[\xbc-\xbf]\x0b)\x00[\x00\x20\x40\x60\x80\xa0\xc0\xe0]"
    rb"|\x00[\x00\x20\x40\x60\x80\xa0\xc0\xe0]\x00(?:\x00[\x04-\x07]|\x03[\xec-\xef]|\x07[\xd4-\xd7]|\x0b[\xbc-\xbf])"
)
"""How a geometry begins in WKB that holds others, in either order of bytes, with Z, M or SRID."""

LARGEST_WHOLE = 2**53
"""Of floats, as which GDAL gives whole numbers where some are null."""

_MOST_NESTED = 1000  # GEOS calls itself for each, and ends the process at about 20,000
_MOST_VALUES, _MOST_WKB = 16, 1000  # for each byte of the file; those of real files are below 4 and 10


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
        kinds = {field.name: _plain_type(field.type) for field in file.schema_arrow}
        plain = [
            name for name, kind in kinds.items() if name != primary and any(fits(kind) for fits in _PLAIN)
        ]
        if file.metadata.num_rows * (1 + len(plain)) > _MOST_VALUES * path.stat().st_size:
            raise _swollen(path, f"{file.metadata.num_rows} rows")
        # What is there many times is read once: few bytes of a file can stand for more than memory holds.
        once = [primary, *(name for name in plain if any(fits(kinds[name]) for fits in _TEXTS))]
        file = pq.ParquetFile(path, read_dictionary=once)
        table = file.read([primary, *plain])
        outlines = table[primary].combine_chunks()
        if pa.types.is_dictionary(outlines.type):
            size = pc.sum(pc.binary_length(outlines.dictionary).take(outlines.indices)).as_py() or 0
            if size > _MOST_WKB * path.stat().st_size:
                raise _swollen(path, f"geometries of {size >> 20} MiB")
        columns = {name: _values(table[name].combine_chunks()) for name in plain}
        wkb = _values(outlines)
        if any(_holds_too_many(each) for each in set(wkb.tolist())):
            raise _swollen(path, "geometries within geometries")
        with np.errstate(invalid="ignore"):  # corners that are no numbers are sorted out by who reads it
            found = shapely.force_2d(shapely.from_wkb(wkb, on_invalid="ignore"))
        return found, columns, _crs(path, geometry)
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        NotImplementedError,
    ) as error:
        raise InputError(
            f"{path}: expected GeoParquet with a geometry as WKB, found none that can be read"
            f" ({type(error).__name__}); save it again, or as a GeoPackage"
        ) from error


def _holds_too_many(wkb: bytes | None) -> bool:
    """Whether a geometry could hold others deeper than GEOS can follow."""
    if wkb is None or len(wkb) < 9 * _MOST_NESTED:
        return False
    return sum(1 for _ in _NESTED.finditer(wkb)) > _MOST_NESTED


def _swollen(path: Path, found: str) -> InputError:
    return InputError(
        f"{path}: expected what a file of {path.stat().st_size} bytes can hold, found {found}; save it again"
    )


def _plain_type(kind: Any) -> Any:
    """Of values that may stand in a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _values(column: Any) -> np.ndarray:
    """Values (N,): texts, and what may be null or is no number, as objects."""
    if pa.types.is_dictionary(column.type):
        values = np.concatenate([_values(column.dictionary).astype(object), [None]])
        return np.asarray(values[column.indices.fill_null(len(values) - 1).to_numpy()])
    is_time = pa.types.is_temporal(column.type) and not pa.types.is_timestamp(column.type)
    if is_time or pa.types.is_decimal(column.type):
        column = column.cast(pa.string())
    if pa.types.is_boolean(column.type) or _is_large(column):
        return np.array(column.to_pylist(), object)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def _is_large(column: Any) -> bool:
    """Whether there are whole numbers beside nulls that the floats of GDAL's readers would round."""
    if not (pa.types.is_integer(column.type) and column.null_count):
        return False
    ends = pc.min_max(column).as_py()
    return max(abs(ends["min"] or 0), abs(ends["max"] or 0)) > LARGEST_WHOLE


def _crs(path: Path, geometry: dict[str, Any]) -> CRS:
    """Of PROJJSON; one that is null is unknown."""
    text = geometry.get("crs", _DEGREES)
    if text is None:
        raise InputError(f"{path}: expected a CRS, found none; save it with one")
    try:
        return CRS.from_user_input(text if text == _DEGREES else json.dumps(text))
    except CRSError as error:
        raise InputError(f"{path}: expected a CRS that is known, found {shown(json.dumps(text))}") from error
