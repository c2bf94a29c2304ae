"""From the mask of a building to its outline, in the frame in which xBD draws them.

A coordinate names a pixel's centre, and the official fill paints the pixels under an outline too (see
``data/fill_rule.py``). So an outline runs through the centres of the mask's border pixels, as
``cv2.findContours`` follows them, and ``data.targets.fill_polygons`` of it gives the mask back to the pixel.
Outlines at the pixels' outer edges, as GIS programs draw them, would come back a pixel larger.

Three outlines: the exact one; one simplified by Douglas-Peucker (Douglas & Peucker 1973); one whose edges
are turned to the building's main direction and the perpendicular to it.
"""

import math
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from skyeye_det.data.targets import Parts, Polygon, Ring, fill_polygons

LEAST_IOU = 0.8
"""With the polygon's mask; below it the right-angled outline is given up for the simplified one."""

_FEWEST = 4  # edges of a right-angled ring

Mask = NDArray[np.bool_]


def polygonize(
    mask_crop: Mask,
    corner: tuple[int, int] = (0, 0),
    tolerance: float = 0.0,
    right_angled: bool = False,
    min_hole: float = 0.0,
) -> Parts:
    """Outlines of a mask: one polygon for each of its 8-connected pieces.

    Args:
        mask_crop: bool or 0/1 (h, w); a window of the image.
        corner: (x0, y0) of the window in the image, px.
        tolerance: px that the outline may leave the border pixels' centres by; 0 for the exact outline.
        right_angled: turn the edges of the simplified outline to its main direction and the perpendicular,
            see ``right_angled_ring``, where what it fills keeps an IoU of ``LEAST_IOU`` with the piece.
        min_hole: px; smaller holes are closed, with what stands in them.

    Returns:
        Rings float64 (n, 2) of (x, y) in px of the image, as everywhere in ``data.targets``; no polygon for a
        mask without a pixel, else one at least. The polygons are valid but for these: a piece one pixel wide
        has a ring of one or two vertices, or one that walks there and back, and the exact outline does so
        wherever the mask is one pixel wide; ``outline_geometry`` makes valid geometry of all of them.

    Raises:
        ValueError: a mask that is no image, or a tolerance or hole that is below 0 or not finite.
    """
    if mask_crop.ndim != 2:
        raise ValueError(f"expected a mask (h, w), found {mask_crop.shape}")
    if not (0 <= tolerance < math.inf and 0 <= min_hole < math.inf):
        raise ValueError(f"expected finite px of at least 0, found {tolerance} and {min_hole}")
    if not mask_crop.any():
        return ()
    exact = _contours(np.ascontiguousarray(mask_crop, np.uint8), min_hole)
    pieces = [_simplified(polygon, tolerance) if tolerance else (polygon,) for polygon in exact]
    if right_angled:
        pieces = [_squared(*both, tolerance) for both in zip(pieces, exact, strict=True)]
    offset = np.array(corner, np.float64)
    return tuple(tuple(ring + offset for ring in polygon) for piece in pieces for polygon in piece)


def outline_geometry(parts: Parts) -> "shapely.Polygon | shapely.MultiPolygon":
    """The ground that outlines enclose, along the outer edges of their pixels, as GIS programs draw it.

    Args:
        parts: outlines in px, through the centres of border pixels.

    Returns:
        A valid polygon or multipolygon in px of the frame in which pixel ``k`` covers ``k..k + 1``, so that a
        GDAL geotransform applies; of an exact outline its area is that of the mask.
    """
    pieces = []
    for exterior, *holes in parts:
        moved = [ring + 0.5 for ring in (exterior, *holes)]
        line = shapely.LineString(moved[0]) if len(exterior) > 1 else shapely.Point(moved[0][0])
        piece = shapely.Polygon(moved[0], moved[1:]) if len(exterior) > 2 else line
        piece = shapely.make_valid(piece)
        pieces.append(piece.buffer(0.5, cap_style="square", join_style="mitre"))
    return shapely.union_all(np.array(pieces, object))


def geometry_parts(geometry: "shapely.Geometry") -> Parts:
    """The polygons of a geometry as ``data.targets`` has them; its points and lines are left out."""
    pieces = shapely.get_parts(geometry)
    return tuple(
        tuple(np.asarray(ring.coords, np.float64)[:-1] for ring in (piece.exterior, *piece.interiors))
        for piece in pieces
        if piece.geom_type == "Polygon" and not piece.is_empty
    )


def right_angled_ring(ring: Ring, direction: float, least_step: float = 0.0) -> Ring:
    """Snaps every edge to a direction or the perpendicular to it.

    Each edge takes the nearer of the two. Neighbours of one direction become one edge, at their mean distance
    weighted by length, so that the area changes little; then the shortest edges are taken out, as far as they
    are shorter than ``least_step``, and the edges beside them join. A ring without four edges left becomes
    its bounding rectangle. Edges turned to a main direction after simplification, and merged where they
    run on, is the common way to regular outlines (Wei, Ji & Lu 2020, IEEE TGRS 58(3), "Toward automatic
    building footprint delineation from aerial images using CNN and regularization").

    Args:
        ring: float64 (n, 2), px, n of 3 or more.
        direction: radians.
        least_step: px.

    Returns:
        float64 (m, 2), m even and at least 4; every corner has a right angle.
    """
    cos, sin = math.cos(direction), math.sin(direction)
    turn = np.array([[cos, -sin], [sin, cos]])
    turned = ring @ turn
    following = _following(turned)
    steps = np.abs(following - turned)
    along_x = steps[:, 0] >= steps[:, 1]
    begins = along_x != np.roll(along_x, 1)
    if np.count_nonzero(begins) < _FEWEST:
        (x0, y0), (x1, y1) = turned.min(axis=0), turned.max(axis=0)
        return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) @ turn.T
    edge = (np.cumsum(begins) - 1) % np.count_nonzero(begins)
    lengths = steps.max(axis=1)
    level = np.where(along_x, turned[:, 1] + following[:, 1], turned[:, 0] + following[:, 0]) / 2
    weights = np.bincount(edge, lengths).astype(np.float64)
    levels = np.bincount(edge, level * lengths) / weights
    levels = _without_steps(levels, weights, least_step)
    # Edges take turns; the first begins where ``begins`` is first true, and steps go in twos.
    first_along_x = bool(along_x[begins.argmax()])
    before = np.roll(levels, 1)
    is_x = (np.arange(len(levels)) % 2 == 0) == first_along_x
    corners = np.where(is_x[:, None], np.stack([before, levels], 1), np.stack([levels, before], 1))
    return corners @ turn.T


def main_direction(ring: Ring) -> float:
    """Direction, -pi/4..pi/4, that the edges lie along or across: the mean of their angles, four-fold.

    The continuous form of a histogram of edge angles modulo 90 degrees, weighted by squared length: long
    walls count, the stairs of a raster do not.
    """
    edges = _following(ring) - ring
    direction = edges[:, 0] + 1j * edges[:, 1]
    length = np.abs(direction)
    return float(np.angle((direction**4 / np.maximum(length, 1e-9) ** 2).sum()) / 4)


def _contours(mask: NDArray[np.uint8], min_hole: float) -> list[Polygon]:
    """Exact outlines in px of the mask, holes below ``min_hole`` px closed."""
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parents = tree.reshape(-1, 4)[:, 3]
    small = [
        contours[i] for i in np.flatnonzero(parents >= 0).tolist() if _inner_pixels(contours[i]) < min_hole
    ]
    if small:
        mask = mask.copy()
        for contour in small:
            cv2.fillPoly(mask, [contour], 1)
        return _contours(mask, 0)
    rings = [contour.reshape(-1, 2).astype(np.float64) for contour in contours]
    return [
        (rings[index], *(rings[hole] for hole in np.flatnonzero(parents == index).tolist()))
        for index in np.flatnonzero(parents < 0).tolist()
    ]


def _inner_pixels(contour: NDArray[np.int32]) -> float:
    """Pixels that an exact ring (n, 1, 2) encloses without those under it, by Pick's theorem."""
    steps = _following(contour) - contour
    return float(cv2.contourArea(contour) - np.abs(steps).max(axis=2).sum() / 2 + 1)


def _following(ring: NDArray[Any]) -> NDArray[Any]:
    """The vertex after each."""
    return np.concatenate([ring[1:], ring[:1]])


def _simplified(polygon: Polygon, tolerance: float) -> Parts:
    """Valid polygons where the piece has an area; one with narrow places may fall apart there."""
    rings = tuple(_fewer_vertices(ring, tolerance) for ring in polygon)
    if _is_valid(rings):
        return (rings,)
    if _is_valid(polygon):
        return _simplified_whole(polygon, tolerance)
    for mended in _mendings(rings, polygon, tolerance):
        if mended and _iou(mended, (polygon,)) >= LEAST_IOU:
            return mended
    return (polygon,)


def _mendings(rings: Polygon, polygon: Polygon, tolerance: float) -> Iterator[Parts]:
    """Valid polygons in place of a piece with narrow places, those with the fewest vertices first."""
    if min(map(len, rings)) >= 3:
        yield geometry_parts(_mended(rings))
    if min(map(len, polygon)) >= 3:
        exact = geometry_parts(_mended(polygon))
        yield tuple(part for piece in exact for part in _simplified_whole(piece, tolerance))
        yield exact


def _simplified_whole(polygon: Polygon, tolerance: float) -> Parts:
    """A valid polygon that stays so."""
    whole = shapely.Polygon(polygon[0], polygon[1:])
    return geometry_parts(shapely.simplify(whole, tolerance, preserve_topology=True))


def _fewer_vertices(ring: Ring, tolerance: float) -> Ring:
    found = cv2.approxPolyDP(ring.astype(np.int32), tolerance, True).reshape(-1, 2)
    return found.astype(np.float64) if len(found) >= min(len(ring), 3) else ring


def _squared(piece: Parts, exact: Polygon, tolerance: float) -> Parts:
    """The piece right-angled, or as it is where that strays from ``exact`` or cannot be."""
    if min(len(ring) for polygon in piece for ring in polygon) < 3:
        return piece
    direction = main_direction(piece[0][0])
    squared = tuple(
        tuple(right_angled_ring(ring, direction, tolerance) for ring in polygon) for polygon in piece
    )
    fits = all(map(_is_valid, squared)) and _iou(squared, (exact,)) >= LEAST_IOU
    return squared if fits else piece


def _without_steps(levels: Ring, weights: Ring, least_step: float) -> Ring:
    """Takes out edges shorter than ``least_step``, the shortest first; the two beside each become one."""
    while len(levels) > _FEWEST:
        lengths = np.abs(np.roll(levels, -1) - np.roll(levels, 1))
        shortest = int(lengths.argmin())
        if lengths[shortest] >= least_step:
            break
        # Rolled by an even number, the edge before the shortest is the first or the second.
        place = 1 - shortest % 2
        shift = place + 1 - shortest
        levels, weights = np.roll(levels, shift), np.roll(weights, shift)
        pair = [place, place + 2]
        levels[place], weights[place] = np.average(levels[pair], weights=weights[pair]), weights[pair].sum()
        levels, weights = (np.delete(values, [place + 1, place + 2]) for values in (levels, weights))
    return levels


def _is_valid(polygon: Polygon) -> bool:
    if min(map(len, polygon)) < 3:
        return False
    return bool(shapely.is_valid(shapely.Polygon(polygon[0], polygon[1:])))


def _iou(first: Parts, second: Parts) -> float:
    """IoU of what two outlines fill, by the official rule."""
    rings = [ring for parts in (first, second) for polygon in parts for ring in polygon]
    vertices = np.concatenate(rings)
    low = np.floor(vertices.min(axis=0))
    width, height = (np.ceil(vertices.max(axis=0)) - low + 2).astype(int).tolist()
    one, two = (
        fill_polygons(tuple(tuple(ring - low for ring in polygon) for polygon in parts), (height, width)) > 0
        for parts in (first, second)
    )
    return float(np.count_nonzero(one & two) / np.count_nonzero(one | two))


def _mended(polygon: Polygon) -> "shapely.Polygon | shapely.MultiPolygon":
    """Valid geometry of rings of three vertices or more, by the even-odd rule, which is the fill's."""
    whole = shapely.Polygon(polygon[0], polygon[1:])
    if whole.is_valid:
        return whole
    pieces = shapely.get_parts(shapely.get_parts(shapely.make_valid(whole)))  # a collection may hold several
    return shapely.union_all(pieces[shapely.get_type_id(pieces) == shapely.GeometryType.POLYGON])
