"""From the mask of a building to its outline, in the frame in which xBD draws them.

A coordinate names a pixel's centre, and the official fill paints the pixels under an outline too (see
``data/fill_rule.py``). So an outline runs through the centres of the mask's border pixels, as
``cv2.findContours`` follows them, and ``data.targets.fill_polygons`` of it gives the mask back to the pixel.
Outlines at the pixels' outer edges, as GIS programs draw them, would come back a pixel larger.

Three outlines: the exact one; one simplified by Douglas-Peucker (Douglas & Peucker 1973); one whose edges
are turned to the building's main direction and the perpendicular to it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from skyeye_det.data.fill_rule import fill_rings, whole_pixels
from skyeye_det.data.targets import Parts, Polygon, Ring
from skyeye_det.decision.right_angles import main_directions, right_angled_rings
from skyeye_det.prediction.masks import Crop

LEAST_IOU = 0.8
"""With the polygon's mask; below it the right-angled outline is given up for the simplified one."""

_GROUP = 1024
"""Buildings that are drawn together: a call of numpy or shapely costs more than its work on one."""


def polygonize(
    masks: Sequence[Crop], tolerance: float = 0.0, right_angled: bool = False, min_hole: float = 0.0
) -> list[Parts]:
    """Outlines of masks: of each one polygon for each of its 8-connected pieces.

    Args:
        masks: N crops of the image, bool or 0/1.
        tolerance: px that the outline may leave the border pixels' centres by; 0 for the exact outline.
        right_angled: turn the edges of the simplified outline to its main direction and the perpendicular,
            see ``right_angled_rings``, where what it fills keeps an IoU of ``LEAST_IOU`` with the piece.
        min_hole: px; smaller holes are closed, with what stands in them.

    Returns:
        N tuples of rings float64 (n, 2) of (x, y) in px of the image, as everywhere in ``data.targets``; no
        polygon for a mask without a pixel, else one at least. The polygons are valid but for these: a piece
        one pixel wide has a ring of one or two vertices, or one that walks there and back, and the exact
        outline does so wherever the mask is one pixel wide; ``outline_geometries`` makes valid geometry of
        all of them.
    """
    outlines: list[Parts] = []
    for start in range(0, len(masks), _GROUP):
        outlines += _polygonized(masks[start : start + _GROUP], tolerance, right_angled, min_hole)
    return outlines


def _polygonized(
    masks: Sequence[Crop], tolerance: float, right_angled: bool, min_hole: float
) -> Iterator[Parts]:
    found = [_contours(mask, min_hole) for _, mask in masks]
    exact = [polygon for polygons in found for polygon in polygons]
    pieces = _simplified(exact, tolerance) if tolerance else [(polygon,) for polygon in exact]
    if right_angled:
        pieces = _squared(pieces, exact, tolerance)
    following = iter(pieces)
    for polygons, (corner, _) in zip(found, masks, strict=True):
        offset = np.array(corner, np.float64)
        yield tuple(
            tuple([ring + offset for ring in polygon]) for _ in polygons for polygon in next(following)
        )


def outline_geometries(outlines: Sequence[Parts]) -> NDArray[np.object_]:
    """The ground that outlines enclose, along the outer edges of their pixels, as GIS programs draw it.

    Args:
        outlines: of N buildings in px, through the centres of border pixels.

    Returns:
        (N,) valid polygons or multipolygons in px of the frame in which pixel ``k`` covers ``k..k + 1``, so
        that a GDAL geotransform applies; of an exact outline its area is that of the mask.
    """
    polygons = [polygon for parts in outlines for polygon in parts]
    pieces = np.empty(len(polygons), object)
    is_area = np.array([len(polygon[0]) > 2 for polygon in polygons], np.bool_)
    pieces[is_area] = _shapes([polygons[index] for index in np.flatnonzero(is_area).tolist()])
    for index in np.flatnonzero(~is_area).tolist():
        (exterior, *_) = polygons[index]
        pieces[index] = shapely.LineString(exterior) if len(exterior) > 1 else shapely.Point(exterior[0])
    moved = shapely.transform(pieces, lambda points: points + 0.5)
    wrong = ~shapely.is_valid(moved)
    moved[wrong] = shapely.make_valid(moved[wrong])
    ground = shapely.buffer(moved, 0.5, cap_style="square", join_style="mitre")
    ends = np.cumsum([len(parts) for parts in outlines], dtype=np.int64).tolist()
    found = np.empty(len(outlines), object)
    for index, (parts, end) in enumerate(zip(outlines, ends, strict=True)):
        own = ground[end - len(parts) : end]
        found[index] = own[0] if len(parts) == 1 else shapely.union_all(own)
    return found


def geometry_parts(geometry: "shapely.Geometry") -> Parts:
    """The polygons of a geometry as ``data.targets`` has them; its points and lines are left out."""
    pieces = shapely.get_parts(geometry)
    return tuple(
        tuple(np.asarray(ring.coords, np.float64)[:-1] for ring in (piece.exterior, *piece.interiors))
        for piece in pieces
        if piece.geom_type == "Polygon" and not piece.is_empty
    )


def _contours(mask: NDArray[Any], min_hole: float) -> list[Polygon]:
    """Exact outlines in px of the mask, holes below ``min_hole`` px closed."""
    if not mask.size:
        return []
    mask = np.ascontiguousarray(mask, np.uint8)
    contours, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if len(contours) == 1:
        return [(contours[0].reshape(-1, 2).astype(np.float64),)]
    if not contours:
        return []
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


def _simplified(polygons: Sequence[Polygon], tolerance: float) -> list[Parts]:
    """Of each valid polygons where it has an area; one with narrow places may fall apart there."""
    simple = [tuple([_fewer_vertices(ring, tolerance) for ring in polygon]) for polygon in polygons]
    rows = zip(simple, polygons, _are_valid(simple), strict=True)
    return [(rings,) if valid else _kept_valid(rings, polygon, tolerance) for rings, polygon, valid in rows]


def _kept_valid(rings: Polygon, polygon: Polygon, tolerance: float) -> Parts:
    """What stands in for the simplified rings of a polygon where these cross."""
    if _are_valid([polygon])[0]:
        return _simplified_whole(polygon, tolerance)
    for mended in _mendings(rings, polygon, tolerance):
        if mended and _ious([mended], [(polygon,)])[0] >= LEAST_IOU:
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


def _squared(pieces: Sequence[Parts], exact: Sequence[Polygon], tolerance: float) -> list[Parts]:
    """Each piece right-angled, or as it is where that strays from the ``exact`` one or cannot be."""
    numbers = [
        index
        for index, piece in enumerate(pieces)
        if min([len(ring) for polygon in piece for ring in polygon]) > 2
    ]
    chosen = [pieces[index] for index in numbers]
    rings = [ring for piece in chosen for polygon in piece for ring in polygon]
    counts = [sum(map(len, piece)) for piece in chosen]
    directions = np.repeat(main_directions([piece[0][0] for piece in chosen]), counts)
    turned = iter(right_angled_rings(rings, directions, tolerance))
    squared = [tuple([tuple([next(turned) for _ in polygon]) for polygon in piece]) for piece in chosen]
    valid = iter(_are_valid([polygon for piece in squared for polygon in piece]))
    sound = []
    for index, piece in zip(numbers, squared, strict=True):
        are_sound = [next(valid) for _ in piece]
        if all(are_sound):
            sound.append((index, piece))
    result = list(pieces)
    ious = _ious([piece for _, piece in sound], [(exact[index],) for index, _ in sound])
    for (index, piece), iou in zip(sound, ious, strict=True):
        if iou >= LEAST_IOU:
            result[index] = piece
    return result


def _are_valid(polygons: Sequence[Polygon]) -> list[bool]:
    enough = np.array([min(map(len, polygon)) > 2 for polygon in polygons], np.bool_)
    chosen = np.flatnonzero(enough)
    enough[chosen] = shapely.is_valid(_shapes([polygons[index] for index in chosen.tolist()]))
    return enough.tolist()


def _shapes(polygons: Sequence[Polygon]) -> NDArray[np.object_]:
    """Shapely polygons of rings of three vertices or more, valid or not."""
    rings = [ring for polygon in polygons for ring in polygon]
    if not rings:
        return np.zeros(0, object)
    numbers = np.repeat(np.arange(len(rings)), list(map(len, rings)))
    lines = shapely.linearrings(np.concatenate(rings), indices=numbers)
    return shapely.polygons(lines, indices=np.repeat(np.arange(len(polygons)), list(map(len, polygons))))


def _ious(first: Sequence[Parts], second: Sequence[Parts]) -> list[float]:
    """IoU of what each two outlines fill, by the official rule."""
    pairs = list(zip(first, second, strict=True))
    rings = [[ring for parts in pair for polygon in parts for ring in polygon] for pair in pairs]
    if not rings:
        return []
    places = whole_pixels(np.concatenate([ring for each in rings for ring in each]))
    counts = [sum(map(len, each)) for each in rings]
    starts = np.cumsum([0, *counts[:-1]])
    corners = np.minimum.reduceat(places, starts)
    sizes = (np.maximum.reduceat(places, starts) - corners + 1).tolist()
    ends = np.cumsum([len(ring) for each in rings for ring in each])[:-1]
    moved = iter(np.split(places - np.repeat(corners, counts, axis=0), ends))
    found = []
    for pair, (width, height) in zip(pairs, sizes, strict=True):
        one, two = images = np.zeros((2, height, width), np.uint8)
        for parts, image in zip(pair, images, strict=True):
            for polygon in parts:
                fill_rings(image, [next(moved) for _ in polygon], 1)
        found.append(cv2.countNonZero(one & two) / cv2.countNonZero(one | two))
    return found


def _mended(polygon: Polygon) -> "shapely.Polygon | shapely.MultiPolygon":
    """Valid geometry of rings of three vertices or more, by the even-odd rule, which is the fill's."""
    whole = shapely.Polygon(polygon[0], polygon[1:])
    if whole.is_valid:
        return whole
    pieces = shapely.get_parts(shapely.get_parts(shapely.make_valid(whole)))  # a collection may hold several
    return shapely.union_all(pieces[shapely.get_type_id(pieces) == shapely.GeometryType.POLYGON])
