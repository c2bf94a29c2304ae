"""Where a disaster strikes: its field of severity and the damage grade of every building."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from skyeye_det.damage import DamageClass
from skyeye_det.sample import texture
from skyeye_det.sample.footprints import House
from skyeye_det.sample.texture import cos_sin, whole


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
