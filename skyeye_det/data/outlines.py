"""Outlines of buildings: WKT text to rings.

The usual text, one ring without a hole, is read for many buildings at once; whatever else stands among them
is read one by one. Text is read here and not by shapely, which takes several times as long and refuses the
rings that are to be mended: open ones, and points and lines.
"""

import re
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.ring_checks import Outline, OutlineFault, check_rings, faulty_rings
from skyeye_det.data.targets import Parts, Ring
from skyeye_det.data.validation import FaultKind
from skyeye_det.errors import shown

LARGEST_COORDINATE = 2**20
"""px; what lies further out is no outline on an image."""

MOST_VERTICES, MOST_RINGS = 10_000, 40
"""Of one building; xBD has up to 145 and 1. More would take minutes to check and to paint."""

MOST_VERTICES_OF_A_LABEL = 200_000
"""xBD has up to 13,635."""

FaultsByIndex = dict[int, tuple[OutlineFault, ...]]

_NUMBER = r"[-+]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)"
_VERTEX = rf"\s*{_NUMBER}\s+{_NUMBER}\s*"
_RING = re.compile(rf"{_VERTEX}(?:,{_VERTEX})*", re.IGNORECASE)
_POLYGON = re.compile(r"\s*POLYGON\s*\(\s*\((.*)\)\s*\)\s*", re.IGNORECASE | re.DOTALL)
_MULTIPOLYGON = re.compile(r"\s*MULTIPOLYGON\s*\(\s*\(\s*\((.*)\)\s*\)\s*\)\s*", re.IGNORECASE | re.DOTALL)
_NEXT_POLYGON = re.compile(r"\)\s*\)\s*,\s*\(\s*\(")
_NEXT_RING = re.compile(r"\)\s*,\s*\(")

_LONGEST_TEXT = 2**20
_FEW_VERTICES, _FEW_RINGS = 2_000, 3  # joining holes takes the product

_START, _END = "POLYGON ((", "))"
_NEXT_PLAIN = f"{_END}|{_START}".encode()
# "x y, x y))|POLYGON ((x y" is JSON with commas and spaces exchanged and all signs but numbers made spaces.
_TO_JSON = bytes.maketrans(b" ,|()POLYGN", b",          ")
_NUMBERS = msgspec.json.Decoder(list[float])
_OF_NUMBERS = b"0123456789.-+eE"


class _OutlineError(ValueError):
    """A text that is no usable outline; the message says what was found."""


def read_outlines(wkts: Sequence[object]) -> tuple[list[Parts], FaultsByIndex]:
    """Reads ``POLYGON`` and ``MULTIPOLYGON`` texts with x and y, and checks their geometry.

    Open rings are closed and noted, see ``check_rings`` for the rest. What is no such text, or has a
    coordinate that is not finite or beyond ``LARGEST_COORDINATE``, or more than ``MOST_VERTICES`` or
    ``MOST_RINGS``, is an unusable outline.

    Args:
        wkts: values found in labels.

    Returns:
        The parts of each, empty where it is unusable, and the faults of those that have any, by index.
    """
    plain = _read_plain(wkts)
    if plain is not None:
        return plain
    if len(wkts) <= 1:
        outlines = check_rings([_read_one(wkt) for wkt in wkts])
        found = {index: outline.faults for index, outline in enumerate(outlines) if outline.faults}
        return [outline.parts for outline in outlines], found
    # One odd text among many: the others are still read at once.
    middle = len(wkts) // 2
    parts, faults = read_outlines(wkts[:middle])
    more_parts, more_faults = read_outlines(wkts[middle:])
    return parts + more_parts, faults | {middle + index: found for index, found in more_faults.items()}


def _read_plain(wkts: Sequence[object]) -> tuple[list[Parts], FaultsByIndex] | None:
    """Outlines of texts that are all ``POLYGON ((x y, x y, ...))``; None where one is not."""
    try:
        text = "|".join(wkts)  # type: ignore[arg-type] # what is no text raises
    except TypeError:
        return None
    if not (text.startswith(_START) and text.endswith(_END) and text.isascii()):
        return None
    rings = _rings(text[len(_START) : -len(_END)].encode())
    if rings is None or len(rings[1]) != len(wkts):
        return None
    vertices, starts, stops = rings
    closed = (vertices[starts] == vertices[stops - 1]).all(axis=1) & (stops - starts > 1)
    limits = zip(starts.tolist(), (stops - closed).tolist(), strict=True)
    parts: list[Parts] = [((vertices[start:stop],),) for start, stop in limits]
    faults: FaultsByIndex = {}
    for index in np.flatnonzero(~closed | faulty_rings(vertices, starts, stops)).tolist():
        ring = parts[index][0][0]
        (outline,) = check_rings([Outline(parts[index], () if closed[index] else (_not_closed(ring),))])
        parts[index], faults[index] = outline
    return parts, faults


def _rings(text: bytes) -> tuple[Ring, NDArray[np.int64], NDArray[np.int64]] | None:
    """(vertices (V, 2), start and stop of each ring) of plain texts, joined; None for any other text."""
    # Left of "x y, x y))|POLYGON ((x y": a space in each vertex; behind it a comma or bar, and a space.
    between = text.translate(None, _OF_NUMBERS).replace(_NEXT_PLAIN, b"| ")
    signs = np.frombuffer(between, np.uint8)
    turns = signs[1::3]
    is_end = turns == ord("|")
    spaces = (signs[0::3] == ord(" ")).all() and (signs[2::3] == ord(" ")).all()
    if len(signs) % 3 != 1 or not spaces or not (is_end | (turns == ord(","))).all():
        return None
    try:
        flat = _NUMBERS.decode(b"[%b]" % text.translate(_TO_JSON))
    except ValueError:
        return None
    vertices = np.fromiter(flat, np.float64, len(flat)).reshape(-1, 2)
    stops = np.append(np.flatnonzero(is_end) + 1, len(vertices))
    starts = np.concatenate([np.zeros(1, np.int64), stops[:-1]])
    if (stops - starts).max() > MOST_VERTICES or not (np.abs(vertices) < LARGEST_COORDINATE).all():
        return None
    return vertices, starts, stops


def _read_one(wkt: object) -> Outline:
    try:
        return _read_wkt(wkt)
    except _OutlineError as error:
        return Outline((), ((FaultKind.UNUSABLE_OUTLINE, str(error)),))


def _read_wkt(wkt: object) -> Outline:
    """Reads one ``POLYGON`` or ``MULTIPOLYGON`` text with x and y; its geometry is not checked.

    Args:
        wkt: the value found in the label.

    Returns:
        The outline; open rings are closed and noted.

    Raises:
        _OutlineError: no such text, a coordinate that is not finite or beyond ``LARGEST_COORDINATE``, or too
            many vertices or rings.
    """
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
    polygons = [[_read_ring(ring) for ring in _NEXT_RING.split(polygon)] for polygon in texts]
    open_rings = [ring for polygon in polygons for ring, is_closed in polygon if not is_closed]
    outline = Outline(tuple(tuple(ring for ring, _ in polygon) for polygon in polygons))
    return outline._replace(faults=(_not_closed(open_rings[0]),)) if open_rings else outline


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


def _not_closed(ring: Ring) -> OutlineFault:
    return FaultKind.NOT_CLOSED, f"one of {len(ring)} vertices that ends elsewhere"
