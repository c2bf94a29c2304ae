"""Ways to draw what was found in a tile, to be compared under the score.

A form is an outline (the mask, its exact outline, simplified, right-angled), a fill rule, and what the
pixels inside get as damage. Each gives the two competition images. Where buildings overlap the higher score
wins, as in ``postprocessing.rasterize``.

``crops`` are bool arrays with the image pixel (x0, y0) of their top left corner, one for each building.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass
from skyeye_det.data.targets import Parts, building_mask, segmentation_from_parts
from skyeye_det.decision.polygonize import geometry_parts, outline_geometry, polygonize

Crop = tuple[tuple[int, int], NDArray[np.bool_]]
Images = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""(localization 0/1, damage 0..4), uint8 (h, w)"""

EXACT, SIMPLIFIED, RIGHT_ANGLED = "exact", "simplified", "right-angled"
OUTLINES = (EXACT, SIMPLIFIED, RIGHT_ANGLED)
OFFICIAL, PIXEL_CENTRE, ERODED = "official", "pixel-centre", "eroded"
OWN, MAJORITY, PROPORTIONAL = "own", "majority", "proportional"

MIN_HOLE = 16.0
"""px; a courtyard of 4 x 4 px is the smallest that simplified outlines keep."""

_EMPTY = np.zeros((0, 0), bool)
_GOLDEN = (np.sqrt(5) - 1) / 2
_HALF_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class FoundBuildings:
    """N buildings of one tile, those that count.

    Attributes:
        crops: their masks; a mask may be empty.
        scores: float (N,); of equal scores the building listed first wins.
        damage: int (N,), 0..3.
        damage_probs: float (N, 4), rows sum to 1.
        shape: (h, w) of the tile in px.
    """

    crops: Sequence[Crop]
    scores: NDArray[np.floating]
    damage: NDArray[np.integer]
    damage_probs: NDArray[np.floating]
    shape: tuple[int, int]


def outline_crops(crops: Sequence[Crop], outline: str, tolerance: float) -> list[Parts]:
    """Outlines of masks, see ``polygonize``.

    Args:
        crops: masks.
        outline: one of ``OUTLINES``.
        tolerance: px, of the simplified and the right-angled ones.
    """
    if outline == EXACT:
        return [polygonize(mask, corner) for corner, mask in crops]
    squared = outline == RIGHT_ANGLED
    return [polygonize(mask, corner, tolerance, squared, MIN_HOLE) for corner, mask in crops]


def fill_outlines(outlines: Sequence[Parts], rule: str, shape: tuple[int, int]) -> list[Crop]:
    """Fills outlines by one of ``FILL_RULES``.

    Args:
        outlines: of each building, px.
        rule: ``official``: that of the targets, ``fillPoly`` of rounded coordinates, edges included;
            ``pixel-centre``: COCO's (and nearly PIL's and GDAL's): coordinates are taken as they stand in a
            frame where pixel k covers k..k + 1, and a pixel belongs to the polygon that holds its centre;
            ``eroded``: the official fill of the polygon made half a pixel smaller on all sides.
        shape: (h, w) of the image that clips them, px.

    Returns:
        A crop for each; empty where a rule leaves nothing, as the last two do of a building one pixel wide.
    """
    fill = FILL_RULES[rule]
    return [fill(parts, shape) for parts in outlines]


def paint_forms(
    buildings: FoundBuildings, crops: Sequence[Crop], damage_by: str, earlier: NDArray[np.uint8] | None = None
) -> Images:
    """Paints crops into the two competition images.

    Args:
        buildings: whose scores and damage count.
        crops: what each fills, N.
        damage_by: ``own``: each building's damage.
            ``majority``: the damage that most of its pixels have in ``earlier``, the lesser of two as
            frequent; its own where none has any.
            ``proportional``: its pixels get the four classes in proportion to its probabilities, see
            ``proportional_values``. In expectation that is worse than the likeliest class in every
            building (sum of p squared, never above the largest p, of its pixels are right), but no class
            that has a share anywhere is left at an F1 of 0, as argmax leaves one that is never the
            likeliest, and the harmonic mean of the score punishes that most. So expect a loss where all
            four classes are predicted, and a gain over a model that has given one up; there a decision rule
            with weights gains more (F1 is best served by thresholds: Lipton et al. 2014, arXiv:1402.1892).
        earlier: uint8 (h, w), 0..4, for ``majority``; the crops painted with their own damage where None.

    Returns:
        (localization, damage).
    """
    if damage_by == MAJORITY and earlier is None:
        earlier = paint_forms(buildings, crops, OWN)[1]
    damage = np.zeros(buildings.shape, np.uint8)
    for index in np.argsort(-np.asarray(buildings.scores), kind="stable")[::-1].tolist():
        (x, y), mask = crops[index]
        if not mask.size:
            continue
        window = slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1])
        value = DamageClass(int(buildings.damage[index])).pixel_value
        if damage_by == PROPORTIONAL:
            number = int(np.count_nonzero(mask))
            damage[window][mask] = proportional_values(buildings.damage_probs[index], number)
            continue
        if damage_by == MAJORITY and earlier is not None:
            votes = np.bincount(earlier[window][mask], minlength=NUM_DAMAGE_CLASSES + 1)[1:]
            value = DamageClass(int(votes.argmax())).pixel_value if votes.any() else value
        damage[window][mask] = value
    return (damage > 0).view(np.uint8), damage


def proportional_values(probs: NDArray[np.floating], number: int) -> NDArray[np.uint8]:
    """Pixel values of one building's pixels, in proportion to its class probabilities.

    The counts are the probabilities' running sums times ``number``, rounded, so they add up and none is off
    by one or more. The pixels, row by row, are dealt in the order of the multiples of the golden ratio
    modulo 1 (Weyl's sequence), which spreads every class evenly: at the edges, where the mask may be wrong,
    as inside. Nothing is drawn at random.

    Args:
        probs: (4,), not negative, one of them above 0.
        number: pixels, n.

    Returns:
        uint8 (n,), 1..4.
    """
    shares = np.cumsum(probs, dtype=np.float64)
    bounds = np.round(shares / shares[-1] * number).astype(np.int64)
    order = np.argsort(np.arange(1, number + 1) * _GOLDEN % 1, kind="stable")
    values = np.empty(number, np.uint8)
    first = DamageClass.NO_DAMAGE.pixel_value
    values[order] = np.searchsorted(bounds, np.arange(number), side="right") + first
    return values


def count_vertices(outlines: Sequence[Parts]) -> int:
    """Vertices of all outlines together."""
    return sum(len(ring) for parts in outlines for polygon in parts for ring in polygon)


def _fill_official(parts: Parts, shape: tuple[int, int]) -> Crop:
    mask, corner = building_mask(parts, shape)
    return corner, mask > 0


def _fill_pixel_centres(parts: Parts, shape: tuple[int, int]) -> Crop:
    if not parts:
        return (0, 0), _EMPTY
    vertices = np.concatenate([ring for polygon in parts for ring in polygon])
    low = np.maximum(np.floor(vertices.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(vertices.max(axis=0)), shape[::-1]).astype(int)
    width, height = (high - low).tolist()
    if width <= 0 or height <= 0:
        return (0, 0), _EMPTY
    moved = tuple(tuple(ring - low for ring in polygon) for polygon in parts)
    flat = [ring.tolist() for ring in segmentation_from_parts(moved)]
    filled = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(flat, height, width)))
    return (int(low[0]), int(low[1])), filled > 0


def _fill_eroded(parts: Parts, shape: tuple[int, int]) -> Crop:
    smaller = outline_geometry(parts).buffer(-_HALF_PIXEL, join_style="mitre")
    return _fill_official(geometry_parts(smaller), shape)


FILL_RULES: dict[str, Callable[[Parts, tuple[int, int]], Crop]] = {
    OFFICIAL: _fill_official,
    PIXEL_CENTRE: _fill_pixel_centres,
    ERODED: _fill_eroded,
}
