"""A scene larger than a tile, drawn a tile at a time, with a cloud and missing data of its own.

px are those of the scene, x right and y down; px (0, 0) is the corner of the first pixel.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, pairwise, product

import numpy as np

from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.data.targets import Parts, building_mask
from skyeye_det.sample.dataset import outline_on_tile
from skyeye_det.sample.kinds import HAZARDS
from skyeye_det.sample.scene import SampleScene, draw_recipe, draw_scene

NODATA = 0
"""Value of what the image after lacks; nothing that it shows is so dark."""

CLOUD = ((0.48, 0.50, 0.089), (0.57, 0.53, 0.066), (0.41, 0.55, 0.060))
"""Circles (x, y, radius) as shares of the scene's side; together they cover a 25th of it."""

_SOFT = 0.02  # share of the side, over which the cloud's edge fades
_STRIP = 0.04  # share of the width, at the right, that the image after lacks
_LARGEST_TILE = 1024
_LEAST_VISIBLE = 0.5  # of a building that has a grade, as in the single scenes


@dataclass(frozen=True)
class MosaicBuilding:
    """A building of a mosaic.

    Attributes:
        parts: its outline, in px of the scene, cut at the border of its tile.
        damage: -1..3; -1 where less than half of it is visible.
        visible: share of its pixels, 0..1, that the image after shows.
    """

    parts: Parts
    damage: int
    visible: float


@dataclass(frozen=True)
class MosaicTile:
    """A part of a mosaic.

    Attributes:
        left: first column, px.
        top: first row.
        pre: uint8 RGB (h, w, 3).
        post: likewise, on the same ground.
        buildings: that stand on it.
    """

    left: int
    top: int
    pre: np.ndarray
    post: np.ndarray
    buildings: list[MosaicBuilding]


def tiles_a_side(size: int) -> int:
    """Number of tiles along a side of ``size`` px: even, so that none lies in two quarters of the scene."""
    return 2 * math.ceil(size / 2 / _LARGEST_TILE)


def mosaic_tiles(seed: int, size: int) -> Iterator[MosaicTile]:
    """Draws the tiles of a scene of ``size`` x ``size`` px, row by row."""
    parts = tiles_a_side(size)
    spans = list(pairwise(round(size * part / parts) for part in range(parts + 1)))
    edge = max(end - start for start, end in spans)
    missing_from = size - strip_width(size)
    for ((top, bottom), (left, right)), number in zip(
        product(spans, spans), tile_numbers(seed), strict=False
    ):
        width, height = right - left, bottom - top
        drawn = draw_scene(seed, number, edge, clear=True)
        cover = cloud_cover(left, top, width, height, size)
        hidden, share = cover > 0.5, cover[..., None]
        post = drawn.post[:height, :width] * (1 - share) + 255 * share
        post = np.maximum(np.round(post).astype(np.uint8), NODATA + 1)
        first = max(missing_from - left, 0)
        post[:, first:], hidden[:, first:] = NODATA, True
        yield MosaicTile(left, top, drawn.pre[:height, :width], post, _buildings(drawn, hidden, (left, top)))


def tile_numbers(seed: int) -> Iterator[int]:
    """Numbers of the drawn scenes that become tiles: one disaster in one kind of land, the first built up."""
    numbers = count(seed % len(HAZARDS))
    first = next(number for number in numbers if draw_recipe(seed, number).settlement != "empty")
    wanted = draw_recipe(seed, first)
    yield first
    for number in numbers:
        recipe = draw_recipe(seed, number)
        if (recipe.kind, recipe.biome) == (wanted.kind, wanted.biome):
            yield number


def strip_width(size: int) -> int:
    """Width in px of what the image after lacks at the right of a scene of ``size`` px."""
    return round(size * _STRIP)


def cloud_cover(left: int, top: int, width: int, height: int, size: int) -> np.ndarray:
    """How much of each pixel the cloud hides.

    Args:
        left: first column of a part of the scene, px.
        top: first row.
        width: of the part, px.
        height: of the part, px.
        size: of the scene, px.

    Returns:
        float64 (height, width), 0..1.
    """
    x, y = np.arange(left, left + width) + 0.5, np.arange(top, top + height) + 0.5
    cover = np.zeros((height, width))
    for middle_x, middle_y, radius in CLOUD:
        away = np.sqrt((x[None] - middle_x * size) ** 2 + (y[:, None] - middle_y * size) ** 2)
        np.maximum(cover, (radius * size - away) / (_SOFT * size) + 0.5, out=cover)
    return np.minimum(cover, 1.0)


def _buildings(drawn: SampleScene, hidden: np.ndarray, corner: tuple[int, int]) -> list[MosaicBuilding]:
    """Buildings of a tile.

    Args:
        drawn: its upper left part counts, of the shape of ``hidden``.
        hidden: bool (h, w), what the image after does not show.
        corner: (x, y) of the tile in the scene, px.
    """
    height, width = hidden.shape
    buildings = []
    for house, damage in zip(drawn.houses, drawn.grades, strict=True):
        if not (parts := outline_on_tile(house, width, height)):
            continue
        mask, (x, y) = building_mask(parts, (height, width))
        covered = hidden[y : y + mask.shape[0], x : x + mask.shape[1]][mask > 0]
        visible = round(1 - float(covered.mean()), 4)
        # A label's coordinate names the middle of a pixel.
        placed = tuple(tuple(ring + corner + 0.5 for ring in rings) for rings in parts)
        grade = damage if visible >= _LEAST_VISIBLE else IGNORE_DAMAGE
        buildings.append(MosaicBuilding(placed, grade, visible))
    return buildings
