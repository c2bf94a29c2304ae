"""What the record of an assessment, ``run.json``, says, as far as the page tells it."""

from typing import Any

import msgspec
from affine import Affine
from rasterio.crs import CRS
from rasterio.errors import CRSError

from skyeye_det.errors import InputError
from skyeye_det.scene.grid import Grid


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
            if min(found.grid.width, found.grid.height) < 1 or not all(found.grid.transform[0:5:4]):
                raise ValueError("a grid without a pixel")
            found.on_grid()
        except (msgspec.ValidationError, ValueError, CRSError) as error:
            raise InputError(
                f"{place}: expected the record of an assessment, found another ({error}); give the folder of"
                " a finished assessment"
            ) from error
        return found

    def on_grid(self) -> Grid:
        """The scene's grid."""
        grid = self.grid
        return Grid(CRS.from_user_input(grid.crs), Affine(*grid.transform), grid.width, grid.height)
