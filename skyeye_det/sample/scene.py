"""One scene from its number: what kind it is, its plan, both images, and the grade of every building."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.sample import destruction, ground, kinds, roofs, texture
from skyeye_det.sample.kinds import HAZARDS, Hazard
from skyeye_det.sample.layout import MARGIN, Plan, draw_plan
from skyeye_det.sample.roofs import Sun
from skyeye_det.sample.streets import House
from skyeye_det.sample.texture import scene_rng, whole

# Streams of random numbers: one more draw in one part leaves the others as they are.
_CHOICE, _PLAN, _GROUND, _PRE, _POST, _ROOFS, _DAMAGE, _SKY = range(8)
LABEL_STREAM = 8
"""Stream for uids and metadata."""


@dataclass(frozen=True)
class Recipe:
    """What is decided of a scene by its number: kind of disaster, settlement, biome, how hard it is hit."""

    kind: str
    hazard: Hazard
    settlement: str
    biome: str
    level: str


@dataclass(frozen=True)
class SampleScene:
    """A finished scene.

    Attributes:
        recipe: what kind it is.
        pre, post: uint8 RGB ``(size, size, 3)``.
        houses: the buildings, in canvas px (tile px + ``MARGIN``).
        grades: damage -1..3 of each.
        suns: of the pre and of the post image.
    """

    recipe: Recipe
    pre: np.ndarray
    post: np.ndarray
    houses: list[House]
    grades: list[int]
    suns: tuple[Sun, Sun]


def draw_recipe(seed: int, index: int) -> Recipe:
    """The recipe of scene ``index``: all kinds within four scenes, one without buildings within each five."""
    kind = tuple(HAZARDS)[(index + index // 4) % len(HAZARDS)]
    hazard = HAZARDS[kind]
    five = scene_rng(seed, index // 5, _CHOICE)
    slot = five.permutation(5).tolist()[index % 5]
    rng = scene_rng(seed, index, _CHOICE + 1000)
    town = hazard.town[int(rng.integers(len(hazard.town)))]
    outskirts = ("village", "village", "works", "trailers")[int(rng.integers(4))]
    settlement = ("suburb", "suburb", town, outskirts, "empty")[slot]
    level = ("light", "edge", "edge", "heavy", "edge")[
        (five.permutation(4).tolist()[slot]) if slot < 4 else 4
    ]
    return Recipe(kind, hazard, settlement, hazard.biomes[int(rng.integers(len(hazard.biomes)))], level)


def draw_scene(seed: int, index: int, size: int, clear: bool = False) -> SampleScene:
    """Draws scene ``index``.

    Args:
        seed: 0 or more.
        index: number of the scene, 0 or more.
        size: edge of the tile in px.
        clear: without clouds, missing data and the shift of the post image, for tiles of a larger scene,
            which has its own.
    """
    recipe = draw_recipe(seed, index)
    rngs = [scene_rng(seed, index, stream) for stream in range(_SKY + 1)]
    sky, side = rngs[_SKY], size + 2 * MARGIN
    blank = texture.draw_blank(sky, side) if whole(sky, 0, 99) < 9 and not clear else None
    plan = draw_plan(rngs[_PLAN], size, recipe.settlement, blank)
    base = ground.paint_ground(rngs[_GROUND], plan, ground.BIOMES[recipe.biome])
    crowns = _crown_colors(rngs[_GROUND], plan, recipe.biome)
    suns = roofs.draw_sun(rngs[_PRE]), roofs.draw_sun(rngs[_POST])
    severity = kinds.severity_field(rngs[_DAMAGE], side)
    grades = kinds.damage_houses(rngs[_DAMAGE], plan.houses, severity, recipe.level)
    pre = base.copy()
    _build_up(rngs[_PRE], pre, plan, suns[0], scene_rng(seed, index, _ROOFS), plan.trees, crowns)
    _hide(pre, blank)
    pre = texture.expose(rngs[_PRE], pre, texture.draw_exposure(rngs[_PRE], False))
    _hide(pre, blank)

    struck = kinds.struck(severity, recipe.level)
    struck[plan.water > 60] = 0
    post = _draw_post(
        rngs, base, plan, suns[1], scene_rng(seed, index, _ROOFS), crowns, recipe.kind, grades, struck
    )
    hidden = np.zeros((side, side), np.uint8)
    if whole(sky, 0, 99) < 24 and not clear:
        hidden = texture.draw_clouds(sky, side, [house.center for house in plan.houses])
        veiled = _veiled(plan.houses, grades, hidden).count(IGNORE_DAMAGE)
        if veiled > 1 and veiled * 8 > len(plan.houses):
            # Thin enough to judge through: few real tiles lose more than some of their buildings.
            hidden = (hidden.astype(np.uint16) * 9 // 16).astype(np.uint8)
        texture.lay_clouds(sky, post, hidden)
    post = texture.expose(rngs[_POST], post, texture.draw_exposure(rngs[_POST], True))
    if blank is None and whole(sky, 0, 99) < 2 and not clear:
        blank = texture.draw_blank(sky, side)
    _hide(post, blank)
    if blank is not None:
        hidden = np.maximum(hidden, blank)
    right, down = (0, 0) if clear else texture.draw_shift(sky)
    cut = slice(MARGIN, MARGIN + size)
    return SampleScene(
        recipe, np.ascontiguousarray(pre[cut, cut]), texture.shifted(post, right, down, MARGIN), plan.houses,
        _veiled(plan.houses, grades, hidden), suns,
    )  # fmt: skip


def _build_up(
    rng: Generator, image: np.ndarray, plan: Plan, sun: Sun, roof_rng: Generator, trees: np.ndarray,
    crowns: np.ndarray,
) -> None:  # fmt: skip
    roofs.park_cars(rng, image, plan.berths, whole(rng, 3, 16))
    roofs.cast_shadows(image, plan.houses, [house.height for house in plan.houses], trees, sun)
    roofs.raise_roofs(roof_rng, image, plan.houses, sun)
    roofs.grow_trees(rng, image, trees, crowns, sun)
    texture.modulate(image, texture.grain(rng, image.shape[:2], 100))


def _draw_post(
    rngs: list[Generator], base: np.ndarray, plan: Plan, sun: Sun, roof_rng: Generator, crowns: np.ndarray,
    kind: str, grades: list[int], struck: np.ndarray,
) -> np.ndarray:  # fmt: skip
    rng, image, shape = rngs[_POST], base.copy(), (plan.side, plan.side)
    # Another day: the land a little greener or drier.
    tint = ((96, 104, 58), (132, 118, 84), (84, 92, 56))[int(rng.integers(3))]
    alpha = texture.value_noise(rng, shape, 90).astype(np.uint16)
    texture.blend(image, tint, (alpha * whole(rng, 0, 56) // 255).astype(np.uint8))
    water = None
    if kind == "flood":
        water = destruction.flood_water(rngs[_DAMAGE], struck, plan.houses, grades)
    destruction.hurt_ground(rngs[_DAMAGE], image, struck, water, kind)
    roofs.park_cars(rng, image, plan.berths, whole(rng, 2, 12))
    trees, crowns = _surviving_trees(rng, plan, crowns, kind, struck)
    # A standing house casts its shadow, a half collapsed one half of it, rubble none.
    shares = (1.0, 1.0, 0.6, 0.0)
    heights = [house.height * shares[grade] for house, grade in zip(plan.houses, grades, strict=True)]
    roofs.cast_shadows(image, plan.houses, heights, trees, sun)
    roofs.raise_roofs(roof_rng, image, plan.houses, sun)
    destruction.wreck(rngs[_DAMAGE], image, plan.houses, grades, kind)
    roofs.grow_trees(rng, image, trees, crowns, sun)
    texture.modulate(image, texture.grain(rng, shape, 100))
    return image


def _crown_colors(rng: Generator, plan: Plan, biome: str) -> np.ndarray:
    palette = np.array(ground.BIOMES[biome].woods, np.int64)
    chosen = palette[rng.integers(0, len(palette), len(plan.trees))]
    return np.clip(chosen * 5 // 4 + rng.integers(-14, 15, (len(plan.trees), 1)), 8, 255)


def _surviving_trees(
    rng: Generator, plan: Plan, crowns: np.ndarray, kind: str, struck: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Trees of the post image: wind fells some, fire scorches them."""
    places = np.clip(np.floor(plan.trees[:, :2]), 0, plan.side - 1).astype(np.intp)
    hurt = struck[places[:, 1], places[:, 0]].astype(np.int64)
    luck = rng.integers(0, 256, len(hurt))
    if kind == "fire":
        scorched = np.array([(58, 46, 36)]) + rng.integers(-8, 9, (len(hurt), 1))
        share = np.where(luck < hurt, 200, 20)[:, None]
        crowns = (crowns * (256 - share) + scorched * share) // 256
    standing = luck * 2 >= hurt if kind == "wind" else luck * 8 >= hurt
    return plan.trees[standing], crowns[standing]


def _hide(image: np.ndarray, blank: np.ndarray | None) -> None:
    if blank is not None:
        image[blank > 0] = 0


def _veiled(houses: list[House], grades: list[int], hidden: np.ndarray) -> list[int]:
    """Grades with un-classified where clouds or missing data cover more than half of the building."""
    veil = (hidden > 150).astype(np.uint8)
    final = []
    for house, grade in zip(houses, grades, strict=True):
        left, top, right, bottom = (min(max(0, v), hidden.shape[0]) for v in house.box)
        mask = np.zeros((bottom - top, right - left), np.uint8)
        cv2.fillPoly(mask, house.pixel_rings(left, top)[:1], 1)
        covered = int(np.count_nonzero(mask & veil[top:bottom, left:right]))
        final.append(IGNORE_DAMAGE if covered * 2 > int(np.count_nonzero(mask)) else grade)
    return final
