"""Buildings as masks inside their own boxes, and their outlines drawn around them, never over them.

Every image here is RGB; ``write_image`` is the only place that knows OpenCV's BGR.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import DAMAGE_COLORS, IGNORE_DAMAGE, DamageClass
from skyeye_det.data.targets import Parts, building_mask
from skyeye_det.files import write_bytes

Image = NDArray[np.uint8]
Mask = NDArray[np.uint8]

_CASING_BRIGHTNESS = 0.35
"""A dark line beside the coloured one keeps yellow readable on sand and green on trees."""


@dataclass(frozen=True)
class DrawnBuilding:
    """One building to be drawn.

    Attributes:
        mask: uint8 0/1 (h, w), inside the building's own box; (0, 0) where it has no pixel.
        corner: (x, y) of the mask's first column and row in the image, in px.
        damage: -1 (un-classified) or 0..3.
    """

    mask: Mask
    corner: tuple[int, int]
    damage: int = IGNORE_DAMAGE


def buildings_from_parts(
    parts_and_damage: Iterable[tuple[Parts, int]], shape: tuple[int, int]
) -> list[DrawnBuilding]:
    """Buildings of outlines in px, of damage -1..3, by the official fill rule in an image (height, width)."""
    return [DrawnBuilding(*building_mask(parts, shape), damage) for parts, damage in parts_and_damage]


def buildings_from_results(results: Iterable[dict[str, Any]]) -> list[DrawnBuilding]:
    """Buildings of COCO results with compressed RLE masks and ``damage``, in their order."""
    from pycocotools import mask as coco_mask

    buildings = []
    for result in results:
        x, y, width, height = (int(side) for side in coco_mask.toBbox(result["segmentation"]))
        mask = coco_mask.decode(result["segmentation"])[y : y + height, x : x + width]
        damage = IGNORE_DAMAGE if result["damage"] is None else int(result["damage"])
        buildings.append(DrawnBuilding(np.ascontiguousarray(mask), (x, y), damage))
    return buildings


def buildings_from_images(localization: Mask, damage: Mask) -> list[DrawnBuilding]:
    """Buildings of a pair of xView2 images: the 8-connected components of each grade.

    Touching buildings of one grade come out as one. Damage counts where ``localization`` is not 0, as in the
    score; a building pixel of damage 0 is un-classified. Both are uint8 (height, width).
    """
    buildings = []
    for grade in (IGNORE_DAMAGE, *DamageClass):
        pixels = ((localization > 0) & (damage == grade + 1)).astype(np.uint8)
        count, labels, stats, _ = cv2.connectedComponentsWithStats(pixels, connectivity=8)
        for label in range(1, count):
            x, y, width, height = stats[label, :4].tolist()
            mask = (labels[y : y + height, x : x + width] == label).astype(np.uint8)
            buildings.append(DrawnBuilding(mask, (x, y), int(grade)))
    return buildings


def crop_buildings(
    buildings: Iterable[DrawnBuilding], crop: tuple[int, int, int, int]
) -> list[DrawnBuilding]:
    """The buildings with a pixel inside ``crop`` (x0, y0, x1, y1) in px, clipped and moved into its frame."""
    kept = []
    for building in buildings:
        (x, y), (height, width) = building.corner, building.mask.shape
        left, top = max(crop[0], x), max(crop[1], y)
        right, bottom = min(crop[2], x + width), min(crop[3], y + height)
        mask = building.mask[top - y : max(bottom, top) - y, left - x : max(right, left) - x]
        if mask.any():
            kept.append(replace(building, mask=mask, corner=(left - crop[0], top - crop[1])))
    return kept


def draw_outlines(
    image: Image, buildings: Sequence[DrawnBuilding], *, zoom: int = 1, thickness: int = 1, casing: int = 0
) -> Image:
    """Draws each building's outline in the colour of its damage.

    The line lies on the pixels just outside the mask: with ``zoom`` Z, image pixel k covers Z pixels of the
    picture, and the line begins right at their edge. The building itself stays visible; where another touches
    it, half of that one's line lies on it. Where lines meet, the worse damage is on top.

    Args:
        image: RGB uint8 (height, width, 3); left as it is.
        buildings: in the frame of ``image``.
        zoom: whole enlargement, at least 1.
        thickness: width of the line, in pixels of the picture.
        casing: width of a darkened rim around the line, in pixels of the picture, drawn where no building is.

    Returns:
        RGB uint8 (height * zoom, width * zoom, 3).
    """
    height, width = image.shape[:2]
    picture = image.copy()
    if zoom > 1:
        picture = cv2.resize(image, (width * zoom, height * zoom), interpolation=cv2.INTER_CUBIC)
    ordered = sorted((b for b in buildings if b.mask.size), key=lambda building: building.damage)
    free = np.ones(picture.shape[:2], bool)
    for building in ordered:
        _clear_inside(free, building, zoom)
    if casing:
        rim = np.zeros_like(free)
        for building in ordered:
            _set_ring(rim, building, zoom, thickness + casing, True)
        rim &= free
        picture[rim] = (picture[rim] * _CASING_BRIGHTNESS).astype(np.uint8)
    for building in ordered:
        _set_ring(picture, building, zoom, thickness, DAMAGE_COLORS[building.damage], free)
    for building in ordered:
        _set_ring(picture, building, zoom, -(-thickness // 2), DAMAGE_COLORS[building.damage])
    return picture


def write_image(path: str | os.PathLike[str], image: Image) -> None:
    """Writes an RGB uint8 (height, width, 3) image as PNG, whole or not at all."""
    _, content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    write_bytes(path, content.tobytes())


def _enlarged(mask: Mask, zoom: int, margin: int) -> Mask:
    return np.pad(mask.repeat(zoom, axis=0).repeat(zoom, axis=1), margin)


def _set_ring(
    canvas: NDArray[Any],
    building: DrawnBuilding,
    zoom: int,
    width: int,
    value: bool | tuple[int, int, int],
    free: NDArray[np.bool_] | None = None,
) -> None:
    """Sets the ``width`` pixels around a building's enlarged mask that lie on the canvas, and in ``free``."""
    mask = _enlarged(building.mask, zoom, width)
    ring = cv2.dilate(mask, np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > mask
    x, y = building.corner[0] * zoom - width, building.corner[1] * zoom - width
    left, top = max(-x, 0), max(-y, 0)
    place = slice(max(y, 0), y + ring.shape[0]), slice(max(x, 0), x + ring.shape[1])
    view = canvas[place]
    ring = ring[top : top + view.shape[0], left : left + view.shape[1]]
    view[ring if free is None else ring & free[place]] = value


def _clear_inside(free: NDArray[np.bool_], building: DrawnBuilding, zoom: int) -> None:
    mask = _enlarged(building.mask, zoom, 0) > 0
    x, y = building.corner[0] * zoom, building.corner[1] * zoom
    free[y : y + mask.shape[0], x : x + mask.shape[1]] &= ~mask
