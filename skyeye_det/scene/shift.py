"""How far the post image of a scene lies off the pre image, by correlation of edges in windows.

Not phase-normalised, which fails where buildings are destroyed. A robust median of the windows counts, where
most of them agree on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

REACH = 48
"""px, the largest shift that is looked for on each axis."""

SAMPLE = 512
"""px, side of the windows that are compared."""

AGREEING = 3.0
"""px from the median, within which a window agrees."""

_LEAST_PEAK = 0.05
_LEAST_SEEN = 0.9


@dataclass(frozen=True)
class WindowShift:
    """What one window says.

    Attributes:
        x: column of its middle on the grid, px.
        y: row.
        dx: px by which the post image is to be moved to the right.
        dy: downwards.
        peak: correlation there, -1..1.
    """

    x: float
    y: float
    dx: float
    dy: float
    peak: float


@dataclass(frozen=True)
class Shift:
    """What all windows say together.

    Attributes:
        dx: px by which the post image is moved to the right; 0 where windows do not agree.
        dy: downwards.
        agreeing: number of windows within ``AGREEING`` px of the median.
        windows: all of them.
        spread: median distance in px of the agreeing ones from it; NaN of none.
    """

    dx: float
    dy: float
    agreeing: int
    windows: tuple[WindowShift, ...]
    spread: float

    @property
    def is_applied(self) -> bool:
        """Whether most windows agree."""
        return 2 * self.agreeing > len(self.windows)


STILL = Shift(0.0, 0.0, 0, (), float("nan"))
"""Of a scene in which nothing was compared."""


def window_shift(
    pre: np.ndarray, post: np.ndarray, seen: np.ndarray, middle: tuple[float, float]
) -> WindowShift | None:
    """Compares one window.

    Args:
        pre: uint8 (3, h, w).
        post: the same ground.
        seen: bool (h, w), where both show something.
        middle: (x, y) of the window on the grid, px.

    Returns:
        None where too little is seen, or no place stands out.
    """
    if seen.mean() < _LEAST_SEEN or min(seen.shape) < 4 * REACH:
        return None
    one, other = (_edges(image) for image in (pre, post))
    inner = other[REACH:-REACH, REACH:-REACH]
    if not inner.std() or not one.std():
        return None
    scores = cv2.matchTemplate(one, inner, cv2.TM_CCOEFF_NORMED)
    _, peak, _, (column, row) = cv2.minMaxLoc(scores)
    if peak < _LEAST_PEAK or not (0 < column < 2 * REACH and 0 < row < 2 * REACH):
        return None
    dx = column - REACH + _vertex(scores[row, column - 1 : column + 2])
    dy = row - REACH + _vertex(scores[row - 1 : row + 2, column])
    return WindowShift(*middle, float(dx), float(dy), float(peak))


def agreed_shift(found: Iterable[WindowShift]) -> Shift:
    """The median of windows, and how many agree on it."""
    windows = tuple(found)
    if not windows:
        return STILL
    moves = np.array([(each.dx, each.dy) for each in windows])
    for _ in range(2):  # the median of those that agree on the first one
        middle = np.median(moves, axis=0)
        apart = np.hypot(*(np.array([(w.dx, w.dy) for w in windows]) - middle).T)
        near = apart <= AGREEING
        if near.any():
            moves = np.array([(w.dx, w.dy) for w in windows])[near]
    agreeing = int(near.sum())
    applied = 2 * agreeing > len(windows)
    dx, dy = middle.round(3).tolist() if applied else (0.0, 0.0)  # the same on every machine
    return Shift(dx, dy, agreeing, windows, float(np.median(apart[near])) if agreeing else float("nan"))


def _edges(image: np.ndarray) -> np.ndarray:
    gray = cv2.GaussianBlur(image.mean(axis=0).astype(np.float32), (0, 0), 1.0)
    return np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)).astype(np.float32)


def _vertex(values: np.ndarray) -> float:
    """Place of the maximum of a parabola through three values, -0.5..0.5 from the middle one."""
    left, middle, right = (float(value) for value in values)
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (left - right) / bend))
