"""Street grids: a bent, rotated frame, its streets and the lots along them."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from skyeye_det.sample.texture import cos_sin, uniform, whole


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
