"""Random fields, blends and rotations that give the same numbers on every machine.

Everything here is integer arithmetic, IEEE-exact float64 (one operation at a time), or an OpenCV call that
is exact on uint8. numpy's vectorised sin, exp and pow, BLAS sums, and OpenCV's float filters differ in the
last bit between processors, so none of them is used anywhere in this package.
"""

import math
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.random import PCG64, Generator, SeedSequence

Color = tuple[int, int, int]
"""RGB 0..255."""

SHIFT = 4
"""Fractional bits of the coordinates handed to OpenCV's drawing: 1/16 px."""


def scene_rng(seed: int, index: int, stream: int) -> Generator:
    """Random numbers of one part (``stream``) of scene ``index``, whatever was drawn for the others."""
    return Generator(PCG64(SeedSequence([seed, index, stream])))


def uniform(rng: Generator, low: float, high: float) -> float:
    """One float64 in [low, high)."""
    return low + (high - low) * float(rng.random())


def whole(rng: Generator, low: int, high: int) -> int:
    """One integer in [low, high], both ends included."""
    return int(rng.integers(low, high + 1))


def pick(rng: Generator, weights: Mapping[str, int]) -> str:
    """One key of ``weights``, as often as its whole-number weight says."""
    number = int(rng.integers(sum(weights.values())))
    for name, weight in weights.items():
        number -= weight
        if number < 0:
            return name
    raise AssertionError("weights must be positive")


def pick_color(rng: Generator, palette: tuple[Color, ...], spread: int = 8) -> Color:
    """One colour of ``palette``, lightened or darkened as a whole by up to ``spread``, hue off by up to 4."""
    red, green, blue = palette[int(rng.integers(len(palette)))]
    light = whole(rng, -spread, spread)
    shades = [min(255, max(0, c + light + whole(rng, -4, 4))) for c in (red, green, blue)]
    return shades[0], shades[1], shades[2]


def cos_sin(degrees: int) -> tuple[float, float]:
    """Cosine and sine of whole degrees, rounded so that no C library's last bit shows."""
    angle = math.radians(degrees % 360)
    return round(math.cos(angle), 6), round(math.sin(angle), 6)


def fixed(points: np.ndarray) -> np.ndarray:
    """Float64 px ``(n, 2)`` -> int32 with ``SHIFT`` fractional bits, for OpenCV's drawing."""
    return np.round(points * (1 << SHIFT)).astype(np.int32)


def value_noise(rng: Generator, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Smooth uint8 ``(h, w)`` with features of about ``cell`` px, evenly spread over 0..255.

    Random values on a grid, interpolated in two steps (a single one shows its grid).
    """
    height, width = shape
    step = max(1, cell // 4)
    factor = cell // step
    cell = factor * step
    grid = rng.integers(0, 256, (height // cell + 3, width // cell + 3), dtype=np.uint8)
    rows, columns = grid.shape
    if factor > 1:
        grid = cv2.resize(grid, (columns * factor, rows * factor), interpolation=cv2.INTER_LINEAR_EXACT)
        grid = cv2.GaussianBlur(grid, (5, 5), 0)
    if step > 1:
        grid = cv2.resize(grid, (columns * cell, rows * cell), interpolation=cv2.INTER_LINEAR_EXACT)
    top, left = int(rng.integers(cell)), int(rng.integers(cell))
    return equalized(grid[top : top + height, left : left + width])


def fractal_noise(rng: Generator, shape: tuple[int, int], cell: int, octaves: int = 3) -> np.ndarray:
    """Octaves of ``value_noise``, each half the size and half the weight: uint8 ``(h, w)``, evenly spread."""
    total = np.zeros(shape, np.uint16)
    weight = 1 << (octaves - 1)
    for octave in range(octaves):
        total += value_noise(rng, shape, max(2, cell >> octave)).astype(np.uint16) * np.uint16(
            weight >> octave
        )
    return equalized((total // (2 * weight - 1)).astype(np.uint8))


def equalized(field: np.ndarray) -> np.ndarray:
    """uint8 field with its values spread evenly over 0..255, so a threshold is a share of the area."""
    counts = np.bincount(field.ravel(), minlength=256)
    table = (np.cumsum(counts) - counts // 2) * 255 // field.size
    return table.astype(np.uint8)[field]


def grain(rng: Generator, shape: tuple[int, ...], spread: int) -> np.ndarray:
    """int16 bell-shaped noise about 0 with a standard deviation of about ``spread / 16``."""
    # The sum of four uniform bytes has a standard deviation of 148.
    total = rng.integers(0, 256, shape, dtype=np.uint8).astype(np.int16)
    for _ in range(3):
        total += rng.integers(0, 256, shape, dtype=np.uint8)
    return ((total - 510).astype(np.int32) * spread // 2368).astype(np.int16)


def blend(image: np.ndarray, paint: np.ndarray | Color, alpha: np.ndarray) -> None:
    """Lays ``paint`` over ``image`` in place: 0 leaves it, 255 covers it.

    Args:
        image: uint8 ``(h, w, 3)``.
        paint: uint8 ``(h, w, 3)``, or one colour.
        alpha: uint8 ``(h, w)``.
    """
    weight = alpha.astype(np.uint16)[..., None]
    weight += weight >> 7
    # At most 255 * 256 in all: fits.
    mixed = image * (np.uint16(256) - weight)
    mixed += np.asarray(paint, np.uint16) * weight
    image[...] = mixed >> 8


def modulate(image: np.ndarray, change: np.ndarray) -> None:
    """Scales brightness in place by ``1 + change / 128``; ``change`` is int16 ``(h, w)``, -128..127."""
    gain = np.clip(change + 128, 0, 255).astype(np.uint16)[..., None]
    image[...] = np.minimum((image * gain) >> 7, 255)


def shifted(image: np.ndarray, right: int, down: int, margin: int) -> np.ndarray:
    """``image`` moved by whole sixteenths of a px and cut by ``margin`` on each side.

    Args:
        image: uint8 ``(h, w, 3)``.
        right: sixteenths of a px, at most ``16 * (margin - 1)`` either way.
        down: likewise.
        margin: px cut off each side.
    """
    height, width = image.shape[0] - 2 * margin, image.shape[1] - 2 * margin
    (x, fx), (y, fy) = divmod(-right, 16), divmod(-down, 16)
    total = np.full((height, width, 3), 128, np.uint32)
    for row, row_weight in ((y, 16 - fy), (y + 1, fy)):
        for column, weight in ((x, row_weight * (16 - fx)), (x + 1, row_weight * fx)):
            if weight:
                top, left = margin + row, margin + column
                total += image[top : top + height, left : left + width] * np.uint32(weight)
    return (total >> 8).astype(np.uint8)
