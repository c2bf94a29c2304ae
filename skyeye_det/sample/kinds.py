"""Kinds of settlement and of disaster: how plots, buildings and roofs are drawn, and which of them are hit.

Lengths are px of about 0.5 m.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from skyeye_det.damage import DamageClass
from skyeye_det.sample import texture
from skyeye_det.sample.streets import House
from skyeye_det.sample.texture import Color, cos_sin, whole

GREY_ROOFS: tuple[Color, ...] = (
    (122, 117, 110), (98, 94, 90), (142, 134, 124), (112, 100, 88), (84, 80, 78), (152, 148, 142),
)  # fmt: skip
TILE_ROOFS: tuple[Color, ...] = ((146, 98, 80), (132, 88, 74), (156, 112, 92), (126, 98, 84))
PALE_ROOFS: tuple[Color, ...] = (
    (214, 212, 206), (190, 188, 182), (226, 224, 220), (170, 168, 160), (198, 188, 172),
)  # fmt: skip
METAL_ROOFS: tuple[Color, ...] = (
    (150, 162, 172), (168, 172, 172), (126, 136, 130), (190, 196, 198), (140, 112, 98),
)  # fmt: skip


@dataclass(frozen=True)
class Settlement:
    """What a stretch of built-up land looks like; ranges are (low, high) in px."""

    rows: tuple[int, int]  # distance of the streets in v
    crosses: tuple[int, int]  # distance of the cross streets in u
    street: float  # width
    lot: tuple[int, int]  # width of a plot
    fill: tuple[float, float]  # share of the plot's width that the house takes
    depth: tuple[int, int]  # of the house
    setback: tuple[int, int]  # from the street's edge to the house
    built: int  # percentage of the plots with a house
    land: tuple[int, int]  # percentage of the canvas that is built up at all
    yard_trees: int  # percentage of the plots' tree places taken
    sheds: int  # percentage of the plots with a second, small building
    paved: bool  # plots are concrete and dust, not lawn
    height: tuple[int, int]  # of the buildings
    bent: bool  # streets may bend
    shapes: dict[str, int]  # weights
    roofs: dict[str, int]  # weights
    palettes: tuple[tuple[Color, ...], ...]  # roof colours; one of them for a whole scene


_MIXED = GREY_ROOFS * 3 + PALE_ROOFS * 2 + TILE_ROOFS + METAL_ROOFS

SETTLEMENTS = {
    "suburb": Settlement(
        rows=(102, 132), crosses=(190, 360), street=13, lot=(40, 60), fill=(0.58, 0.86), depth=(23, 39),
        setback=(8, 14), built=92, land=(50, 90), yard_trees=42, sheds=34, paved=False, height=(5, 9),
        bent=True, shapes={"block": 30, "ell": 50, "tee": 14, "horseshoe": 6},
        roofs={"gable": 48, "hip": 42, "flat": 10},
        palettes=(GREY_ROOFS * 8 + PALE_ROOFS * 2 + METAL_ROOFS, GREY_ROOFS * 5 + TILE_ROOFS, _MIXED,
                  TILE_ROOFS * 5 + _MIXED),
    ),
    "trailers": Settlement(
        rows=(88, 108), crosses=(180, 300), street=10, lot=(22, 32), fill=(0.44, 0.62), depth=(26, 40),
        setback=(5, 9), built=84, land=(35, 60), yard_trees=24, sheds=10, paved=False, height=(4, 6),
        bent=False, shapes={"block": 88, "tee": 6, "ell": 6}, roofs={"gable": 40, "flat": 30, "ribbed": 30},
        palettes=(PALE_ROOFS * 3 + METAL_ROOFS * 2 + GREY_ROOFS, _MIXED),
    ),
    "dense": Settlement(
        rows=(84, 98), crosses=(150, 260), street=11, lot=(22, 48), fill=(0.86, 0.97), depth=(26, 40),
        setback=(2, 5), built=95, land=(60, 88), yard_trees=14, sheds=20, paved=True, height=(7, 16),
        bent=False, shapes={"block": 46, "ell": 26, "horseshoe": 18, "courtyard": 10},
        roofs={"flat": 66, "gable": 18, "ribbed": 10, "hip": 6},
        palettes=(PALE_ROOFS * 3 + TILE_ROOFS * 4 + GREY_ROOFS,
                  PALE_ROOFS * 4 + GREY_ROOFS * 2 + METAL_ROOFS),
    ),
    "works": Settlement(
        rows=(230, 290), crosses=(300, 460), street=18, lot=(90, 170), fill=(0.5, 0.8), depth=(42, 84),
        setback=(14, 26), built=82, land=(45, 75), yard_trees=12, sheds=30, paved=True, height=(9, 18),
        bent=False, shapes={"block": 56, "ell": 20, "courtyard": 12, "horseshoe": 12},
        roofs={"flat": 60, "ribbed": 30, "gable": 10},
        palettes=(PALE_ROOFS * 2 + METAL_ROOFS * 2 + GREY_ROOFS,),
    ),
    "village": Settlement(
        rows=(300, 420), crosses=(330, 560), street=11, lot=(66, 120), fill=(0.28, 0.48), depth=(18, 38),
        setback=(14, 46), built=66, land=(55, 85), yard_trees=60, sheds=46, paved=False, height=(5, 8),
        bent=True, shapes={"block": 52, "ell": 36, "tee": 12}, roofs={"gable": 60, "ribbed": 24, "hip": 16},
        palettes=(_MIXED, GREY_ROOFS * 3 + PALE_ROOFS + METAL_ROOFS * 3),
    ),
    "empty": Settlement(
        rows=(420, 700), crosses=(500, 900), street=10, lot=(90, 150), fill=(0.3, 0.4), depth=(20, 30),
        setback=(14, 40), built=0, land=(0, 20), yard_trees=40, sheds=0, paved=False, height=(5, 8),
        bent=True, shapes={"block": 1}, roofs={"gable": 1}, palettes=(GREY_ROOFS,),
    ),
}  # fmt: skip
"""Name -> settlement. ``empty`` has a few roads at most and no buildings."""


@dataclass(frozen=True)
class Hazard:
    """One kind of disaster as the labels and the tools name it."""

    event: str
    disaster_type: str
    biomes: tuple[str, ...]
    town: tuple[str, ...]


HAZARDS = {
    "wind": Hazard("sample-wind", "wind", ("temperate", "tropical"), ("works", "trailers", "dense")),
    "fire": Hazard("sample-fire", "fire", ("dry", "temperate"), ("works", "dense", "trailers")),
    "flood": Hazard("sample-flood", "flooding", ("temperate", "tropical"), ("dense", "works", "trailers")),
    "quake": Hazard("sample-quake", "earthquake", ("dry", "tropical"), ("dense", "dense", "works")),
}
"""Kind of damage -> event."""

SHARES = {"light": (92, 7, 1, 0), "edge": (59, 16, 14, 11), "heavy": (26, 19, 24, 31)}
"""How hard a tile is hit -> percentage of its buildings in each grade, no-damage to destroyed."""


def severity_field(rng: Generator, side: int) -> np.ndarray:
    """uint8 ``(side, side)``, evenly spread: rises across the tile toward the disaster, with patches."""
    cos, sin = cos_sin(whole(rng, 0, 359))
    rows = np.arange(side, dtype=np.int32) - side // 2
    slope = rows[None, :] * int(cos * 1024) + rows[:, None] * int(sin * 1024)
    ramp = np.clip(slope // (8 * side) + 128, 0, 255)
    patches = texture.fractal_noise(rng, (side, side), max(48, side // 5), 3).astype(np.int32)
    return texture.equalized(((ramp * 5 + patches * 4) // 9).astype(np.uint8))


def grade_houses(rng: Generator, houses: list[House], severity: np.ndarray, level: str) -> list[int]:
    """Damage 0..3 of every building, in ``SHARES[level]``: by rank of the severity at its place, and luck."""
    if not houses:
        return []
    centers = np.array([house.center for house in houses])
    places = np.clip(np.floor(centers), 0, severity.shape[0] - 1).astype(np.intp)
    luck = rng.integers(-44, 45, len(houses))
    strength = severity[places[:, 1], places[:, 0]].astype(np.int64) + luck
    rank = np.empty(len(houses), np.int64)
    rank[np.argsort(strength, kind="stable")] = np.arange(len(houses))
    # Half a rank at random, so that a lone building is not always spared.
    percent = (rank * 100 + rng.integers(0, 100, len(houses))) // len(houses)
    limits = np.cumsum(SHARES[level])[: int(DamageClass.DESTROYED)]
    return np.searchsorted(limits, percent, side="right").tolist()


def struck(severity: np.ndarray, level: str) -> np.ndarray:
    """How much the ground suffered: uint8 0..255, 0 over about the share of undamaged buildings."""
    spared = SHARES[level][0] * 255 // 100
    return np.clip((severity.astype(np.int32) - spared) * 4, 0, 255).astype(np.uint8)
