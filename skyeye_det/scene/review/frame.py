"""Between the coordinates of an assessment and the px of its grid, in which its page draws."""

from collections.abc import Sequence

import numpy as np
import shapely

from skyeye_det.errors import CodedError, InputError
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.vector_file import middles

CHUNK = 1024
"""px, side of the squares in which the page loads buildings."""

_LEAST, _MOST = 1.0, 500_000.0
"""m2; the largest building of the world covers 400,000 m2."""

_CORNERS = 2000


def chunk_names(geometry: np.ndarray, grid: Grid) -> list[str]:
    """``CX_CY`` of the square that holds the middle of each of geometries (N,); empty of an empty one."""
    names = [""] * len(geometry)
    found = np.isfinite(shapely.bounds(geometry).reshape(-1, 4)).all(axis=1)
    points = shapely.get_coordinates(grid.in_px(middles(geometry[found])))
    squares = np.floor(points / CHUNK).astype(np.int64)
    for number, (cx, cy) in zip(np.flatnonzero(found).tolist(), squares.tolist(), strict=True):
        names[number] = f"{cx}_{cy}"
    return names


def rings_in_px(geometry: shapely.Geometry, grid: Grid) -> list[list[float]]:
    """Rings of polygons as x, y, x, y, ..., to a tenth."""
    rings = shapely.get_rings(shapely.get_parts(grid.in_px(geometry)))
    return [shapely.get_coordinates(ring).round(1).reshape(-1).tolist() for ring in rings]


def outline_of(rings: Sequence[Sequence[float]], grid: Grid) -> shapely.MultiPolygon:
    """The building that somebody drew.

    Args:
        rings: one, as x, y, x, y, ... in px.
        grid: of the scene.

    Returns:
        In coordinates.

    Raises:
        InputError: no outline of a building of this scene.
    """
    if len(rings) != 1 or len(rings[0]) % 2 or not 6 <= len(rings[0]) <= 2 * _CORNERS:
        raise InputError(
            f"rings: expected one ring of 3 to {_CORNERS} corners, as x, y, x, y, ..., found {len(rings)} of"
            f" {', '.join(str(len(ring)) for ring in rings[:3]) or 'no'} numbers"
        )
    places = np.array(rings[0], np.float64).reshape(-1, 2)
    if not ((places >= 0) & (places <= (grid.width, grid.height))).all():
        raise InputError(
            f"rings: expected corners within the scene of {grid.width} x {grid.height} px, found others"
        )
    if len(np.unique(places, axis=0)) < 3:
        told = "rings: expected three corners or more at different places, found fewer"
        raise CodedError(told, code="three_corners")
    drawn = shapely.Polygon(np.column_stack(grid.transform @ places.T))
    if not drawn.is_valid:
        told = "rings: expected an outline that does not cross or touch itself, found another"
        raise CodedError(told, code="crossing_outline")
    if not _LEAST <= drawn.area <= _MOST:
        told = f"rings: expected a building of {_LEAST:.0f} to {_MOST:.0f} m2, found {drawn.area:.1f} m2"
        raise CodedError(told, code="odd_size", least=_LEAST, most=_MOST)
    return shapely.MultiPolygon([drawn])
