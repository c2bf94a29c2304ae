"""Outlines and roof wings of single buildings."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from skyeye_det.sample.texture import Color, uniform

Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class House:
    """One building, in canvas px.

    Attributes:
        rings: float64 ``(n, 2)``: the outline, then its courtyard if it has one; first vertex not repeated.
        wings: float64 ``(4, 2)`` rectangles that the roof is built of; corners 0 -> 1 run along the ridge.
        roof: ``"gable"``, ``"hip"``, ``"flat"`` or ``"ribbed"``.
        color: RGB of the roof.
        height: px that its shadow is long at a sun elevation of 45 degrees.
    """

    rings: tuple[np.ndarray, ...]
    wings: tuple[np.ndarray, ...]
    roof: str
    color: Color
    height: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom in whole px, all pixels of the outline inside."""
        low, high = self.rings[0].min(0), self.rings[0].max(0)
        return int(low[0]) - 1, int(low[1]) - 1, int(high[0]) + 2, int(high[1]) + 2

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the bounding box, px."""
        low, high = self.rings[0].min(0), self.rings[0].max(0)
        return float(low[0] + high[0]) / 2, float(low[1] + high[1]) / 2

    def pixel_rings(self, left: int = 0, top: int = 0) -> list[np.ndarray]:
        """Rings in whole px by the official rounding, seen from ``(left, top)``: int32 ``(n, 2)``."""
        return [np.round(ring).astype(np.int32) - np.array([left, top], np.int32) for ring in self.rings]


def outline(rng: Generator, shape: str, width: float, depth: float) -> tuple[list[list], list[Rect]]:
    """Rings and wings of a building about (0, 0), in px.

    Args:
        rng: draws the cuts and which way round it stands.
        shape: ``"block"``, ``"ell"``, ``"tee"``, ``"horseshoe"``, ``"zed"`` or ``"courtyard"``.
        width: px along the street.
        depth: px away from it.
    """
    x, y = width / 2, depth / 2
    # Where the cut begins, as a share of the half width and half depth.
    p, q = x * uniform(rng, -0.35, 0.35), y * uniform(rng, -0.3, 0.3)
    if shape == "ell":
        rings = [[(-x, -y), (x, -y), (x, q), (p, q), (p, y), (-x, y)]]
        wings = [(-x, -y, x, q), (-x, -y, p, y)]
    elif shape == "tee":
        a, b = -x * uniform(rng, 0.3, 0.65), x * uniform(rng, 0.3, 0.65)
        rings = [[(-x, -y), (x, -y), (x, q), (b, q), (b, y), (a, y), (a, q), (-x, q)]]
        wings = [(-x, -y, x, q), (a, q - (q + y) / 2, b, y)]
    elif shape == "horseshoe":
        a, b = -x * uniform(rng, 0.25, 0.45), x * uniform(rng, 0.25, 0.45)
        rings = [[(-x, -y), (x, -y), (x, y), (b, y), (b, q), (a, q), (a, y), (-x, y)]]
        wings = [(-x, -y, x, q), (-x, -y, a, y), (b, -y, x, y)]
    elif shape == "zed":
        step = y * uniform(rng, 0.2, 0.45)
        rings = [
            [(-x, -y), (p, -y), (p, step - y), (x, step - y), (x, y), (p, y), (p, y - step), (-x, y - step)]
        ]
        wings = [(-x, -y, p, y - step), (p, step - y, x, y)]
    elif shape == "courtyard":
        a, b = x * uniform(rng, 0.3, 0.5), y * uniform(rng, 0.3, 0.5)
        rings = [[(-x, -y), (x, -y), (x, y), (-x, y)], [(-a, -b), (-a, b), (a, b), (a, -b)]]
        wings = [(-x, -y, x, -b), (-x, b, x, y), (-x, -b, -a, b), (a, -b, x, b)]
    else:
        rings = [[(-x, -y), (x, -y), (x, y), (-x, y)]]
        wings = [(-x, -y, x, y)]
    return rings, wings


def build(
    rng: Generator,
    shape: str,
    size: tuple[float, float],
    place: tuple[float, float],
    direction: tuple[float, float],
    looks: tuple[str, Color, float],
) -> House:
    """A building on its place.

    Args:
        rng: draws cuts and mirroring.
        shape: see ``outline``.
        size: width along ``direction`` and depth, px.
        place: centre, canvas px.
        direction: unit vector of the width.
        looks: roof, colour, height of ``House``.
    """
    rings, wings = outline(rng, shape, *size)
    flip = np.where(rng.integers(0, 2, 2) == 1, 1.0, -1.0)
    across = (-direction[1], direction[0])

    def placed(points: list) -> np.ndarray:
        local = np.array(points, np.float64) * flip
        x = place[0] + local[:, 0] * direction[0] + local[:, 1] * across[0]
        y = place[1] + local[:, 0] * direction[1] + local[:, 1] * across[1]
        return np.round(np.stack([x, y], 1), 3)

    quads = []
    for x0, y0, x1, y1 in wings:
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
        if x1 - x0 < y1 - y0:
            corners = corners[1:] + corners[:1]
        quads.append(placed(corners))
    roof, color, height = looks
    return House(tuple(placed(ring) for ring in rings), tuple(quads), roof, color, height)
