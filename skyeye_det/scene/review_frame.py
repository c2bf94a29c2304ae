"""Between the coordinates of an assessment and the px of its grid, in which the page draws."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import shapely
from affine import Affine

from skyeye_det.errors import InputError
from skyeye_det.files import read_json
from skyeye_det.scene.outputs import RUN
from skyeye_det.scene.vector_file import middles

CHUNK = 1024
"""px, side of the squares in which the page loads buildings."""

_LEAST, _MOST = 1.0, 500_000.0
"""m2; the largest building of the world covers 400,000 m2."""

_CORNERS = 2000


class _GridOfRun(msgspec.Struct):
    transform: tuple[float, float, float, float, float, float]
    width: int
    height: int


class _Run(msgspec.Struct):
    grid: _GridOfRun


@dataclass(frozen=True)
class Frame:
    """The grid of an assessment.

    Attributes:
        transform: from px, of which (0, 0) is the first one's outer corner, to coordinates.
        width, height: px.
    """

    transform: Affine
    width: int
    height: int

    @classmethod
    def of(cls, folder: Path) -> "Frame":
        """Of an assessment's folder; InputError where that is not finished."""
        path = folder / RUN
        if not path.is_file():
            raise InputError(f"{path}: expected the record of a finished assessment, found no such file")
        try:
            grid = msgspec.convert(read_json(path), _Run).grid
        except msgspec.ValidationError as error:
            raise InputError(f"{path}: expected the record of an assessment ({error})") from error
        return cls(Affine(*grid.transform), grid.width, grid.height)

    def chunks(self, geometry: np.ndarray) -> list[str]:
        """``CX_CY`` of the square that holds each middle of geometries (N,); empty where there is none."""
        names = [""] * len(geometry)
        found = np.isfinite(shapely.bounds(geometry).reshape(-1, 4)).all(axis=1)
        x, y = ~self.transform @ shapely.get_coordinates(middles(geometry[found])).T
        for number, cx, cy in zip(
            np.flatnonzero(found).tolist(), (x // CHUNK).tolist(), (y // CHUNK).tolist(), strict=True
        ):
            names[number] = f"{int(cx)}_{int(cy)}"
        return names

    def rings(self, geometry: shapely.Geometry) -> list[list[float]]:
        """Rings of polygons as x, y, x, y, ... in px, to a tenth."""
        found = []
        for part in shapely.get_parts(geometry):
            for ring in (part.exterior, *part.interiors):
                x, y = ~self.transform @ shapely.get_coordinates(ring).T
                found.append(np.stack([x, y], axis=1).round(1).reshape(-1).tolist())
        return found

    def outline(self, rings: Sequence[Sequence[float]]) -> shapely.MultiPolygon:
        """The building that somebody drew.

        Args:
            rings: one, as x, y, x, y, ... in px.

        Returns:
            In coordinates.

        Raises:
            InputError: no outline of a building of this scene.
        """
        if len(rings) != 1 or len(rings[0]) % 2 or not 6 <= len(rings[0]) <= 2 * _CORNERS:
            raise InputError(
                f"rings: expected one ring of 3 to {_CORNERS} corners, as x, y, x, y, ..., found {len(rings)}"
                f" of {', '.join(str(len(ring)) for ring in rings[:3]) or 'no'} numbers"
            )
        places = np.array(rings[0], np.float64).reshape(-1, 2)
        if not (np.isfinite(places).all() and (places >= 0).all() and (places <= self._size).all()):
            raise InputError(
                f"rings: expected corners within the scene of {self.width} x {self.height} px, found others"
            )
        if len(np.unique(places, axis=0)) < 3:
            raise InputError("rings: expected three corners or more at different places, found fewer")
        drawn = shapely.Polygon(np.column_stack(self.transform @ places.T))
        if not drawn.is_valid:
            raise InputError("rings: expected an outline that does not cross or touch itself, found another")
        if not _LEAST <= drawn.area <= _MOST:
            raise InputError(
                f"rings: expected a building of {_LEAST:.0f} to {_MOST:.0f} m2, found {drawn.area:.1f} m2"
            )
        return shapely.MultiPolygon([drawn])

    @property
    def _size(self) -> np.ndarray:
        return np.array([self.width, self.height])
