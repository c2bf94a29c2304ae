"""The pixels of both sides on the scene's grid, a window at a time, each resampled once."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import NamedTuple

import numpy as np
import rasterio.windows
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT

from skyeye_det.errors import InputError, UnreadableError, shown
from skyeye_det.prediction.visibility import blanks, blotted
from skyeye_det.prediction.windows import Window, cut_windows
from skyeye_det.scene.gdal_access import gdal_options
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.rasters import Raster, Side, open_raster

_MOST_OPEN = 32
_LOW, _HIGH = 2.0, 98.0
_FILLED = 0.005  # share of a side's pixels that have its lowest or highest values
_SAMPLE = 512  # px of a file's side, when its tones are looked at
_SAMPLED = 64  # files of which as much is looked at; of more than these less, and as much together
_PARTS = 16  # of a file's side, each looked at alone where some cannot be read

_Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Stretch:
    """How a side's values become 0..255, the same in every window.

    Attributes:
        low: (red, green, blue) that become 0.
        high: that become 255.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """uint8 (3, h, w) of (3, h, w)."""
        low, high = (np.array(each, np.float32)[:, None, None] for each in (self.low, self.high))
        scale = 255 / np.where(high > low, high - low, 1)  # of radiances, of 1e-9, too
        return np.clip((values - low) * scale + 0.5, 0, 255).astype(np.uint8)


class Stored(NamedTuple):
    """A window of a side.

    Attributes:
        values: (3, h, w) in the side's dtype, 0 where there is nothing.
        inside: bool (h, w), where there is something.
        seen: bool (h, w), where something can be seen.
    """

    values: np.ndarray
    inside: np.ndarray
    seen: np.ndarray


class SideReader:
    """Reads a side on a grid; a context, which keeps some files open.

    Args:
        side: its files.
        grid: of the scene.
        source: from px of the grid to the px, on the grid, of what is shown there; ``Shift.source``.
        skip_unreadable: whether the stretch comes from what can be read, where parts of a file cannot.

    Attributes:
        stretch: of its values; None: they are 8 bits and stay as they are.
    """

    def __init__(
        self,
        side: Side,
        grid: Grid,
        source: Affine | None = None,
        *,
        skip_unreadable: bool = False,
    ):
        self.side, self._grid, self.skip_unreadable = side, grid, skip_unreadable
        self._moved = source or Affine.identity()
        self._bounds = [raster.bounds(grid.crs) for raster in side.rasters]
        self._open: OrderedDict[str, DatasetReader] = OrderedDict()
        self.stretch = None if side.dtype == "uint8" else self._percentiles()

    def __enter__(self) -> "SideReader":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()

    def read(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """A window of the scene.

        Returns:
            uint8 (3, h, w) RGB, 0 where there is nothing; bool (h, w), where something can be seen: inside a
            file, no nodata, and neither black, white nor one colour over a larger area.

        Raises:
            UnreadableError: a file cannot be read there.
        """
        stored = self.stored(window)
        return self.toned(stored), stored.seen

    def stored(self, window: Window, source: Affine | None = None) -> Stored:
        """A window of the scene in the values of its files.

        Args:
            window: of the grid.
            source: as of the reader, in place of its own.

        Raises:
            UnreadableError: a file cannot be read there.
        """
        moved = source or self._moved
        transform = self._grid.transform @ moved @ Affine.translation(window.x, window.y)
        shape = window.height, window.width
        values, inside = np.zeros((3, *shape), self.side.dtype), np.zeros(shape, np.bool_)
        blank = np.zeros((3, *shape), np.bool_)
        for raster, bounds in zip(self.side.rasters, self._bounds, strict=True):
            if inside.all():
                break
            if _meets(bounds, transform, shape):
                with _faults_named(raster, window):
                    pixels, within, found = self._warped(raster, transform, shape)
                new = within & ~inside
                values[:, new], blank[:, new] = pixels[:, new], found[:, new]
                inside |= within
        return Stored(values, inside, inside & ~blotted(blank))

    def toned(self, stored: Stored) -> np.ndarray:
        """As uint8 (3, h, w) RGB, 0 where there is nothing."""
        if self.stretch is None:
            return stored.values
        return np.where(stored.inside, self.stretch(stored.values.astype(np.float32)), np.uint8(0))

    def _warped(
        self, raster: Raster, transform: Affine, shape: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A file's pixels (3, h, w), where it has some, bool (h, w), and ``blanks``."""
        source = self._source(raster)
        with WarpedVRT(
            source,
            src_crs=raster.crs,
            crs=self._grid.crs,
            transform=transform,
            height=shape[0],
            width=shape[1],
            resampling=Resampling.bilinear,
            tolerance=0.01,  # px; GDAL's own is an eighth
            add_alpha=not raster.has_alpha,  # of the file, rasterio would tell what an earlier read met
        ) as warped:
            values = warped.read(list(raster.bands))
            inside = (warped.dataset_mask() > 0) & np.isfinite(values).all(axis=0)
        return values, inside, blanks(values)

    def _source(self, raster: Raster) -> DatasetReader:
        if raster.path not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self._open.popitem(last=False)[1].close()
            self._open[raster.path] = open_raster(raster.path)
        self._open.move_to_end(raster.path)
        return self._open[raster.path]

    def _percentiles(self) -> Stretch:
        """Of a thin sample of all files."""
        rasters = self.side.rasters
        edge = max(int(_SAMPLE * min(_SAMPLED / len(rasters), 1) ** 0.5), 1)
        samples = [part for raster in rasters for part in self._sampled(raster, edge)]
        every = np.concatenate(samples, axis=1)
        if not every.shape[1]:
            raise InputError(
                f"--{self.side.name}: expected pixels with values, found nodata alone; give another file"
            )
        for ends in (every.min(axis=1), every.max(axis=1)):  # what is filled in or saturated
            filled = (every == ends[:, None]).all(axis=0)
            if _FILLED < filled.mean() < 1:
                every = every[:, ~filled]
        low, high = np.percentile(every, [_LOW, _HIGH], axis=1)
        return Stretch(tuple(low.tolist()), tuple(high.tolist()))

    def _sampled(self, raster: Raster, edge: int) -> list[np.ndarray]:
        """Values (3, n) of a file, of at most ``edge`` px a side, or of its parts that can be read."""
        whole = Window(0, 0, raster.width, raster.height, (raster.height, raster.width))
        try:
            return [_sample(raster, whole, edge)]
        except UnreadableError:
            if not self.skip_unreadable:
                raise
        found, shape = [np.zeros((3, 0), np.float32)], (raster.height, raster.width)
        for part in cut_windows(shape, max(_SAMPLE, *(side // _PARTS for side in shape)), 0):
            with suppress(UnreadableError):
                found.append(_sample(raster, part, edge))
        return found


def _sample(raster: Raster, part: Window, edge: int) -> np.ndarray:
    """Values (3, n) of a part of a file, thinly; UnreadableError where it cannot be read."""
    step = max(raster.width, raster.height, edge) / edge
    shape = max(int(part.height / step), 1), max(int(part.width / step), 1)
    with _faults_named(raster), open_raster(raster.path) as source:
        window = rasterio.windows.Window(part.x, part.y, part.width, part.height)
        values = source.read(list(raster.bands), window=window, out_shape=(3, *shape)).astype(np.float32)
        valid = source.dataset_mask(window=window, out_shape=shape) > 0
    return values[:, valid & np.isfinite(values).all(axis=0) & (values != 0).any(axis=0)]


@contextmanager
def _faults_named(raster: Raster, window: Window | None = None) -> Iterator[None]:
    """Names file and window where pixels cannot be read, or the file cannot be opened any more."""
    try:
        with gdal_options(raster.path):
            yield
    except (RasterioError, CPLE_BaseError, InputError) as error:
        reason = " ".join(str(error.__cause__ or error).split())
        place = f" in the window {window.name} of {window.width} x {window.height} px" if window else ""
        raise UnreadableError(
            f"{raster.path}: expected pixels that can be read{place}, found {shown(reason, 120)}; mend the"
            " file, or copy it again, or leave out by --skip-unreadable what cannot be read"
        ) from error


def _meets(bounds: _Bounds, transform: Affine, shape: tuple[int, int]) -> bool:
    height, width = shape
    xs, ys = zip(
        *(transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))), strict=True
    )
    return bounds[0] < max(xs) and bounds[2] > min(xs) and bounds[1] < max(ys) and bounds[3] > min(ys)
