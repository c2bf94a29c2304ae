"""The record of an assessment, ``run.json``: what is written, and what page, review and ``adapt`` read."""

from pathlib import Path
from typing import Any

import msgspec
import shapely
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from skyeye_det.decision.adaptation_file import Card
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError
from skyeye_det.files import read_json
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.rasters import Side
from skyeye_det.scene.shift import Shift, WindowShift
from skyeye_det.scene.vector_file import crs_of_file

_LARGEST = 1 << 18
"""px of a side: 100 km."""


class RasterOfRun(msgspec.Struct):
    """A file of one side, with the numbers of its red, green and blue."""

    path: str
    bands: list[int] = []

    @classmethod
    def of_side(cls, side: Side) -> "list[RasterOfRun]":
        """The files of a side."""
        return [cls(raster.path, list(raster.bands)) for raster in side.rasters]


class ShiftOfRun(msgspec.Struct):
    """See ``scene.shift.Shift``; no spread where no window was compared."""

    dx: float
    dy: float
    agreeing: int
    windows: list[WindowShift]
    spread: float | None = None
    field: list[float] | None = None

    @classmethod
    def of(cls, shift: Shift) -> "ShiftOfRun":
        """Of a scene's."""
        field = None if shift.field is None else list(shift.field)
        return cls(shift.dx, shift.dy, shift.agreeing, list(shift.windows), shift.spread, field)


class GridOfRun(msgspec.Struct):
    """See ``scene.grid.Grid``; the transform as of ``Affine``: a, b, c, d, e, f."""

    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int

    @classmethod
    def of(cls, grid: Grid) -> "GridOfRun":
        """Of a scene's."""
        a, b, c, d, e, f = grid.transform[:6]
        return cls(grid.crs.to_string(), (a, b, c, d, e, f), grid.width, grid.height)


class Run(msgspec.Struct, kw_only=True):
    """What ``run.json`` says.

    Attributes:
        skyeye_det: version that wrote it.
        finished: when, as ISO 8601.
        inputs: the files of ``pre`` and ``post``.
        grid: of the scene.
        shift: of the post image.
        seconds: that its parts took.
        pre_date, post_date: as they were given.
        model: its name.
        run_id: the same of the same predictions, rule and footprints.
        rule: that decided.
        outlines: of ``scene.records.OUTLINES``.
        seen_share: of the scene, 0..1, that both images show.
        unreadable: windows that could not be read, with the reason of each.
        adaptation: card of the one that graded; None: none did.
    """

    skyeye_det: str
    finished: str
    inputs: dict[str, list[RasterOfRun]]
    grid: GridOfRun
    shift: ShiftOfRun
    seconds: dict[str, float] = {}
    pre_date: str
    post_date: str
    model: str
    run_id: str
    rule: DecisionRule
    outlines: str = ""
    seen_share: float
    unreadable: dict[str, str] = {}
    adaptation: Card | None = None

    @classmethod
    def read(cls, path: Path) -> "Run":
        """Reads a file; see ``of``."""
        return cls.of(read_json(path), str(path))

    @classmethod
    def of(cls, run: Any, place: str) -> "Run":
        """Checks it; InputError, which names its place, where it is something else."""
        try:
            found = msgspec.convert(run, cls)
            grid = found.on_grid()
            if not (1 <= min(grid.shape) <= max(grid.shape) <= _LARGEST and grid.transform.determinant):
                raise ValueError(f"a grid of {grid.width} x {grid.height} px")
            grid.lonlat(*shapely.get_coordinates(grid.box(0, 0, grid.width, grid.height)).T)
        except (msgspec.ValidationError, ValueError, RasterioError, CPLE_BaseError) as error:
            raise InputError(
                f"{place}: expected the record of an assessment, found another ({error}); give the folder of"
                " a finished assessment"
            ) from error
        return found

    def on_grid(self) -> Grid:
        """The scene's grid."""
        grid = self.grid
        return Grid(crs_of_file(grid.crs), Affine(*grid.transform), grid.width, grid.height)
