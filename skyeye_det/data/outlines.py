"""Outlines of buildings: WKT text to rings, and what is wrong with their geometry.

Text is read here and not by shapely, which refuses the rings that are to be mended: open ones, and points and
lines. shapely (GEOS) judges the geometry, of many buildings at once.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from skyeye_det.data.targets import Parts, Polygon, Ring, building_mask
from skyeye_det.data.validation import FaultKind
from skyeye_det.errors import shown

LARGEST_COORDINATE = 2**20
"""px; what lies further out is no outline on an image."""

MOST_VERTICES, MOST_RINGS = 10_000, 40
"""Of one building; xBD has up to 145 and 1. More would take minutes to check and to paint."""

MOST_VERTICES_OF_A_LABEL = 200_000
"""xBD has up to 13,635."""

OutlineFault = tuple[FaultKind, str]
"""(kind, what was found)."""

_NUMBER = r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
_VERTEX = rf"\s*{_NUMBER}\s+{_NUMBER}\s*"
_RING = re.compile(rf"{_VERTEX}(?:,{_VERTEX})*", re.IGNORECASE)
_POLYGON = re.compile(r"\s*POLYGON\s*\(\s*\((.*)\)\s*\)\s*", re.IGNORECASE | re.DOTALL)
_MULTIPOLYGON = re.compile(r"\s*MULTIPOLYGON\s*\(\s*\(\s*\((.*)\)\s*\)\s*\)\s*", re.IGNORECASE | re.DOTALL)
_NEXT_POLYGON = re.compile(r"\)\s*\)\s*,\s*\(\s*\(")
_NEXT_RING = re.compile(r"\)\s*,\s*\(")

_USUAL = re.compile(r"POLYGON \(\([-+.\deE]+ [-+.\deE]+(?:, [-+.\deE]+ [-+.\deE]+)*\)\)", re.ASCII)
_LONGEST_TEXT = 2**20
_FEW_VERTICES, _FEW_RINGS = 2_000, 3  # joining holes takes the product
# px; xBD itself draws outlines that end on the border, 0 to 1024, give or take a rounding.
_SLACK = 1.0


class Outline(NamedTuple):
    """A building's rings as read, and the faults found with them.

    Attributes:
        parts: rings without their repeated last vertex, px; empty where the outline is unusable.
        faults: each kind once, in the order found.
    """

    parts: Parts
    faults: tuple[OutlineFault, ...] = ()


class _OutlineError(ValueError):
    """A text that is no usable outline; the message says what was found."""


def read_outlines(wkts: Sequence[object]) -> list[Outline]:
    """Reads ``POLYGON`` and ``MULTIPOLYGON`` texts with x and y, and checks their geometry.

    Open rings are closed, holes outside their exterior dropped, rings without area and rings that cross
    themselves kept; each is noted. What is no such text, or has a coordinate that is not finite or beyond
    ``LARGEST_COORDINATE``, or more than ``MOST_VERTICES`` or ``MOST_RINGS``, is an unusable outline.

    Args:
        wkts: values found in labels; many at once are faster than one by one.
    """
    plain = _read_plain([wkt if isinstance(wkt, str) and _USUAL.fullmatch(wkt) else None for wkt in wkts])
    outlines = [plain.get(index) or _with_inner_holes(_read_one(wkt)) for index, wkt in enumerate(wkts)]
    owners = [index for index, outline in enumerate(outlines) for _ in outline.parts]
    polygons = [polygon for outline in outlines for polygon in outline.parts]
    with_area, valid = _judged(polygons)
    flat = {owners[place] for place in np.flatnonzero(~with_area).tolist()}
    for place in np.flatnonzero(~(with_area & valid)).tolist():
        index = owners[place]
        if not with_area[place]:
            found = f"a ring of {len(polygons[place][0])} vertices on one line"
            outlines[index] = _noted(outlines[index], FaultKind.NO_AREA, found)
        elif index not in flat:
            found = "one that meets or crosses itself"
            outlines[index] = _noted(outlines[index], FaultKind.CROSSES_ITSELF, found)
    return outlines


def border_faults(buildings: Sequence[Parts], size: tuple[int, int]) -> dict[int, OutlineFault]:
    """Tells which buildings reach beyond the image by more than a pixel, and which fill none of its pixels.

    Args:
        buildings: outlines of each, at least one part.
        size: (width, height) of the image in px.

    Returns:
        Index of the building -> BEYOND_IMAGE or OUTSIDE_IMAGE and what was found.
    """
    if not buildings:
        return {}
    (width, height), last = size, np.array(size) - 1
    exteriors = [np.concatenate([polygon[0] for polygon in parts]) for parts in buildings]
    vertices = np.concatenate(exteriors)
    starts = np.cumsum([0] + [len(exterior) for exterior in exteriors[:-1]])
    low, high = np.minimum.reduceat(vertices, starts), np.maximum.reduceat(vertices, starts)
    # A vertex well inside is a pixel that is filled.
    seen = np.maximum.reduceat(((vertices >= 0) & (vertices <= last)).all(axis=1), starts)
    beyond = np.asarray(((low < -_SLACK) | (high > last + 1 + _SLACK)).any(axis=1))
    found: dict[int, OutlineFault] = {}
    for index in np.flatnonzero(beyond | ~seen).tolist():
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


def _judged(polygons: Sequence[Polygon]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) bool each: the exterior has an area; the polygon is valid in the sense of the OGC.

    Holes of one or two vertices are left aside; an exterior of so few has no area and is not valid.
    """
    with_area, valid = np.zeros(len(polygons), bool), np.zeros(len(polygons), bool)
    whole = np.flatnonzero([len(polygon[0]) >= 3 for polygon in polygons])
    if whole.size:
        rings = [(place, ring) for place in whole.tolist() for ring in polygons[place] if len(ring) >= 3]
        owner = np.repeat(np.arange(len(rings)), [len(ring) for _, ring in rings])
        linear = shapely.linearrings(np.concatenate([ring for _, ring in rings]), indices=owner)
        of_polygon = np.searchsorted(whole, [place for place, _ in rings])
        shapes = shapely.polygons(linear, indices=of_polygon)
        valid[whole] = with_area[whole] = shapely.is_valid(shapes)
        odd = ~valid[whole]
        with_area[whole[odd]] = shapely.area(shapely.convex_hull(shapes[odd])) > 0
    return with_area, valid


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


def _read_plain(wkts: Sequence[str | None]) -> dict[int, Outline]:
    """Outlines by index of texts of one ring, where it is closed: shapely reads them many times faster."""
    shapes = shapely.from_wkt(np.array(wkts, object), on_invalid="ignore")
    coordinates, owners = shapely.get_coordinates(shapes, return_index=True)
    starts = np.searchsorted(owners, np.arange(len(wkts) + 1)).tolist()
    beyond = set(owners[~(np.abs(coordinates) < LARGEST_COORDINATE).all(axis=1)].tolist())
    return {
        index: Outline(((coordinates[start : stop - 1],),))
        for index, (start, stop) in enumerate(pairwise(starts))
        if start < stop <= start + MOST_VERTICES and index not in beyond
    }


def _read_one(wkt: object) -> Outline:
    """The outline as written, open rings closed and noted; no parts where it is unusable."""
    try:
        polygons = _read_rings(wkt)
    except _OutlineError as error:
        return Outline((), ((FaultKind.UNUSABLE_OUTLINE, str(error)),))
    parts = tuple(tuple(ring for ring, _ in polygon) for polygon in polygons)
    for ring, is_closed in (ring for polygon in polygons for ring in polygon):
        if not is_closed:
            found = f"one of {len(ring)} vertices that ends elsewhere"
            return Outline(parts, ((FaultKind.NOT_CLOSED, found),))
    return Outline(parts)


def _read_rings(wkt: object) -> list[list[tuple[Ring, bool]]]:
    """The polygons of one text, each ring as of ``_read_ring``."""
    if not isinstance(wkt, str):
        raise _OutlineError(f"{type(wkt).__name__} instead of text")
    vertices, rings = wkt.count(",") + 1, wkt.count("(")
    if vertices > MOST_VERTICES or rings > MOST_RINGS or len(wkt) > _LONGEST_TEXT:
        raise _OutlineError(f"{vertices} vertices in {rings} rings in {len(wkt)} signs")
    if rings > _FEW_RINGS and vertices > _FEW_VERTICES:
        raise _OutlineError(f"{vertices} vertices in {rings} rings")
    if match := _POLYGON.fullmatch(wkt):
        texts = [match[1]]
    elif match := _MULTIPOLYGON.fullmatch(wkt):
        texts = _NEXT_POLYGON.split(match[1])
    else:
        raise _OutlineError(shown(wkt, 40))
    return [[_read_ring(ring) for ring in _NEXT_RING.split(polygon)] for polygon in texts]


def _read_ring(text: str) -> tuple[Ring, bool]:
    """The ring without its repeated vertex, and whether it had one."""
    if not _RING.fullmatch(text):
        raise _OutlineError(f"a ring of {shown(text, 40)}")
    ring = np.array(text.replace(",", " ").split(), np.float64).reshape(-1, 2)
    if not (np.abs(ring) < LARGEST_COORDINATE).all():
        raise _OutlineError(f"a coordinate that is not finite or beyond {LARGEST_COORDINATE} px")
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        return ring[:-1], True
    return ring, False
