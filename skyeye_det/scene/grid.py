"""One grid for both sides of a scene: UTM, square pixels, the ground that both show."""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform as project

from skyeye_det.errors import InputError, shown
from skyeye_det.scene.rasters import Side

FINEST, COARSEST = 0.4, 1.0
"""m a pixel, between which models have learnt to see: xBD has 0.46 to 0.49, and training zooms by a fifth."""

_LEAST = 0.1  # m
_ABOUT = 1.1
_SAME = 0.01  # px, by which two datums of one plate differ
_WGS84 = CRS.from_epsg(4326)
_STRETCH, _UPRIGHT = 0.03, 0.7  # a metre of Mercator's is 0.6 m on the ground at 53 degrees


@dataclass(frozen=True)
class Grid:
    """Square pixels of a CRS in metres.

    Attributes:
        crs: projected, in metres.
        transform: from px to coordinates, north up.
        width: px.
        height: px.
    """

    crs: CRS
    transform: Affine
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in px."""
        return self.height, self.width

    @property
    def resolution(self) -> float:
        """Side of a pixel in m."""
        return float(self.transform.a)

    def box(self, x0: float, y0: float, x1: float, y1: float) -> shapely.Polygon:
        """A rectangle of px in coordinates."""
        (left, top), (right, bottom) = self.transform @ (x0, y0), self.transform @ (x1, y1)
        return shapely.box(left, bottom, right, top)

    def in_px(self, geometry: np.ndarray) -> np.ndarray:
        """Geometry (N,) of coordinates in px."""
        back = ~self.transform
        placed = shapely.transform(geometry, lambda points: np.column_stack(back @ points.T))
        return np.asarray(placed, object)

    def lonlat(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Longitudes and latitudes of coordinates (N,)."""
        lon, lat = project(self.crs, _WGS84, x.tolist(), y.tolist())
        return np.array(lon), np.array(lat)


def common_grid(pre: Side, post: Side, crs: str = "auto", resolution: float | None = None) -> Grid:
    """The grid on which two sides are compared.

    Args:
        pre: before.
        post: after.
        crs: projected, in metres; ``auto``: UTM of the overlap's centre.
        resolution: m a pixel; None: that of the finer side, at least ``FINEST``: on the coarser one's, houses
            come out smaller and are missed.

    Raises:
        InputError: the sides do not overlap, or are too coarse.
    """
    if resolution is not None and not _LEAST <= resolution <= COARSEST:
        raise InputError(f"--resolution {resolution:g}: expected {_LEAST:g} to {COARSEST:g} m, found another")
    try:
        west, south, east, north = _shared(pre, post, _WGS84)
    except (RasterioError, CPLE_BaseError) as error:
        raise InputError(
            "--pre and --post: expected coordinates that fit a CRS of the earth, found others"
            f" ({shown(' '.join(str(error).split()), 120)}); correct what the files say, or give"
            " the right --pre-crs or --post-crs where they say nothing"
        ) from error
    degrees = any(raster.crs.is_geographic for side in (pre, post) for raster in side.rasters)
    easternmost = 180 if degrees else 360  # only from other CRSs GDAL finds the way across the 180th meridian
    if not (-180 <= west <= 180 and east <= easternmost and south >= -90 and north <= 90):
        raise InputError(
            f"--pre and --post: expected longitudes of -180 to 180 and latitudes of -90 to 90, found"
            f" {west:.5f}, {south:.5f} to {east:.5f}, {north:.5f}; move or project the images first"
        )
    middle = (west + east) / 2, (south + north) / 2
    chosen = _utm(*middle) if crs == "auto" else _metric(crs, *middle)
    own, other = pre.resolution(chosen), post.resolution(chosen)
    # The pre image's own pixels where they are about as fine: they need no resampling.
    size = resolution or max(own if own < _ABOUT * other else other, FINEST)
    if resolution is None and (coarser := max(own, other)) > COARSEST:
        raise InputError(
            f"--{'pre' if own > COARSEST else 'post'}: expected {COARSEST:g} m a pixel or"
            f" less, found {coarser:.2f} m; houses cannot be told apart in it"
        )
    left, bottom, right, top = _shared(pre, post, chosen)
    x0, y0 = _origin(pre, chosen, size)
    first, last = math.floor((left - x0) / size + _SAME), math.ceil((right - x0) / size - _SAME)
    upper, lower = math.floor((y0 - top) / size + _SAME), math.ceil((y0 - bottom) / size - _SAME)
    if first >= last or upper >= lower:
        raise InputError("--pre and --post: expected images of the same place, found that they only touch")
    transform = Affine(size, 0, x0 + first * size, 0, -size, y0 - upper * size)
    return Grid(chosen, transform, last - first, lower - upper)


def _origin(pre: Side, crs: CRS, size: float) -> tuple[float, float]:
    """A corner of the pre image's own pixels where they are the grid's, so that they need no resampling."""
    for raster in pre.rasters:
        a, b, x0, d, e, y0 = raster.transform[:6]
        if raster.crs == crs and b == d == 0 and math.isclose(a, size) and math.isclose(e, -size):
            return x0, y0
    return 0.0, 0.0


def _shared(pre: Side, post: Side, crs: CRS) -> tuple[float, float, float, float]:
    one, other = pre.bounds(crs), post.bounds(crs)
    left, bottom = max(one[0], other[0]), max(one[1], other[1])
    right, top = min(one[2], other[2]), min(one[3], other[3])
    if left >= right or bottom >= top:
        told = (", ".join(f"{value:.5f}" for value in bounds) for bounds in (one, other))
        raise InputError(
            "--pre and --post: expected images of the same place, found west, south, east, north"
            f" {next(told)} before and {next(told)} after; give files that overlap"
        )
    return left, bottom, right, top


def _utm(longitude: float, latitude: float) -> CRS:
    zone = min(int((longitude + 180) // 6) + 1, 60)
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def _metric(text: str, longitude: float, latitude: float) -> CRS:
    try:
        crs = CRS.from_user_input(text)
    except CRSError as error:
        raise InputError(f"--crs {text}: expected a CRS such as EPSG:32615, found another text") from error
    if not (crs.is_projected and crs.linear_units_factor[1] == 1.0 and _is_true(crs, longitude, latitude)):
        raise InputError(
            f"--crs {text}: expected a projected CRS whose metres are metres on the ground here, and north is"
            " up, found another; leave it out"
        )
    return crs


def _is_true(crs: CRS, longitude: float, latitude: float) -> bool:
    """Whether 100 m to the east and to the north of a place are about that in a CRS."""
    own = _utm(longitude, latitude)
    (x, *_), (y, *_) = project(_WGS84, own, [longitude], [latitude])
    try:
        found = np.stack(project(own, crs, [x, x + 100, x], [y, y, y + 100]))
    except (RasterioError, CPLE_BaseError):
        return False
    steps = (found[:, 1:] - found[:, :1]) / 100
    lengths = np.hypot(*steps)
    return bool((np.abs(lengths - 1) <= _STRETCH).all() and (np.diag(steps) >= _UPRIGHT).all())
