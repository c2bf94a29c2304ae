"""How far the post image of a scene lies off the pre image, by correlation of edges in windows.

Not phase-normalised, which fails where buildings are destroyed. A robust median of the windows counts, where
most of them agree on it; where an affine field fits them clearly better, the field.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from affine import Affine

REACH = 48
"""px, the largest shift that is looked for on each axis."""

SAMPLE = 512
"""px, side of the windows that are compared."""

AGREEING = 3.0
"""px from the median or the field, within which a window agrees."""

MOST_CORRELATED = 0.85
"""Correlation of edges: at most 0.80 between the dates of xBD's pairs, at least 0.89 with a copy that was
resampled or compressed anew."""

_LEAST_PEAK = 0.1
_LEAST_SEEN = 0.85
_RIM = 9  # px, as far as blur and slope reach on both sides
_FIELD_WINDOWS = 8
_FIELD_GAIN, _FIELD_RATIO = 0.5, 2 / 3
"""A field counts with so many agreeing windows, and residuals so many px and so many times smaller."""


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
        dx: px by which the post image is moved to the right, with a field the median of it; 0 where windows
            do not agree.
        dy: downwards.
        agreeing: number of windows within ``AGREEING`` px of the median or the field.
        windows: all of them.
        spread: median distance in px of the agreeing ones from it; NaN of none.
        field: (a, b, c, d, e, f): at x, y on the grid the post image is moved by a + b x + c y to the right
            and by d + e x + f y downwards; None: by dx, dy everywhere.
    """

    dx: float
    dy: float
    agreeing: int
    windows: tuple[WindowShift, ...]
    spread: float
    field: tuple[float, ...] | None = None

    @property
    def is_applied(self) -> bool:
        """Whether most windows agree."""
        return 2 * self.agreeing > len(self.windows)

    @property
    def correlation(self) -> float:
        """Median correlation of the windows' edges, -1..1; NaN where none was compared."""
        return float(np.median([window.peak for window in self.windows])) if self.windows else float("nan")

    @property
    def source(self) -> Affine:
        """From px of the grid to the px of the unmoved post image that is shown there."""
        a, b, c, d, e, f = self.field or (self.dx, 0, 0, self.dy, 0, 0)
        return Affine(1 - b, -c, -a, -e, 1 - f, -d)

    @property
    def residuals(self) -> np.ndarray:
        """float64 (N,), px by which each window says that the moved post image is still off."""
        places, moves = _columns(self.windows)
        return _apart(moves, places, self.field or (self.dx, 0, 0, self.dy, 0, 0))


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
    one, other = (_edges(image, seen) for image in (pre, post))
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
    """The median of windows or a field, and how many agree on it."""
    windows = tuple(found)
    if not windows:
        return STILL
    places, moves = _columns(windows)
    near = np.ones(len(windows), np.bool_)
    for _ in range(2):  # the median of those that agree on the first one
        dx, dy = np.median(moves[near], axis=0).round(3).tolist()  # the same on every machine
        apart = np.hypot(*(moves - (dx, dy)).T)
        if (apart <= AGREEING).any():
            near = apart <= AGREEING
    field = _field(places, moves, apart)
    if field is not None:
        apart = _apart(moves, places, field)
        dx, dy = (moves[apart <= AGREEING]).mean(axis=0).round(3).tolist()
    agreeing = int((apart <= AGREEING).sum())
    spread = float(np.median(apart[apart <= AGREEING])) if agreeing else float("nan")
    if 2 * agreeing <= len(windows):
        dx = dy = 0.0
    return Shift(dx, dy, agreeing, windows, spread, field)


def _field(places: np.ndarray, moves: np.ndarray, apart: np.ndarray) -> tuple[float, ...] | None:
    """An affine field on which most windows agree, closer than on one move; else None."""
    if len(places) < _FIELD_WINDOWS or _breadth(places) < SAMPLE / 2:
        return None
    matrix = cv2.estimateAffine2D(places, places + moves, ransacReprojThreshold=AGREEING)[0]
    if matrix is None:
        return None
    field = (matrix - np.eye(2, 3))[:, [2, 0, 1]]
    for _ in range(2):  # by all that agree, whichever it began with
        near = _apart(moves, places, field) <= AGREEING
        if near.sum() < _FIELD_WINDOWS:
            return None
        field = np.linalg.lstsq(_terms(places[near]), moves[near], rcond=None)[0].T
    field = tuple(float(f"{value:.4g}") for value in field.flat)
    left = _apart(moves, places, field)
    agreeing = int((left <= AGREEING).sum())
    most = max(_FIELD_WINDOWS, len(places) // 2 + 1)
    before, after = np.median(apart), np.median(left)
    clear = after <= before * _FIELD_RATIO and before - after >= _FIELD_GAIN
    return field if agreeing >= most and clear else None


def _breadth(places: np.ndarray) -> float:
    """Standard deviation in px along the narrower axis of places (N, 2)."""
    return float(np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[-1] / len(places) ** 0.5)


def _columns(windows: tuple[WindowShift, ...]) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N, 2) each: middles and moves."""
    each = np.array([(w.x, w.y, w.dx, w.dy) for w in windows], np.float64).reshape(-1, 4)
    return each[:, :2].copy(), each[:, 2:].copy()  # OpenCV takes no views


def _apart(moves: np.ndarray, places: np.ndarray, field: tuple[float, ...]) -> np.ndarray:
    """float64 (N,), px between moves and what a field says at their places."""
    return np.hypot(*(moves - _terms(places) @ np.reshape(field, (2, 3)).T).T)


def _terms(places: np.ndarray) -> np.ndarray:
    """float64 (N, 3): 1, x, y."""
    return np.column_stack([np.ones(len(places)), places])


def _edges(image: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """float32 (h, w); the mean where nothing is seen, whose border is no edge of the ground."""
    gray = cv2.GaussianBlur(image.mean(axis=0).astype(np.float32), (0, 0), 1.0)
    edges = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1))
    inner = cv2.erode(seen.astype(np.uint8), np.ones((_RIM, _RIM), np.uint8), borderValue=1) > 0
    return np.where(inner, edges, edges[inner].mean() if inner.any() else 0).astype(np.float32)


def _vertex(values: np.ndarray) -> float:
    """Place of the maximum of a parabola through three values, -0.5..0.5 from the middle one."""
    left, middle, right = (float(value) for value in values)
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, 0.5 * (left - right) / bend))
