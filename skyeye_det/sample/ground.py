"""The ground of a scene, which the pre and the post image share: land, fields, roads, water."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from skyeye_det.sample import texture
from skyeye_det.sample.kinds import SETTLEMENTS
from skyeye_det.sample.layout import Plan
from skyeye_det.sample.texture import Color, blend, fixed, pick_color, whole


@dataclass(frozen=True)
class Biome:
    """Colours of the land: each a palette of RGB 0..255."""

    grass: tuple[Color, ...]
    soil: tuple[Color, ...]
    woods: tuple[Color, ...]
    crops: tuple[Color, ...]
    street: tuple[Color, ...]
    water: tuple[Color, ...]


BIOMES = {
    "temperate": Biome(
        grass=((86, 94, 62), (100, 102, 74), (76, 86, 56), (110, 106, 80)),
        soil=((142, 124, 98), (126, 108, 84), (150, 136, 112)),
        woods=((48, 60, 42), (56, 70, 48), (42, 52, 38), (66, 76, 54)),
        crops=((84, 96, 54), (112, 108, 70), (128, 112, 84), (70, 86, 48), (140, 124, 94), (96, 84, 64)),
        street=((128, 126, 120), (112, 110, 106), (150, 146, 136)),
        water=((44, 54, 46), (58, 68, 54), (84, 82, 60), (30, 38, 40)),
    ),
    "dry": Biome(
        grass=((132, 118, 84), (116, 108, 76), (146, 128, 92), (104, 100, 68)),
        soil=((168, 144, 112), (156, 128, 98), (182, 160, 128)),
        woods=((56, 64, 42), (66, 74, 48), (48, 56, 40), (80, 82, 54)),
        crops=((150, 132, 92), (122, 112, 74), (166, 144, 106), (92, 98, 58), (136, 112, 84)),
        street=((124, 120, 116), (146, 138, 126), (160, 150, 134)),
        water=((50, 66, 62), (70, 82, 66), (38, 50, 56)),
    ),
    "tropical": Biome(
        grass=((80, 94, 58), (92, 104, 66), (72, 84, 54), (104, 106, 72)),
        soil=((156, 132, 104), (138, 106, 80), (166, 146, 118)),
        woods=((42, 58, 38), (52, 70, 44), (36, 50, 34), (60, 78, 48)),
        crops=((80, 96, 56), (98, 108, 66), (70, 86, 50), (118, 108, 78), (128, 104, 82), (108, 92, 72)),
        street=((132, 128, 118), (150, 138, 120), (116, 112, 106)),
        water=((48, 62, 50), (92, 86, 62), (36, 48, 48)),
    ),
}


def paint_ground(rng: Generator, plan: Plan, biome: Biome) -> np.ndarray:
    """Paints everything that lies flat: uint8 RGB ``(side, side, 3)``."""
    shape = (plan.side, plan.side)
    image = np.empty((*shape, 3), np.uint8)
    image[...] = pick_color(rng, biome.grass)
    meadow, patches = texture.fractal_noise(rng, shape, 96, 4), texture.fractal_noise(rng, shape, 40, 4)
    blend(image, pick_color(rng, biome.grass, 14), meadow)
    blend(image, pick_color(rng, biome.soil), _ramp(patches, whole(rng, 180, 235), 3))
    if plan.fields:
        _paint_fields(rng, plan, biome, image)
    blend(image, pick_color(rng, biome.woods, 5), _ramp(plan.wooded, 178, 5) // 4 * 3)
    paved = SETTLEMENTS[plan.settlement].paved
    for lot in plan.lots:
        tint = pick_color(rng, biome.street if paved else biome.grass + biome.soil[:1], 16)
        _tint(image, lot, tint, 150 if paved else 120)
    mottle = (patches.astype(np.int16) - 128) // 9 + (meadow.astype(np.int16) - 128) // 14
    tufts = (texture.value_noise(rng, shape, 5).astype(np.int16) - 128) // whole(rng, 6, 16)
    texture.modulate(image, mottle + tufts + texture.grain(rng, shape, 120))
    _paint_roads(rng, plan, biome, image)
    _paint_water(rng, plan, biome, image)
    return image


def _ramp(field: np.ndarray, start: int, slope: int) -> np.ndarray:
    return np.clip((field.astype(np.int16) - start) * slope, 0, 255).astype(np.uint8)


def _tint(image: np.ndarray, polygon: np.ndarray, color: Color, alpha: int) -> None:
    """Covers a polygon to ``alpha`` / 255."""
    low = np.maximum(polygon.min(0).astype(int) - 1, 0)
    high = np.minimum(polygon.max(0).astype(int) + 2, [image.shape[1], image.shape[0]])
    if np.any(high <= low):
        return
    view = image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(view.shape[:2], np.uint8)
    cv2.fillPoly(mask, [fixed(polygon - low)], alpha, shift=texture.SHIFT)
    blend(view, color, mask)


def _paint_fields(rng: Generator, plan: Plan, biome: Biome, image: np.ndarray) -> None:
    """Fields in the colours of crops, with furrows along the field's frame."""
    rows = np.arange(plan.side, dtype=np.int32)
    frame = plan.field_frame
    slope_x, slope_y = int(frame.sin * 1024), int(frame.cos * 1024)
    across = (rows[None, :] * -slope_x + rows[:, None] * slope_y) >> 6
    furrows = ((across & 127) > 63).astype(np.int16) * 2 - 1
    depth = np.zeros((plan.side, plan.side), np.uint8)
    for polygon in plan.fields:
        points = fixed(polygon)
        _tint(image, polygon, pick_color(rng, biome.crops, 10), whole(rng, 150, 255))
        cv2.fillPoly(depth, [points], whole(rng, 0, 6), shift=texture.SHIFT)
    texture.modulate(image, furrows * depth.astype(np.int16))


def _paint_roads(rng: Generator, plan: Plan, biome: Biome, image: np.ndarray) -> None:
    shape = (plan.side, plan.side)
    mask = np.zeros(shape, np.uint8)
    for line, width in plan.roads:
        cv2.polylines(mask, [fixed(line)], False, 110, round(width) + 5, shift=texture.SHIFT)
    blend(image, pick_color(rng, biome.soil), mask)
    street = pick_color(rng, biome.street, 10)
    mask[...] = 0
    for line, width in plan.roads:
        cv2.polylines(mask, [fixed(line)], False, 245, max(3, round(width) - 3), shift=texture.SHIFT)
    for drive in plan.drives:
        _tint(image, drive, pick_color(rng, biome.street, 16), 230)
    blend(image, street, cv2.GaussianBlur(mask, (3, 3), 0))
    texture.modulate(image, texture.grain(rng, shape, 24))


def _paint_water(rng: Generator, plan: Plan, biome: Biome, image: np.ndarray) -> None:
    if not plan.water.any():
        return
    shape = (plan.side, plan.side)
    sheet = np.empty_like(image)
    sheet[...] = pick_color(rng, biome.water)
    texture.modulate(sheet, texture.grain(rng, shape, 20))
    bank = cv2.GaussianBlur(plan.water, (15, 15), 0)
    blend(image, pick_color(rng, biome.soil), np.minimum(bank, 130))
    blend(image, sheet, plan.water)
