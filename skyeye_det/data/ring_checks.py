"""What is wrong with the geometry of outlines: rings without area, rings that cross themselves, stray holes.

Many buildings are checked at once; shapely (GEOS) has the last word on all that is not plain.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from skyeye_det.data.targets import Parts, Polygon, Ring, building_mask
from skyeye_det.data.validation import FaultKind

OutlineFault = tuple[FaultKind, str]
"""(kind, what was found)"""

# px²; twice the area of a triangle that is beyond doubt of rounding.
_CERTAIN = 1e-6
# px; xBD itself draws outlines that end on the border, 0 to 1024, give or take a rounding.
_SLACK = 1.0
_LEAST_RING = 4  # vertices of a triangle, the first repeated


class Outline(NamedTuple):
    """A building's rings as read, and the faults found with them.

    Attributes:
        parts: rings without their repeated last vertex, px; empty where the outline is unusable.
        faults: each kind once, in the order found.
    """

    parts: Parts
    faults: tuple[OutlineFault, ...] = ()


def faulty_rings(vertices: Ring, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Finds rings without area and rings that meet or cross themselves among many.

    Args:
        vertices: (V, 2) float64, px, of all rings, each with its first vertex repeated at its end.
        starts: (N,) first vertex of each ring.
        stops: (N,) one past its last vertex.

    Returns:
        (N,) bool; ``check_rings`` tells what is wrong with them.
    """
    faulty = ~_surely_simple(vertices, starts, stops)
    doubtful = np.flatnonzero(faulty & (stops - starts >= _LEAST_RING))
    if doubtful.size:
        counts = (stops - starts)[doubtful]
        owner = np.repeat(np.arange(len(doubtful)), counts)
        places = np.arange(len(owner)) + (starts[doubtful] - np.cumsum(counts) + counts)[owner]
        closed = (vertices[starts[doubtful]] == vertices[stops[doubtful] - 1]).all(axis=1)
        rings = shapely.linearrings(vertices[places], indices=owner)
        faulty[doubtful] = ~(closed & shapely.is_valid(shapely.polygons(rings)))
    return faulty


def _surely_simple(vertices: Ring, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) bool: the ring has an area and never crosses itself; False where that takes the full check.

    So it is where all triangles of one inner point, here the vertices' mean, with an edge turn the same way,
    and the ring goes around that point once: two thirds of the buildings, at a tenth of the full cost.
    """
    counts = stops - starts
    centres = np.add.reduceat(vertices, starts, axis=0) / counts[:, None]
    x, y = (vertices - np.repeat(centres, counts, axis=0)).T
    turn = np.empty(len(x))
    turn[:-1] = x[:-1] * y[1:] - x[1:] * y[:-1]
    below = y < 0
    passes = np.empty(len(x), bool)
    passes[:-1] = below[:-1] != below[1:]
    # The last vertex is the first again and begins no edge.
    turn[stops - 1], passes[stops - 1] = turn[np.maximum(stops - 2, 0)], False
    one_way = (np.minimum.reduceat(turn, starts) > _CERTAIN) | (np.maximum.reduceat(turn, starts) < -_CERTAIN)
    return one_way & (np.add.reduceat(passes, starts, dtype=np.int64) == 2)


def check_rings(outlines: Sequence[Outline]) -> list[Outline]:
    """Notes rings without area and rings that cross themselves, and drops holes outside their exterior.

    Args:
        outlines: of any files.

    Returns:
        The outlines with what was found.
    """
    checked = [_with_inner_holes(outline) for outline in outlines]
    flat = _without_area(checked)
    for index, found in flat.items():
        checked[index] = _noted(checked[index], FaultKind.NO_AREA, found)
    owners = [index for index, outline in enumerate(checked) for _ in outline.parts if index not in flat]
    polygons = [
        polygon for index, outline in enumerate(checked) if index not in flat for polygon in outline.parts
    ]
    for index, valid in zip(owners, _are_valid(polygons).tolist(), strict=True):
        if not valid:
            checked[index] = _noted(
                checked[index], FaultKind.CROSSES_ITSELF, "one that meets or crosses itself"
            )
    return checked


def border_faults(buildings: Sequence[Parts], sizes: NDArray[np.int64]) -> dict[int, OutlineFault]:
    """Tells which buildings reach beyond the image by more than a pixel, and which fill none of its pixels.

    Args:
        buildings: outlines of each, at least one part.
        sizes: (N, 2), width and height of the image of each in px.

    Returns:
        Index of the building -> BEYOND_IMAGE or OUTSIDE_IMAGE and what was found.
    """
    if not buildings:
        return {}
    exteriors = [polygon[0] for parts in buildings for polygon in parts]
    ends = np.cumsum([0] + [len(ring) for ring in exteriors])
    starts = ends[np.cumsum([0] + [len(parts) for parts in buildings])]
    vertices, last = np.concatenate(exteriors), sizes - 1
    low, high = np.minimum.reduceat(vertices, starts[:-1]), np.maximum.reduceat(vertices, starts[:-1])
    # A vertex well inside is a pixel that is filled.
    inside = ((vertices >= 0) & (vertices <= np.repeat(last, np.diff(starts), axis=0))).all(axis=1)
    seen = np.maximum.reduceat(inside, starts[:-1])
    beyond = np.asarray(((low < -_SLACK) | (high > last + 1 + _SLACK)).any(axis=1))
    found: dict[int, OutlineFault] = {}
    for index in np.flatnonzero(beyond | ~seen).tolist():
        width, height = sizes[index].tolist()
        kind = FaultKind.BEYOND_IMAGE if beyond[index] else None
        if not seen[index] and not building_mask(buildings[index], (height, width))[0].size:
            kind = FaultKind.OUTSIDE_IMAGE
        if kind:
            (right, bottom), least = high[index].tolist(), low[index].min()
            limits = f"{least:.1f} to ({right:.1f}, {bottom:.1f})"
            found[index] = kind, f"coordinates from {limits} on {width} x {height} px"
    return found


def _noted(outline: Outline, kind: FaultKind, found: str) -> Outline:
    """Notes each kind once a building."""
    if any(known is kind for known, _ in outline.faults):
        return outline
    return Outline(outline.parts, (*outline.faults, (kind, found)))


def _without_area(outlines: list[Outline]) -> dict[int, str]:
    """Outlines with an exterior whose vertices all lie on one point or line -> what was found."""
    flat: dict[int, str] = {}
    for index, outline in enumerate(outlines):
        for ring, *_ in outline.parts:
            if not shapely.MultiPoint(ring).convex_hull.area > 0:
                flat.setdefault(index, f"a ring of {len(ring)} vertices on one line")
    return flat


def _are_valid(polygons: list[Polygon]) -> np.ndarray:
    """(N,) bool: valid in the sense of the OGC, holes of one or two vertices left aside."""
    if not polygons:
        return np.zeros(0, bool)
    whole = [tuple(ring for ring in polygon if len(ring) >= 3) for polygon in polygons]
    rings = [ring for polygon in whole for ring in polygon]
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    linear = shapely.linearrings(np.concatenate(rings), indices=owner)
    of_polygon = np.repeat(np.arange(len(whole)), [len(polygon) for polygon in whole])
    return np.asarray(shapely.is_valid(shapely.polygons(linear, indices=of_polygon)))


def _with_inner_holes(outline: Outline) -> Outline:
    if all(len(polygon) == 1 for polygon in outline.parts):
        return outline
    parts = tuple(_inner_holes(polygon) for polygon in outline.parts)
    counts = [len(was) - len(now) for was, now in zip(outline.parts, parts, strict=True)]
    if not any(counts):
        return outline
    found = f"{max(counts)} with vertices outside it"
    return _noted(Outline(parts, outline.faults), FaultKind.HOLE_OUTSIDE, found)


def _inner_holes(polygon: Polygon) -> Polygon:
    exterior, *holes = polygon
    area = shapely.make_valid(shapely.Polygon(exterior)) if len(exterior) >= 3 else shapely.Point(exterior[0])
    return (exterior, *(hole for hole in holes if shapely.covers(area, shapely.MultiPoint(hole))))
