"""Rings whose edges are turned to a main direction and the perpendicular to it, many at once.

The vertices of all rings stand one after the other in one array, and so do the edges: a building has few of
either, and a call of numpy costs more than its work on a few numbers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.targets import Ring

_FEWEST = 4  # edges of a right-angled ring
_TIE = 1e-9  # px; an edge at 45 degrees to the direction counts as along it, whatever its last bit says

_Ints = NDArray[np.int64]


class _Runs:
    """Where each ring's values begin and end, in an array of those of all rings.

    Args:
        counts: (R,), 1 or more each.
    """

    def __init__(self, counts: Sequence[int] | _Ints):
        self.counts = np.asarray(counts, np.int64)
        self.ends = np.cumsum(self.counts)
        self.starts = self.ends - self.counts
        self.ring = np.repeat(np.arange(len(self.counts)), self.counts)
        places = np.arange(len(self.ring))
        self.after, self.before = places + 1, places - 1
        self.after[self.ends - 1], self.before[self.starts] = self.starts, self.ends - 1

    def split(self, values: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        """Those of each ring."""
        bounds = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [values[start:end] for start, end in bounds]


def right_angled_rings(
    rings: Sequence[Ring], directions: NDArray[np.float64], least_step: float = 0.0
) -> list[Ring]:
    """Snaps every edge to its ring's direction or the perpendicular to it.

    Each edge takes the nearer of the two. Neighbours of one direction become one edge, at their mean distance
    weighted by length, so that the area changes little; then the shortest edges are taken out, as far as they
    are shorter than ``least_step``, and the edges beside them join. A ring without four edges left becomes
    its bounding rectangle. Edges turned to a main direction after simplification, and merged where they
    run on, is the common way to regular outlines (Wei, Ji & Lu 2020, IEEE TGRS 58(3), "Toward automatic
    building footprint delineation from aerial images using CNN and regularization").

    Args:
        rings: R rings, float64 (n, 2), px, n of 3 or more.
        directions: (R,) radians.
        least_step: px.

    Returns:
        R rings, float64 (m, 2), m even and at least 4; every corner has a right angle.
    """
    if not len(rings):
        return []
    vertices = _Runs(list(map(len, rings)))
    cos, sin = np.cos(directions), np.sin(directions)
    turned = _turned(np.concatenate(rings), cos[vertices.ring], sin[vertices.ring])
    following = turned[vertices.after]
    steps = np.abs(following - turned)
    along_x = steps[:, 0] > steps[:, 1] - _TIE
    begins = along_x != along_x[vertices.before]
    counts = np.bincount(vertices.ring[begins], minlength=len(rings))
    is_box = counts < _FEWEST
    edges = _Runs(np.maximum(counts, 1))
    number = np.cumsum(begins) - 1 - (np.cumsum(counts) - counts)[vertices.ring]
    edge = edges.starts[vertices.ring] + number % edges.counts[vertices.ring]
    lengths = steps.max(axis=1)
    level = np.where(along_x, turned[:, 1] + following[:, 1], turned[:, 0] + following[:, 0]) / 2
    weights = np.bincount(edge, lengths).astype(np.float64)
    with np.errstate(invalid="ignore"):  # a box has its own levels
        levels = np.bincount(edge, level * lengths) / weights
    each = edges.split(levels)
    is_short = np.abs(levels[edges.after] - levels[edges.before]) < least_step
    has_short = np.bincount(edges.ring[is_short], minlength=len(rings)) > 0
    for index in np.flatnonzero(has_short & ~is_box).tolist():
        part = slice(edges.starts[index], edges.ends[index])
        each[index] = _without_steps(each[index], weights[part], least_step)
    low, high = (fold.reduceat(turned, vertices.starts).tolist() for fold in (np.minimum, np.maximum))
    for index in np.flatnonzero(is_box).tolist():
        (x0, y0), (x1, y1) = low[index], high[index]
        each[index] = np.array([y0, x1, y1, x0])
    # Edges take turns; the first begins where ``begins`` is first true, and steps go in twos.
    first = np.lexsort((~begins, vertices.ring))[vertices.starts]
    first_along_x = along_x[first] | is_box
    corners = _Runs(list(map(len, each)))
    levels = np.concatenate(each)
    before = levels[corners.before]
    is_x = ((np.arange(len(levels)) - corners.starts[corners.ring]) % 2 == 0) == first_along_x[corners.ring]
    placed = np.where(is_x[:, None], np.stack([before, levels], 1), np.stack([levels, before], 1))
    return corners.split(_turned(placed, cos[corners.ring], -sin[corners.ring]))


def main_directions(rings: Sequence[Ring]) -> NDArray[np.float64]:
    """Direction, -pi/4..pi/4, that each ring's edges lie along or across: mean of their angles, four-fold.

    The continuous form of a histogram of edge angles modulo 90 degrees, weighted by squared length: long
    walls count, the stairs of a raster do not. Gives (R,) float64 of R rings.
    """
    if not len(rings):
        return np.zeros(0)
    runs, vertices = _Runs(list(map(len, rings))), np.concatenate(rings)
    edges = vertices[runs.after] - vertices
    direction = edges[:, 0] + 1j * edges[:, 1]
    length = np.abs(direction)
    return np.angle(np.add.reduceat(direction**4 / np.maximum(length, 1e-9) ** 2, runs.starts)) / 4


def _turned(points: Ring, cos: NDArray[np.float64], sin: NDArray[np.float64]) -> Ring:
    x, y = points.T
    return np.stack([x * cos + y * sin, y * cos - x * sin], axis=1)


def _without_steps(levels: Ring, weights: Ring, least_step: float) -> Ring:
    """Takes out edges shorter than ``least_step``, the shortest first; the two beside each become one."""
    while len(levels) > _FEWEST:
        lengths = np.abs(np.roll(levels, -1) - np.roll(levels, 1))
        shortest = int(lengths.argmin())
        if lengths[shortest] >= least_step:
            break
        # Rolled by an even number, the edge before the shortest is the first or the second.
        place = 1 - shortest % 2
        shift = place + 1 - shortest
        levels, weights = np.roll(levels, shift), np.roll(weights, shift)
        pair = [place, place + 2]
        levels[place], weights[place] = np.average(levels[pair], weights=weights[pair]), weights[pair].sum()
        levels, weights = (np.delete(values, [place + 1, place + 2]) for values in (levels, weights))
    return levels
