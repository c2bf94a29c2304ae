"""Polygons of vector files that strangers made: footprints, areas of interest, districts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform

from skyeye_det.errors import InputError, shown

_LISTED = 12


@dataclass(frozen=True, eq=False)
class Polygons:
    """N polygons of a file.

    Attributes:
        path: of the file.
        geometry: (N,) shapely polygons and multipolygons, valid, none empty.
        columns: name -> values (N,).
        left_out: how many features had no area.
    """

    path: str
    geometry: np.ndarray
    columns: dict[str, np.ndarray]
    left_out: int


def read_polygons(path: str, option: str, crs: CRS, columns: Sequence[str] = ()) -> Polygons:
    """Reads the polygons of a file.

    Args:
        path: any file or address that GDAL reads.
        option: the command's, for messages.
        crs: to bring them to.
        columns: to read with them.

    Raises:
        InputError: no such file, several layers, no CRS, no polygon, no such column.
    """
    layer, own = _layer(path, option, columns)
    try:
        _, _, wkb, values = pyogrio.raw.read(path, layer=layer, columns=list(columns), force_2d=True)
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise _unreadable(path, option, error) from error
    found = np.array([_geometry(each) for each in wkb], object)
    polygonal = np.array([each is not None and shapely.get_dimensions(each) == 2 for each in found], np.bool_)
    others = np.array([each is not None and not shapely.is_empty(each) for each in found], np.bool_)
    if (others & ~polygonal).any() or not polygonal.any():
        raise InputError(
            f"{option} {path}: expected polygons, found {int((others & ~polygonal).sum())} other geometries"
            f" and {int(polygonal.sum())} polygons; give outlines"
        )
    kept = shapely.make_valid(_projected(found[polygonal], path, option, own, crs))
    kept = np.array([_areal(each) for each in kept], object)
    whole = ~shapely.is_empty(kept)
    numbers = np.flatnonzero(polygonal)[whole]
    by_name = dict(zip(columns, values, strict=True))
    return Polygons(
        path,
        kept[whole],
        {name: np.asarray(each)[numbers] for name, each in by_name.items()},
        len(found) - len(numbers),
    )


def text_values(polygons: Polygons, column: str) -> np.ndarray:
    """A column as texts (N,); what is empty becomes ``""``."""
    values = polygons.columns[column].tolist()
    return np.array([_text(value) for value in values], object)


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _layer(path: str, option: str, columns: Sequence[str]) -> tuple[str, CRS]:
    """Name and CRS of the file's layer of polygons."""
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        info = pyogrio.read_info(path, layer=layers[0]) if len(layers) == 1 else {}
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise _unreadable(path, option, error) from error
    if len(layers) != 1:
        raise InputError(
            f"{option} {path}: expected a file with one layer of polygons, found {len(layers)}"
            f" ({shown(', '.join(layers), 120)}); write the one you mean to a file of its own"
        )
    fields = [str(field) for field in info["fields"]]
    for column in columns:
        if column not in fields:
            raise InputError(
                f"{option} {path}: expected a column {shown(column)}, found"
                f" {shown(', '.join(fields[:_LISTED]), 200) or 'none'}; name one of these"
            )
    try:
        return layers[0], CRS.from_user_input(info["crs"])
    except (CRSError, TypeError) as error:
        raise InputError(
            f"{option} {path}: expected a file that says its CRS, found none; assign one in a GIS first"
        ) from error


def _unreadable(path: str, option: str, error: Exception) -> InputError:
    reason = shown(" ".join(str(error).split()), 120)
    return InputError(
        f"{option} {path}: expected a vector file, such as GeoPackage or GeoJSON, found none that can be read"
        f" ({reason})"
    )


def _geometry(wkb: bytes | None) -> shapely.Geometry | None:
    return None if wkb is None else shapely.from_wkb(wkb, on_invalid="ignore")


def _projected(geometry: np.ndarray, path: str, option: str, own: CRS, crs: CRS) -> np.ndarray:
    if own == crs:
        return geometry

    def place(points: np.ndarray) -> np.ndarray:
        return np.column_stack(transform(own, crs, *points.T.tolist()))

    try:
        moved = shapely.transform(geometry, place)
        fits = bool(np.isfinite(shapely.bounds(moved)).all())
    except (RasterioError, CPLE_BaseError):
        fits = False
    if not fits:
        raise InputError(
            f"{option} {path}: expected coordinates that fit its CRS, found others; assign the right CRS"
        )
    return np.asarray(moved)


def _areal(geometry: shapely.Geometry) -> shapely.Geometry:
    """What has an area of a geometry that ``make_valid`` may have taken apart."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    pieces = [each for each in shapely.get_parts(geometry) if shapely.get_dimensions(each) == 2]
    return shapely.union_all(np.array(pieces, object))
