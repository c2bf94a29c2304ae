"""The official fill rule: from outlines to the masks and target images of xView2.

An official target is the fill of the ``xy`` outlines by the rule of ``fill_rule.py``, building after building
in file order, later ones over earlier ones. A coordinate names a pixel's centre, and the pixels under an
outline are filled too, so a mask is about one pixel larger than COCO's or GDAL's rule makes it. Everything
that is trained on, submitted or scored goes through this module.

``parts`` means the same everywhere: the polygons of one building, each a tuple of rings (exterior, hole,
...), each ring a float64 array (n, 2) of (x, y) in px, closed without repeating its first vertex.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.fill_rule import fill_rings, whole_pixels

Ring = NDArray[np.float64]
Polygon = tuple[Ring, ...]
Parts = tuple[Polygon, ...]
Mask = NDArray[np.uint8]


class Building(NamedTuple):
    """One building of a scene."""

    uid: str  # joins the pre and post label
    parts: Parts  # on the pre image
    damage: int  # 0..3, or -1 for un-classified
    post_parts: Parts = ()  # on the post image; empty where the post label has no usable outline


def fill_polygons(parts: Parts, shape: tuple[int, int], out: Mask | None = None, value: int = 1) -> Mask:
    """Fills a building's outlines by the official rule.

    The rings of one polygon are filled together by the even-odd rule, so that holes stay open; the polygons
    one after the other, so that overlapping parts do not cancel out. The pixels under every ring are filled,
    those of a hole too.

    Args:
        parts: outlines in px; may reach beyond the image, by less than 2**24 px.
        shape: (height, width) of the image.
        out: uint8 (height, width) to paint on, C-contiguous; a zero image where not given.
        value: what to paint, 0..255.

    Returns:
        ``out``, uint8 (height, width).

    Raises:
        MissingDependencyError: the installed OpenCV fills by another rule.
    """
    mask = np.zeros(shape, np.uint8) if out is None else out
    for polygon in parts:
        fill_rings(mask, [whole_pixels(ring) for ring in polygon if len(ring)], value)
    return mask


def building_mask(parts: Parts, shape: tuple[int, int]) -> tuple[Mask, tuple[int, int]]:
    """Official mask of one building inside its own box, at a cost of the box's size.

    Args:
        parts: outlines in px.
        shape: (height, width) of the image that clips the mask.

    Returns:
        (mask, (x0, y0)): uint8 0/1 of the tightest box around the filled pixels, and the box's first column
        and row in the image; a mask of shape (0, 0) where the building fills no pixel of the image.
    """
    polygons = [[whole_pixels(ring) for ring in polygon if len(ring)] for polygon in parts]
    rings = [ring for polygon in polygons for ring in polygon]
    if not rings:
        return np.zeros((0, 0), np.uint8), (0, 0)
    vertices = rings[0] if len(rings) == 1 else np.concatenate(rings)
    low, high = vertices.min(axis=0).tolist(), vertices.max(axis=0).tolist()
    x0, y0 = max(low[0], 0), max(low[1], 0)
    x1, y1 = min(high[0] + 1, shape[1]), min(high[1] + 1, shape[0])
    if x1 <= x0 or y1 <= y0:
        return np.zeros((0, 0), np.uint8), (0, 0)
    mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
    corner = np.array([x0, y0], np.int32)
    for polygon in polygons:
        fill_rings(mask, [ring - corner for ring in polygon], 1)
    if [x0, y0, x1 - 1, y1 - 1] == [*low, *high]:  # nothing is cut off, and every vertex is filled
        return mask, (x0, y0)
    return _trimmed(mask, x0, y0)


def scene_targets(buildings: Iterable[Building], shape: tuple[int, int]) -> tuple[Mask, Mask]:
    """Both official target images of a scene: localization from pre outlines, damage from post outlines.

    The two files of a pair draw the same buildings a fraction of a pixel apart, and the official damage
    images follow the post file.

    Args:
        buildings: in file order; later ones are painted over earlier ones.
        shape: (height, width) of the image.

    Returns:
        (localization, damage): uint8 (height, width); localization 0/1; damage 0..4, ``DamageClass + 1``,
        where an un-classified building is background.
    """
    localization, damage = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for building in buildings:
        fill_polygons(building.parts, shape, localization)
        fill_polygons(building.post_parts or building.parts, shape, damage, building.damage + 1)
    return localization, damage


def parts_from_segmentation(segmentation: Sequence[Sequence[float]]) -> Parts:
    """Outlines of a COCO ``segmentation`` as ``convert_split`` writes it.

    Each flat polygon [x0, y0, x1, y1, ...] in px is one ring, holes joined by a keyhole; filling them gives
    the same mask as the outlines they came from.
    """
    return tuple((np.asarray(flat, np.float64).reshape(-1, 2),) for flat in segmentation)


def segmentation_from_parts(parts: Parts) -> list[Ring]:
    """COCO ``segmentation`` of a building: one flat polygon a part.

    COCO knows no holes. A hole is joined to its exterior by a bridge of no width, walked there and back (a
    keyhole), between two existing vertices, so that no edge moves. ``fill_polygons`` of it gives the same
    mask, as long as the holes lie inside their exterior without crossing each other. A ring of one or two
    vertices repeats its last one, since COCO readers take four numbers for a box.

    Returns:
        Flat polygons [x0, y0, x1, y1, ...], float64 (2n,), in the order of ``parts``.
    """
    if len(parts) == 1 and len(parts[0]) == 1 and len(parts[0][0]) >= 3:
        return [parts[0][0].reshape(-1)]
    rings = [_joined(polygon) for polygon in parts]
    return [
        (ring if len(ring) >= 3 else np.pad(ring, ((0, 3 - len(ring)), (0, 0)), mode="edge")).ravel()
        for ring in rings
    ]


def _trimmed(mask: Mask, x0: int, y0: int) -> tuple[Mask, tuple[int, int]]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.zeros((0, 0), np.uint8), (0, 0)
    top, left = int(rows[0]), int(columns[0])
    return mask[top : rows[-1] + 1, left : columns[-1] + 1], (x0 + left, y0 + top)


def _joined(polygon: Polygon) -> Ring:
    """One ring for a polygon with holes: each hole spliced in where the bridge paints nothing new."""
    ring, *holes = polygon
    while holes:
        options = [(_bridge(ring, hole, polygon), index) for index, hole in enumerate(holes)]
        (_, start, end), index = min(options, key=lambda option: (option[0][0], option[1]))
        hole = np.roll(holes.pop(index), -end, axis=0)
        ring = np.concatenate([ring[: start + 1], hole, hole[:1], ring[start:]])
    return ring


def _bridge(ring: Ring, hole: Ring, polygon: Polygon) -> tuple[tuple[int, float], int, int]:
    """Best bridge from ``ring`` to ``hole``: ((pixels painted outside the polygon, length), vertex, vertex).

    Candidates are tried from the shortest on; between vertices that see each other the bridge lies inside the
    polygon.
    """
    lengths = np.linalg.norm(ring[:, None] - hole[None], axis=2)
    low = np.floor(np.min(polygon[0], axis=0)) - 1
    moved = tuple(whole_pixels(part) - low for part in polygon)
    width, height = (np.max(moved[0], axis=0) + 2).astype(int).tolist()
    free = fill_polygons((moved,), (height, width)) == 0
    best: tuple[tuple[int, float], int, int] | None = None
    for flat in np.argsort(lengths, axis=None, kind="stable").tolist():
        start, end = divmod(flat, len(hole))
        line = whole_pixels(np.stack([ring[start], hole[end]])) - low
        painted = int(np.count_nonzero(fill_polygons(((line,),), (height, width))[free]))
        if best is None or painted < best[0][0]:
            best = ((painted, float(lengths[start, end])), start, end)
        if painted == 0:
            break
    assert best is not None
    return best
