"""How damage looks from above: rubble, torn roofs, ash, mud and flood water in four ordinal grades."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from skyeye_det.damage import DamageClass
from skyeye_det.sample import texture
from skyeye_det.sample.streets import House
from skyeye_det.sample.texture import Color, blend, whole

REACH = 12
"""px around a building that its debris may cover."""


@dataclass(frozen=True)
class Wreckage:
    """What is left of buildings; percentages are of minor and major damage, and destroyed."""

    rubble: tuple[Color, ...]  # of a destroyed building
    torn: tuple[Color, ...]  # of a roof's hurt part
    share: tuple[tuple[int, int], tuple[int, int]]  # percentage range of the roof that is hurt
    spill: tuple[int, int, int]  # percentage of the ground beside a building that its debris covers


WRECKAGE = {
    "wind": Wreckage(
        rubble=((164, 146, 122), (128, 108, 88), (206, 200, 190), (88, 76, 66), (116, 120, 126)),
        torn=((70, 56, 44), (96, 76, 58), (178, 148, 108), (54, 46, 42), (206, 188, 160), (190, 160, 122)),
        share=((16, 28), (48, 70)), spill=(10, 24, 42),
    ),
    "fire": Wreckage(
        rubble=((176, 172, 168), (148, 142, 138), (96, 90, 86), (58, 54, 52), (122, 108, 98)),
        torn=((30, 28, 27), (44, 40, 37), (24, 23, 23), (62, 54, 48), (28, 26, 25)),
        share=((18, 30), (54, 76)), spill=(5, 12, 20),
    ),
    "flood": Wreckage(
        rubble=((118, 98, 72), (104, 86, 64), (130, 112, 86), (92, 76, 58), (160, 146, 124), (70, 60, 48)),
        torn=((112, 94, 70), (124, 106, 80), (98, 82, 62)),
        share=((8, 16), (34, 54)), spill=(4, 8, 24),
    ),
    "quake": Wreckage(
        rubble=((178, 170, 158), (154, 146, 136), (196, 190, 180), (126, 118, 110), (92, 86, 80)),
        torn=((168, 160, 148), (146, 138, 128), (118, 110, 102), (186, 178, 168), (88, 82, 76)),
        share=((12, 24), (46, 66)), spill=(22, 34, 48),
    ),
}  # fmt: skip
"""Kind of disaster -> wreckage."""


def speckle(rng: Generator, shape: tuple[int, int], palette: tuple[Color, ...]) -> np.ndarray:
    """Bits and pieces of 1 to 4 px in the palette's colours: uint8 RGB ``(h, w, 3)``."""
    height, width = shape
    colors = np.array(palette, np.uint8)

    def bits(cell: int) -> np.ndarray:
        pieces = rng.integers(0, len(palette), (height // cell + 1, width // cell + 1), dtype=np.uint8)
        return pieces.repeat(cell, 0).repeat(cell, 1)[:height, :width]

    fine, middle, coarse = bits(1), bits(2), bits(4)
    dice = rng.integers(0, 8, shape, dtype=np.uint8)
    chosen = np.where(dice < 2, coarse, np.where(dice < 6, middle, fine))
    return cv2.GaussianBlur(colors[chosen], (3, 3), 0)


def _cells(house: House, canvas: np.ndarray, reach: int) -> tuple[slice, slice, np.ndarray]:
    """Rows and columns around a building, and its footprint there: uint8 0/1."""
    left, top, right, bottom = house.box
    left, top = max(0, left - reach), max(0, top - reach)
    right, bottom = min(canvas.shape[1], right + reach), min(canvas.shape[0], bottom + reach)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    cv2.fillPoly(mask, house.pixel_rings(left, top), 1)
    return slice(top, bottom), slice(left, right), mask


def _hurt_part(rng: Generator, noise: np.ndarray, footprint: np.ndarray, percent: int) -> np.ndarray:
    """The ``percent`` of a footprint that is hurt, in patches and more on one side: bool ``(h, w)``."""
    rows, columns = noise.shape
    slope_x, slope_y = whole(rng, -160, 160), whole(rng, -160, 160)
    tilt = np.arange(columns)[None, :] * slope_x // columns + np.arange(rows)[:, None] * slope_y // rows
    field = noise.astype(np.int64) + tilt * 2
    inside = field[footprint > 0]
    count = inside.size * percent // 100
    limit = np.partition(inside, count - 1)[count - 1] if count else field.min() - 1
    return (field <= limit) & (footprint > 0)


def wreck(rng: Generator, image: np.ndarray, houses: list[House], grades: list[int], kind: str) -> None:
    """Draws the damage of every building, of ``grades`` 0..3, over its whole roof, in place."""
    look = WRECKAGE[kind]
    shape = image.shape[:2]
    rubble, torn = speckle(rng, shape, look.rubble), speckle(rng, shape, look.torn)
    texture.modulate(rubble, (texture.value_noise(rng, shape, 6).astype(np.int16) - 128) // 5)
    noise, scatter = texture.value_noise(rng, shape, 7), rng.integers(0, 100, shape, dtype=np.uint8)
    clumps = texture.value_noise(rng, shape, 9)
    for house, grade in zip(houses, grades, strict=True):
        if grade == DamageClass.NO_DAMAGE:
            continue
        rows, columns, footprint = _cells(house, image, REACH)
        view = image[rows, columns]
        # Debris on the ground, denser close to the walls and in clumps.
        reach = cv2.dilate(footprint, np.ones((REACH, REACH), np.uint8)) * np.uint8(255)
        odds = cv2.blur(reach, (REACH, REACH)).astype(np.int32) * look.spill[grade - 1]
        odds = odds * (64 + clumps[rows, columns].astype(np.int32)) >> 15
        lying = (scatter[rows, columns] < odds) & (footprint == 0)
        view[lying] = rubble[rows, columns][lying]
        if grade == DamageClass.DESTROYED:
            _raze(rng, view, footprint, rubble[rows, columns], noise[rows, columns], kind)
            continue
        low, high = look.share[grade - 1]
        hurt = _hurt_part(rng, noise[rows, columns], footprint, whole(rng, low, high))
        alpha = cv2.GaussianBlur(hurt.astype(np.uint8) * np.uint8(235), (3, 3), 0)
        paint = rubble if kind == "quake" and grade == DamageClass.MAJOR_DAMAGE else torn
        blend(view, paint[rows, columns], alpha * footprint)
        if kind == "flood" and grade == DamageClass.MAJOR_DAMAGE:
            blend(view, (116, 100, 78), footprint * np.uint8(whole(rng, 80, 130)))
        if kind == "wind" and grade == DamageClass.MINOR_DAMAGE and whole(rng, 0, 99) < 40:
            blend(view, (66, 96, 168), alpha * footprint)


def _raze(
    rng: Generator, view: np.ndarray, footprint: np.ndarray, rubble: np.ndarray, noise: np.ndarray, kind: str
) -> None:
    """A destroyed building: rubble, ash or mud in place of the roof, ragged at the edge."""
    ragged = cv2.dilate(footprint, np.ones((5, 5), np.uint8)) & (noise > 70).astype(np.uint8) | footprint
    alpha = cv2.GaussianBlur(ragged * np.uint8(250), (3, 3), 0)
    blend(view, rubble, alpha)
    if kind == "fire":
        # Burnt earth in patches, white ash left where the walls stood.
        patches = np.where(noise > whole(rng, 90, 170), 130, 20).astype(np.uint8)
        blend(view, (38, 34, 32), np.where(ragged > 0, patches, 0).astype(np.uint8))
        rim = footprint - cv2.erode(footprint, np.ones((3, 3), np.uint8))
        blend(view, (196, 190, 184), rim * np.uint8(whole(rng, 60, 150)))
    elif kind == "flood":
        blend(view, (114, 97, 72), np.where(ragged > 0, 110 + noise // 3, 0).astype(np.uint8))
    elif kind == "wind" and whole(rng, 0, 99) < 40:
        # The storm swept the slab clean in places.
        blend(view, (158, 150, 138), np.where((noise < 110) & (footprint > 0), 190, 0).astype(np.uint8))


def flood_water(rng: Generator, struck: np.ndarray, houses: list[House], grades: list[int]) -> np.ndarray:
    """Where flood water stands: uint8 ``(h, w)``, 0..255.

    It surrounds buildings of major damage, touches those of minor damage from one side, and keeps off the
    others. It fills low land where the disaster struck hard (``struck``, uint8 ``(h, w)``).
    """
    shape = (struck.shape[0], struck.shape[1])
    low_land = texture.fractal_noise(rng, shape, 80)
    level = np.where((struck > 150) & (low_land < 150), 255, 0).astype(np.uint8)
    for house, grade in zip(houses, grades, strict=True):
        x, y = house.center
        left, top, right, bottom = house.box
        half = max(right - left, bottom - top) // 2
        if grade >= DamageClass.MAJOR_DAMAGE:
            cv2.circle(level, (int(x), int(y)), half + whole(rng, 16, 34), 255, -1)
        elif grade == DamageClass.MINOR_DAMAGE:
            cos, sin = texture.cos_sin(whole(rng, 0, 359))
            off = half + 4
            cv2.circle(level, (int(x + cos * off), int(y + sin * off)), half, 255, -1)
    for house, grade in zip(houses, grades, strict=True):
        if grade == DamageClass.NO_DAMAGE:
            left, top, right, bottom = house.box
            radius = max(right - left, bottom - top) // 2 + 9
            cv2.circle(level, (int(house.center[0]), int(house.center[1])), radius, 0, -1)
    soft = cv2.GaussianBlur(level, (27, 27), 0).astype(np.int16)
    edge = soft + (texture.fractal_noise(rng, shape, 32).astype(np.int16) - 128) * 5 // 8
    return np.clip((edge - 118) * 9 + 128, 0, 255).astype(np.uint8)


def hurt_ground(
    rng: Generator, image: np.ndarray, struck: np.ndarray, water: np.ndarray | None, kind: str
) -> None:
    """What the disaster does to the land: burnt earth, mud and water, dust, scattered debris; in place."""
    shape = image.shape[:2]
    patches = texture.fractal_noise(rng, shape, 36)
    worn = struck.astype(np.uint16) * np.clip(patches.astype(np.int32) * 2 - 90, 0, 255) // 255
    if kind == "fire":
        blend(image, (62, 52, 44), (worn * 5 // 8).astype(np.uint8))
    elif kind == "flood":
        blend(image, (112, 96, 72), (worn * 3 // 8).astype(np.uint8))
    else:
        thrown = rng.integers(0, 256, shape, dtype=np.uint8) < worn // 24
        image[thrown] = speckle(rng, shape, WRECKAGE[kind].rubble)[thrown]
        blend(image, (140, 126, 104), (worn // 5).astype(np.uint8))
    if water is not None:
        sheet = np.empty_like(image)
        sheet[...] = texture.pick_color(rng, ((104, 92, 66), (92, 84, 62), (120, 100, 72), (84, 82, 66)))
        texture.modulate(sheet, (patches.astype(np.int16) - 128) // 22 + texture.grain(rng, shape, 20))
        blend(image, sheet, (water.astype(np.uint16) * 15 // 16).astype(np.uint8))
