"""Outlines of buildings: WKT text to rings, and what is wrong with them.

Texts are read one by one, the geometry of a whole file at once. Text is read here and not by shapely, which
refuses the rings that are to be mended: open ones, and points and lines.
"""

import re
from dataclasses import dataclass, field

import numpy as np
import shapely

from skyeye_det.data.targets import Parts, Ring
from skyeye_det.data.validation import FaultKind

LARGEST_COORDINATE = 2**20
"""px; what lies further out is no outline on an image."""

_NUMBER = r"[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
_VERTEX = rf"\s*{_NUMBER}\s+{_NUMBER}\s*"
_RING = re.compile(rf"{_VERTEX}(?:,{_VERTEX})*", re.IGNORECASE)
_POLYGON = re.compile(r"\s*POLYGON\s*\(\s*\((.*)\)\s*\)\s*", re.IGNORECASE | re.DOTALL)
_MULTIPOLYGON = re.compile(r"\s*MULTIPOLYGON\s*\(\s*\(\s*\((.*)\)\s*\)\s*\)\s*", re.IGNORECASE | re.DOTALL)
_NEXT_POLYGON = re.compile(r"\)\s*\)\s*,\s*\(\s*\(")
_NEXT_RING = re.compile(r"\)\s*,\s*\(")


class OutlineError(ValueError):
    """A text that is no usable outline; the message says what was found."""


@dataclass
class Outline:
    """A building's rings as read, and the faults found with them.

    Attributes:
        parts: rings without their repeated last vertex, px.
        faults: (kind, what was found) in the order found.
    """

    parts: Parts
    faults: list[tuple[FaultKind, str]] = field(default_factory=list)


def read_wkt(wkt: object) -> Outline:
    """Reads ``POLYGON`` and ``MULTIPOLYGON`` text with x and y.

    Args:
        wkt: the value found in the label.

    Returns:
        The outline; open rings are closed and noted.

    Raises:
        OutlineError: no such text, or a coordinate that is not finite or beyond ``LARGEST_COORDINATE``.
    """
    if not isinstance(wkt, str):
        raise OutlineError(f"{type(wkt).__name__} instead of text")
    if match := _POLYGON.fullmatch(wkt):
        texts = [match[1]]
    elif match := _MULTIPOLYGON.fullmatch(wkt):
        texts = _NEXT_POLYGON.split(match[1])
    else:
        raise OutlineError(repr(_shortened(wkt)))
    outline = Outline(())
    outline.parts = tuple(
        tuple(_read_ring(ring, outline) for ring in _NEXT_RING.split(polygon)) for polygon in texts
    )
    return outline


def check_rings(outlines: list[Outline]) -> None:
    """Notes rings without area, rings that cross themselves, and drops holes outside their exterior.

    Args:
        outlines: of one file; ``parts`` and ``faults`` are changed in place.
    """
    exteriors = [(index, polygon[0]) for index, outline in enumerate(outlines) for polygon in outline.parts]
    with_area = _have_area([ring for _, ring in exteriors])
    for (index, ring), has_area in zip(exteriors, with_area, strict=True):
        if not has_area:
            _note(outlines[index], FaultKind.NO_AREA, f"a ring of {len(ring)} vertices on one line")
    for outline in outlines:
        if any(len(polygon) > 1 for polygon in outline.parts):
            outline.parts = tuple(_inner_holes_only(polygon, outline) for polygon in outline.parts)
    polygons = [
        (outline, polygon)
        for outline in outlines
        for polygon in outline.parts
        if not any(kind is FaultKind.NO_AREA for kind, _ in outline.faults)
    ]
    for (outline, _), valid in zip(polygons, _are_simple([rings for _, rings in polygons]), strict=True):
        if not valid:
            _note(outline, FaultKind.CROSSES_ITSELF, "one that meets or crosses itself")


def _read_ring(text: str, outline: Outline) -> Ring:
    if not _RING.fullmatch(text):
        raise OutlineError(f"a ring of {_shortened(text)!r}")
    ring = np.array(text.replace(",", " ").split(), np.float64).reshape(-1, 2)
    if not (np.abs(ring) < LARGEST_COORDINATE).all():
        raise OutlineError(f"a coordinate that is not finite or beyond {LARGEST_COORDINATE} px")
    if len(ring) > 1 and (ring[0] == ring[-1]).all():
        return ring[:-1]
    _note(outline, FaultKind.NOT_CLOSED, f"one of {len(ring)} vertices that ends elsewhere")
    return ring


def _note(outline: Outline, kind: FaultKind, found: str) -> None:
    """Notes each kind once a building."""
    if kind not in (known for known, _ in outline.faults):
        outline.faults.append((kind, found))


def _have_area(rings: list[Ring]) -> np.ndarray:
    """(N,) bool: the ring's vertices do not all lie on one point or line."""
    if not rings:
        return np.zeros(0, bool)
    vertices = shapely.points(np.concatenate(rings))
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    return np.asarray(shapely.area(shapely.convex_hull(shapely.multipoints(vertices, indices=owner))) > 0)


def _linear_rings(rings: list[Ring]) -> np.ndarray:
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    return np.asarray(shapely.linearrings(np.concatenate(rings), indices=owner))


def _are_simple(polygons: list[tuple[Ring, ...]]) -> np.ndarray:
    """(N,) bool: valid in the sense of the OGC, holes of one or two vertices left aside."""
    if not polygons:
        return np.zeros(0, bool)
    whole = [tuple(ring for ring in polygon if len(ring) >= 3) for polygon in polygons]
    rings = _linear_rings([ring for polygon in whole for ring in polygon])
    owner = np.repeat(np.arange(len(whole)), [len(polygon) for polygon in whole])
    return np.asarray(shapely.is_valid(shapely.polygons(rings, indices=owner)))


def _inner_holes_only(polygon: tuple[Ring, ...], outline: Outline) -> tuple[Ring, ...]:
    exterior, *holes = polygon
    area = shapely.make_valid(shapely.Polygon(exterior)) if len(exterior) >= 3 else shapely.Point(exterior[0])
    inner = [hole for hole in holes if shapely.covers(area, shapely.MultiPoint(hole))]
    if len(inner) < len(holes):
        _note(outline, FaultKind.HOLE_OUTSIDE, f"{len(holes) - len(inner)} with vertices outside it")
    return (exterior, *inner)


def _shortened(text: str, length: int = 40) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."
