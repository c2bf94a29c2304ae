"""The raster files of one side of a scene: what they are, and which three of their bands are read.

Coordinates are a raster's own unless a CRS is named; px (0, 0) is the corner of the first pixel.
"""

import glob
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rasterio
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.warp import transform, transform_bounds

from skyeye_det.errors import InputError, shown
from skyeye_det.scene.gdal_access import (
    gdal_options,
    gdal_path,
    is_address,
    require_image,
    source_files,
)

SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2", ".png", ".jpg", ".jpeg")
"""Of the files that are taken from a folder."""

_DRIVERS = ("GTiff", "COG", "VRT", "JP2OpenJPEG", "PNG", "JPEG")
_DTYPES = ("uint8", "uint16", "int16", "float32")
_RGB = ("red", "green", "blue")
_UNNAMED = {ColorInterp.gray, ColorInterp.undefined}

_CACHE = 128 << 20  # bytes: a row of windows of two images 20,000 px wide, where these are stored in strips


def bounded_cache() -> rasterio.Env:
    """A context in which GDAL keeps few blocks in memory; else it fills a twentieth of the machine's."""
    return rasterio.Env(GDAL_CACHEMAX=_CACHE)


@dataclass(frozen=True)
class Raster:
    """A georeferenced file.

    Attributes:
        path: as GDAL opens it.
        crs: of its coordinates.
        transform: from px to coordinates.
        width: px.
        height: px.
        bands: numbers, from 1, of red, green and blue.
        dtype: of its pixels.
        has_alpha: whether a band says where it shows something.
        nodata: of each band, as text.
        files: what GDAL reads for it: itself, its sources, and files beside it.
    """

    path: str
    crs: CRS
    transform: Affine
    width: int
    height: int
    bands: tuple[int, int, int]
    dtype: str
    has_alpha: bool
    nodata: tuple[str, ...]
    files: tuple[str, ...]

    def bounds(self, crs: CRS) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) in a CRS."""
        corners = [self.transform @ corner for corner in self._corners()]
        xs, ys = zip(*corners, strict=True)
        left, bottom, right, top = transform_bounds(self.crs, crs, min(xs), min(ys), max(xs), max(ys))
        return left, bottom, right + 360 * (right < left), top  # across the 180th meridian

    def resolution(self, crs: CRS) -> float:
        """Side, in units of a CRS, of a square as large as the pixel in the middle."""
        x, y = self.width / 2, self.height / 2
        places = [self.transform @ place for place in ((x, y), (x + 1, y), (x, y + 1))]
        (x0, x1, x2), (y0, y1, y2) = transform(self.crs, crs, *zip(*places, strict=True))
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        return float(round(abs(area) ** 0.5, 3))

    def _corners(self) -> list[tuple[int, int]]:
        return [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]


@dataclass(frozen=True)
class Side:
    """All files of one side; where several show a place, the first counts.

    Attributes:
        name: ``pre`` or ``post``.
        rasters: at least one, all of one pixel type.
    """

    name: str
    rasters: tuple[Raster, ...]

    @property
    def dtype(self) -> str:
        """Type of its pixels."""
        return self.rasters[0].dtype

    def bounds(self, crs: CRS) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of all files in a CRS."""
        lefts, bottoms, rights, tops = zip(*(raster.bounds(crs) for raster in self.rasters), strict=True)
        return min(lefts), min(bottoms), max(rights), max(tops)

    def resolution(self, crs: CRS) -> float:
        """The coarsest of its files."""
        return max(raster.resolution(crs) for raster in self.rasters)


def open_side(name: str, paths: Sequence[str], crs: str | None = None, bands: str | None = None) -> Side:
    """Looks at the headers of a side's files.

    Args:
        name: ``pre`` or ``post``.
        paths: files, folders, globs, or addresses of GDAL's virtual file systems.
        crs: of files that do not say; None: they must.
        bands: numbers of red, green and blue, ``3,2,1``; None: as the files call them.

    Raises:
        InputError: no file, or one that cannot be used, with what to give.
    """
    files = [file for path in paths for file in _files(name, path)]
    rasters = tuple(_raster(name, file, crs, bands) for file in files)
    if len(types := {raster.dtype for raster in rasters}) > 1:
        raise InputError(
            f"--{name}: expected files of one pixel type, found {' and '.join(sorted(types))}; convert"
            " them to the same"
        )
    return Side(name, rasters)


def _files(name: str, path: str) -> list[str]:
    if is_address(path):
        return [path]
    if Path(path).is_dir():
        found = sorted(str(file) for file in Path(path).iterdir() if _is_image(file))
    else:
        found = [path] if Path(path).is_file() else sorted(glob.glob(path))  # noqa: PTH207 - of any folder
    if not found:
        raise InputError(
            f"--{name} {path}: expected a raster file, a folder of {', '.join(SUFFIXES)} or a glob, found"
            " none"
        )
    return found


def _is_image(file: Path) -> bool:
    """By its name; hidden files are other programs'."""
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".") and file.is_file()


def open_raster(path: str) -> DatasetReader:
    """Opens a raster of a kind that is taken, with sources that are; InputError where it cannot be."""
    for source in source_files(path):
        _opened(source).close()
    return _opened(path)


def _opened(path: str) -> DatasetReader:
    require_image(path)
    try:
        with gdal_options(path), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            source = rasterio.open(gdal_path(path))
        named = source.tags(ns="OVERVIEWS")  # GDAL would open it, of whatever kind
        if source.driver in _DRIVERS and not (named or (source.driver == "VRT" and is_address(path))):
            return source
        source.close()
        kind = f"a file of kind {source.driver}{' at an address' * is_address(path)}"
        reason = "one that names another file, as its .aux.xml can" if named else kind
    except RasterioError as error:
        reason = shown(" ".join(str(error).split()), 120)
    raise InputError(
        f"{path}: expected a GeoTIFF, COG, VRT, JPEG 2000, PNG or JPEG that can be read, found {reason}"
    )


def _raster(name: str, path: str, crs: str | None, bands: str | None) -> Raster:
    with gdal_options(path), open_raster(path) as source:
        said = source.crs
        is_on_earth = said is not None and (said.is_projected or said.is_geographic)  # a site's own is not
        place = said if is_on_earth else _given_crs(name, crs)
        if source.transform == Affine.identity() or place is None:
            _refuse_unplaced(name, path, source, place)
        chosen = _bands(path, source, bands)
        dtype, *others = sorted({source.dtypes[band - 1] for band in chosen})
        if others or dtype not in _DTYPES:
            found = " and ".join((dtype, *others))
            raise InputError(f"{path}: expected pixels of {', '.join(_DTYPES)}, found {found}; convert it")
        has_alpha = ColorInterp.alpha in source.colorinterp
        files = tuple(dict.fromkeys((*source.files, *source_files(path))))
        size, nodata = (source.width, source.height), tuple(map(str, source.nodatavals))
        return Raster(path, place, source.transform, *size, chosen, dtype, has_alpha, nodata, files)


def _given_crs(name: str, crs: str | None) -> CRS | None:
    try:
        return CRS.from_user_input(crs) if crs else None
    except RasterioError as error:
        raise InputError(
            f"--{name}-crs {crs}: expected a CRS such as EPSG:32615, found another text"
        ) from error


def _refuse_unplaced(name: str, path: str, source: DatasetReader, crs: CRS | None) -> None:
    if source.rpcs or source.gcps[0]:
        held = "rational polynomials (RPC)" if source.rpcs else "ground control points"
        raise InputError(
            f"{path}: expected an orthorectified raster, found {held} alone; orthorectify it first, for"
            " example by gdalwarp -rpc"
        )
    if crs is None:
        raise InputError(f"{path}: expected a CRS, found none; give --{name}-crs EPSG:...")
    raise InputError(f"{path}: expected a geotransform, found none; give a world file beside it")


def _bands(path: str, source: DatasetReader, given: str | None) -> tuple[int, int, int]:
    """Numbers of red, green and blue."""
    if given is not None:
        numbers = [int(word) if word.strip().isdecimal() else 0 for word in given.split(",")]
        if len(numbers) != 3 or not all(1 <= number <= source.count for number in numbers):
            raise InputError(
                f"--bands {given}: expected three of the {source.count} bands of {path}, as 3,2,1"
            )
        return numbers[0], numbers[1], numbers[2]
    colors = [color.name for color in source.colorinterp]
    names = [(text or "").strip().lower() for text in source.descriptions]
    for called in (colors, names):
        if all(color in called for color in _RGB):
            red, green, blue = (called.index(color) + 1 for color in _RGB)
            return red, green, blue
    if source.count in (3, 4) and _UNNAMED.issuperset(source.colorinterp[:3]):
        return 1, 2, 3
    found = ", ".join(name or color for name, color in zip(names, colors, strict=True))
    raise InputError(
        f"{path}: expected bands called red, green and blue, found {source.count}: {found}; name them by"
        " --bands"
    )
