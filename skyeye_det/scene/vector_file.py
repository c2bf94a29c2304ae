"""Layers of polygons with columns, of GeoParquet and of any vector file that GDAL reads, in any CRS."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyogrio.util import vsi_path
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as project

from skyeye_det.errors import InputError, shown
from skyeye_det.files import open_plain
from skyeye_det.scene.gdal_access import offline
from skyeye_det.scene.geoparquet import LARGEST_WHOLE, PARQUET, read_geoparquet
from skyeye_det.scene.number_columns import require_numbers

_FAULTS = (DataSourceError, DataLayerError, FeatureError, FieldError, GeometryError, ValueError)
NO_NAME = "(no name)"
"""Of an area."""

_LISTED = 12
_START = 1024  # bytes
_VIRTUAL = re.compile(rb"<OGR(VRT|WFS|CSW)DataSource")
_CRS_TEXT = re.compile(r"\w+:\w+$|\w+\s*\[")
_AREAL = (
    shapely.GeometryType.POLYGON,
    shapely.GeometryType.MULTIPOLYGON,
    shapely.GeometryType.GEOMETRYCOLLECTION,
)


@dataclass(frozen=True, eq=False)
class VectorLayer:
    """N polygons with their columns.

    Attributes:
        path: of the file, for messages.
        geometry: (N,) shapely polygons or multipolygons, valid and not empty.
        columns: name -> values (N,), None or NaN where one is null; what is true or false is an object.
        crs: of their coordinates.
        left_out: how many features have no area.
    """

    path: Path
    geometry: np.ndarray
    columns: dict[str, np.ndarray]
    crs: CRS
    left_out: int

    def __len__(self) -> int:
        return len(self.geometry)

    def of(self, numbers: np.ndarray) -> "VectorLayer":
        """Those of numbers (K,), or of bool (N,)."""
        columns = {name: values[numbers] for name, values in self.columns.items()}
        return replace(self, geometry=self.geometry[numbers], columns=columns)

    @property
    def bounds(self) -> np.ndarray:
        """float64 (4,): left, bottom, right, top; NaN of no polygon."""
        return np.asarray(shapely.total_bounds(self.geometry))

    def column(self, name: str, mend: str) -> np.ndarray:
        """Values (N,) of a column; InputError, which ends with what mends it, where there is none."""
        if name not in self.columns:
            raise InputError(
                f"{self.path}: expected a column {shown(name)}, found {_listed(list(self.columns))}; {mend}"
            )
        return self.columns[name]

    def texts(self, name: str, mend: str, null: str = "") -> list[str]:
        """A column as N texts; InputError where whole numbers were read as floats that cannot hold them."""
        values = self.column(name, mend)
        if values.dtype.kind == "f" and (np.abs(values) > LARGEST_WHOLE).any():
            raise InputError(
                f"{self.path}: column {shown(name)}: expected numbers up to {LARGEST_WHOLE}, which are kept"
                f" exactly, found {shown(float(np.nanmax(np.abs(values))))}; save the column as text"
            )
        return [_text(value, null) for value in values.tolist()]

    def projected(self, crs: CRS) -> "VectorLayer":
        """The layer in another CRS; InputError where that does not reach all of it."""
        if crs == self.crs:
            return self

        def moved(points: np.ndarray) -> np.ndarray:
            return np.column_stack(project(self.crs, crs, points[:, 0].tolist(), points[:, 1].tolist()))

        try:
            geometry = shapely.transform(self.geometry, moved)
        except (RasterioError, CPLE_BaseError) as error:
            raise InputError(
                f"{self.path}: expected places that {crs.to_string()[:60]} reaches, found others (by their"
                f" file they lie within {bounds_text(self.bounds)} of {self.crs.to_string()[:60]}); give the"
                " buildings of this scene alone, and check the file's CRS"
            ) from error
        geometry = valid_polygons(geometry)  # rounding can make a corner cross a line
        filled = ~shapely.is_empty(geometry)  # a sliver, or a cap around a pole, can lose its area
        placed = replace(self, geometry=geometry, crs=crs, left_out=self.left_out + int((~filled).sum()))
        return placed if filled.all() else placed.of(filled)


def read_layer(path: Path, preferred: str | None = None) -> VectorLayer:
    """Reads the only layer with a geometry, or of several the preferred one.

    Args:
        path: file, or folder that is one, such as a file geodatabase.
        preferred: name of a layer.

    Raises:
        InputError: missing, no vector file, several layers, no CRS, or features none of which has an area.
    """
    if not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: no such file")
    require_plain_name(path)
    start = _start(path) if path.is_file() else b""
    if _VIRTUAL.search(start):
        raise InputError(
            f"{path}: expected a file of polygons, found one that names other files; give the one it names"
        )
    is_parquet = start.startswith(PARQUET)
    found, columns, crs = read_geoparquet(path) if is_parquet else _read_by_gdal(path, preferred)
    # Checked before the shape is mended: GEOS cannot do that with coordinates that are no numbers.
    chosen = np.isin(shapely.get_type_id(found), _AREAL)
    points, owners = shapely.get_coordinates(found, return_index=True)
    chosen[owners[~np.isfinite(points).all(axis=1)]] = False
    drawn = np.array(found, object)
    drawn[chosen] = valid_polygons(drawn[chosen])
    chosen &= ~shapely.is_empty(drawn)
    if len(found) and not chosen.any():
        kinds = sorted({each.geom_type for each in found.tolist() if each is not None})
        raise InputError(
            f"{path}: expected polygons, found {len(found)} features without an area"
            f" ({', '.join(kinds) or 'no geometry'}); give outlines"
        )
    columns = {name: values[chosen] for name, values in columns.items()}
    return VectorLayer(path, drawn[chosen], columns, crs, int((~chosen).sum()))


@offline()
def _read_by_gdal(path: Path, preferred: str | None) -> tuple[np.ndarray, dict[str, np.ndarray], CRS]:
    """Geometries (N,), columns and their CRS of one layer."""
    try:
        layers = [name for name, kind in pyogrio.list_layers(path).tolist() if kind is not None]
        if len(layers) > 1 and preferred not in layers:
            raise InputError(
                f"{path}: expected one layer{f' or one called {preferred}' if preferred else ''}, found"
                f" {_listed(layers)}; save the one that is meant as a file of its own"
            )
        if not layers:
            raise InputError(f"{path}: expected polygons, found no layer with a geometry")
        layer = preferred if preferred in layers else layers[0]
        meta, _, geometry, values = pyogrio.raw.read(path, layer=layer, force_2d=True)
        numbers = [
            name for name, each in zip(meta["fields"].tolist(), values, strict=True) if each.dtype != object
        ]
        require_numbers(path, str(layer), numbers)
    except _FAULTS as error:
        raise InputError(
            f"{path}: expected a vector file, such as a GeoPackage, GeoJSON or shapefile, found none that can"
            f" be read ({shown(' '.join(str(error).split()), 120)})"
        ) from error
    columns = {
        name: _nullable(each) if kind == "OFSTBoolean" else each
        for name, each, kind in zip(meta["fields"].tolist(), values, meta["ogr_subtypes"], strict=True)
    }
    return shapely.from_wkb(geometry, on_invalid="ignore"), columns, _crs(path, meta["crs"])


def require_plain_name(path: Path) -> None:
    """Raises InputError for a name that pyogrio takes for an archive's or an address, and looks elsewhere."""
    if vsi_path(path) not in (str(path), f"/vsizip/{path}"):
        raise InputError(
            f"{path}: expected a path without !, ;, tab, newline, a colon or // at its beginning, found one;"
            " rename the file or its folder"
        )


def valid_polygons(geometry: np.ndarray) -> np.ndarray:
    """Polygons (N,), where needed mended; empty where a geometry has no area."""
    result = geometry.copy()
    wrong = ~(shapely.is_valid(result) & np.isin(shapely.get_type_id(result), _AREAL[:2]))
    result[wrong] = [polygonal(each) for each in shapely.make_valid(result[wrong])]
    return result


def middles(geometry: np.ndarray) -> np.ndarray:
    """Points (N,) by which buildings lie in an area: centroids, or where these are outside a point within."""
    found = shapely.centroid(geometry)
    outside = ~shapely.intersects(geometry, found)
    found[outside] = shapely.point_on_surface(geometry[outside])
    return found


def polygonal(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """The polygons of a geometry, valid; its points and lines are left out."""
    pieces = [each for each in shapely.get_parts(geometry) if shapely.get_dimensions(each) == 2]
    parts = shapely.get_parts(shapely.union_all(np.array(pieces, object)))
    return shapely.MultiPolygon([part for part in parts.tolist() if part.area > 0])


def bounds_text(bounds: np.ndarray) -> str:
    """Left, bottom, right, top, with digits for metres or degrees."""
    digits = 4 if np.abs(bounds).max() <= 360 else 0
    return f"({', '.join(f'{value:.{digits}f}' for value in bounds.tolist())})"


def crs_of_file(text: str) -> CRS:
    """A CRS that a file names; CRSError where it is none. GDAL would also read files, and ask addresses."""
    if not _CRS_TEXT.match(text):
        raise CRSError("expected a code such as EPSG:32615, or WKT")
    return CRS.from_user_input(text)


def _start(path: Path) -> bytes:
    with open_plain(path) as file:
        return file.read(_START)


def _crs(path: Path, text: str | None) -> CRS:
    try:
        if text:
            return crs_of_file(text)
    except CRSError as error:
        raise InputError(f"{path}: expected a CRS that is known, found {shown(text)}") from error
    raise InputError(
        f"{path}: expected a CRS, found none; save it with one, a shapefile with its .prj beside it"
    )


def _nullable(values: np.ndarray) -> np.ndarray:
    """True, False or None, of booleans, which are read as 0, 1 and NaN where some are null."""
    return np.array([None if value != value else bool(value) for value in values.tolist()], object)


def _text(value: Any, null: str) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return null
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" * (len(names) > _LISTED)
    return (", ".join(shown(name, 40) for name in names[:_LISTED]) or "none") + more
