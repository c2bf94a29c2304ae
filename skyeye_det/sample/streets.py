"""Street grids with the lots along them, and the outlines and roof wings of the buildings there."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from skyeye_det.sample.texture import Color, cos_sin, uniform, whole

Rect = tuple[float, float, float, float]


@dataclass(frozen=True)
class Frame:
    """Street coordinates (u along the rows of houses, v across them) on the canvas, in px.

    Rotated by whole degrees about ``origin`` and bent into parabolas, which needs no trigonometry per point.
    """

    origin: tuple[float, float]
    cos: float
    sin: float
    bend: tuple[float, float]

    def to_canvas(self, points: np.ndarray) -> np.ndarray:
        """Float64 ``(n, 2)`` of (u, v) -> float64 ``(n, 2)`` of canvas (x, y)."""
        u = points[:, 0] + self.bend[0] * points[:, 1] * points[:, 1]
        v = points[:, 1] + self.bend[1] * points[:, 0] * points[:, 0]
        x = self.origin[0] + self.cos * u - self.sin * v
        y = self.origin[1] + self.sin * u + self.cos * v
        return np.stack([x, y], 1)

    def place(self, u: float, v: float) -> tuple[float, float]:
        """Canvas (x, y) of one point."""
        x, y = self.to_canvas(np.array([(u, v)]))[0].tolist()
        return x, y

    def along(self, u: float, v: float) -> tuple[float, float]:
        """Unit vector on the canvas in which u grows at (u, v)."""
        ends = self.to_canvas(np.array([(u - 1.0, v), (u + 1.0, v)]))
        step = ends[1] - ends[0]
        length = float(np.sqrt(step[0] * step[0] + step[1] * step[1]))
        return float(step[0]) / length, float(step[1]) / length

    def line(self, start: tuple[float, float], end: tuple[float, float], points: int = 12) -> np.ndarray:
        """Canvas points of the (bent) line between two (u, v): float64 ``(points, 2)``."""
        share = np.arange(points) / (points - 1)
        u = start[0] + (end[0] - start[0]) * share
        v = start[1] + (end[1] - start[1]) * share
        return self.to_canvas(np.stack([u, v], 1))


def draw_frame(rng: Generator, side: int, bent: bool) -> Frame:
    """A frame for a canvas of ``side`` px."""
    # Bends are curvatures: 0.0003 / px moves a street by 75 px over 500 px.
    strength = 0.00035 if bent else 0.00004
    cos, sin = cos_sin(whole(rng, 0, 359))
    origin = (side * uniform(rng, 0.3, 0.7), side * uniform(rng, 0.3, 0.7))
    return Frame(origin, cos, sin, (uniform(rng, -strength, strength), uniform(rng, -strength, strength)))


@dataclass(frozen=True)
class Lot:
    """A building plot at a street: u range, v of the street's edge, the side it lies on, depth, all px."""

    u0: float
    u1: float
    edge: float
    side: int
    depth: float

    def point(self, u_share: float, depth: float) -> tuple[float, float]:
        """(u, v) at a share of the lot's width and px from the street's edge."""
        return self.u0 + (self.u1 - self.u0) * u_share, self.edge + self.side * depth

    def area(self, left: float, right: float, near: float, far: float) -> np.ndarray:
        """Float64 ``(4, 2)`` of (u, v): from one share of the width to another, and depth to depth in px."""
        corners = ((left, near), (right, near), (right, far), (left, far))
        return np.array([self.point(share, depth) for share, depth in corners])


@dataclass(frozen=True)
class Grid:
    """Positions of the streets in u (cross streets) and v (rows), ascending, px."""

    frame: Frame
    u_lines: tuple[float, ...]
    v_lines: tuple[float, ...]
    width: float

    def segments(self) -> list[tuple[int, int]]:
        """Every stretch of a row street between two cross streets: (index in v, index in u)."""
        return [(j, k) for j in range(len(self.v_lines)) for k in range(len(self.u_lines) - 1)]

    def row(self, j: int, k: int) -> np.ndarray:
        """Canvas points of the row street's stretch."""
        v = self.v_lines[j]
        return self.frame.line((self.u_lines[k], v), (self.u_lines[k + 1], v))

    def cross(self, j: int, k: int) -> np.ndarray:
        """Canvas points of the cross street between row ``j`` and ``j + 1``."""
        return self.frame.line((self.u_lines[k], self.v_lines[j]), (self.u_lines[k], self.v_lines[j + 1]))

    def lots(self, rng: Generator, j: int, k: int, widths: tuple[int, int]) -> list[Lot]:
        """Plots on both sides of a stretch, each as wide as ``widths`` (px) allows."""
        lots = []
        for side in (-1, 1):
            beyond = j + side
            gap = abs(self.v_lines[beyond] - self.v_lines[j]) if 0 <= beyond < len(self.v_lines) else 120.0
            depth = gap / 2 - self.width / 2
            u, end = self.u_lines[k] + self.width / 2 + 3, self.u_lines[k + 1] - self.width / 2 - 3
            while (wide := uniform(rng, *widths)) + u <= end:
                lots.append(Lot(u, u + wide, self.v_lines[j] + side * self.width / 2, side, depth))
                u += wide
        return lots


def draw_grid(
    rng: Generator, frame: Frame, side: int, rows: tuple[int, int], crosses: tuple[int, int], width: float
) -> Grid:
    """Streets ``rows`` px apart in v and ``crosses`` px apart in u, enough to cover the canvas."""
    reach = side * 0.95 + 60

    def lines(spacing: tuple[int, int]) -> tuple[float, ...]:
        positions = [-reach + uniform(rng, 0, spacing[1])]
        while positions[-1] < reach:
            positions.append(positions[-1] + uniform(rng, *spacing))
        return tuple(positions)

    return Grid(frame, lines(crosses), lines(rows), width)


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
    """Rings and wings of a building about (0, 0): ``width`` px along the street, ``depth`` px away from it.

    ``shape`` is ``"block"``, ``"ell"``, ``"tee"``, ``"horseshoe"`` or ``"courtyard"``.
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
    """A building on its place: see ``outline``; ``direction`` is the unit vector of the width.

    ``place`` is the centre in canvas px, ``looks`` roof, colour and height of ``House``.
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
