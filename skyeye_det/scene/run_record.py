"""What the record of an assessment, ``run.json``, says, as far as its page and its review need it."""

from typing import Any

import msgspec
import shapely
from affine import Affine
from rasterio._err import CPLE_BaseError
from rasterio.errors import RasterioError

from skyeye_det.errors import InputError
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.vector_file import crs_of_file

_LARGEST = 1 << 18
"""px of a side: 100 km."""


class _Window(msgspec.Struct):
    x: float
    y: float
    dx: float
    dy: float


class ShiftOfRun(msgspec.Struct):
    """See ``scene.shift.Shift``."""

    dx: float
    dy: float
    agreeing: int
    windows: list[_Window]


class _GridOfRun(msgspec.Struct):
    crs: str
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int


class _Input(msgspec.Struct):
    path: str


class _Rule(msgspec.Struct):
    purpose: str


class Run(msgspec.Struct):
    """See ``engine.assessment``, which writes it."""

    skyeye_det: str
    finished: str
    inputs: dict[str, list[_Input]]
    grid: _GridOfRun
    shift: ShiftOfRun
    rule: _Rule
    pre_date: str
    post_date: str
    model: str
    run_id: str
    seen_share: float
    outlines: str = ""

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
