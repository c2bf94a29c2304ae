"""Random fields and blends that give the same numbers on every machine; and what the sensor does to an image.

Everything here is integer arithmetic, IEEE-exact float64 (one operation at a time), or an OpenCV call that
is exact on uint8. numpy's vectorised sin, exp and pow, BLAS sums, and OpenCV's float filters differ in the
last bit between processors, so none of them is used anywhere in this package.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
        field = value_noise(rng, shape, max(2, cell >> octave)).astype(np.uint16)
        total += field * np.uint16(weight >> octave)
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
    """Lays ``paint`` over ``image``, uint8 ``(h, w, 3)``, in place by ``alpha``, uint8 ``(h, w)``."""
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
    """``image``, uint8 ``(h, w, 3)``, moved by sixteenths of a px and cut by ``margin`` px on each side.

    ``right`` and ``down`` are at most ``16 * (margin - 1)`` either way.
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


@dataclass(frozen=True)
class Exposure:
    """How one image is taken."""

    gain: tuple[int, int, int]  # brightness of red, green, blue in 1/256
    lift: int  # 0..255 added to black, by the air's scatter
    haze: int  # strongest share of white haze, 0..255
    noise: int  # of the sensor, standard deviation in 1/16


def draw_exposure(rng: Generator, hazy: bool) -> Exposure:
    """An exposure; ``hazy`` ones have more air in them, as images after a disaster often do."""
    light = whole(rng, 192, 276)
    gain = (light + whole(rng, -14, 10), light + whole(rng, -6, 8), light + whole(rng, -14, 8))
    haze = whole(rng, 20, 84) if hazy and whole(rng, 0, 2) == 0 else whole(rng, 0, 22)
    return Exposure(gain, whole(rng, 0, 10), haze, whole(rng, 22, 52))


def draw_shift(rng: Generator) -> tuple[int, int]:
    """Misregistration of the post image, 0 to 6 px in any direction: (right, down) in 1/16 px."""
    length = uniform(rng, 0.0, 6.0)
    cos, sin = cos_sin(whole(rng, 0, 359))
    return round(length * cos * 16), round(length * sin * 16)


def expose(rng: Generator, image: np.ndarray, exposure: Exposure) -> np.ndarray:
    """The image as the sensor sees it: uint8 ``(h, w, 3)``, same shape as ``image``."""
    shape = image.shape[:2]
    if exposure.haze:
        drift = fractal_noise(rng, shape, 220, 3).astype(np.uint16)
        veil = ((drift + 64) * np.uint16(exposure.haze) // 320).astype(np.uint8)
        blend(image, (188, 192, 196), veil)
    softness = 5 if whole(rng, 0, 5) == 0 else 3
    image = cv2.GaussianBlur(image, (softness, softness), 0)
    levels = np.arange(256)
    curves = [np.clip(levels * gain // 256 + exposure.lift, 0, 255) for gain in exposure.gain]
    noise = grain(rng, shape, exposure.noise)
    channels = [curve[image[..., c]].astype(np.int16) + noise for c, curve in enumerate(curves)]
    return np.clip(np.stack(channels, -1), 0, 255).astype(np.uint8)


def draw_clouds(rng: Generator, side: int, places: list[tuple[float, float]]) -> np.ndarray:
    """One to three clouds, the first near one of ``places`` (px): opacity uint8 ``(side, side)``."""
    puffs = np.zeros((side, side), np.uint8)
    for number in range(whole(rng, 1, 2)):
        x, y = whole(rng, 0, side - 1), whole(rng, 0, side - 1)
        if number == 0 and places:
            x, y = (int(c) for c in places[int(rng.integers(len(places)))])
        for _ in range(whole(rng, 2, 5)):
            reach = side // 16 + 12
            spot = x + whole(rng, -reach, reach), y + whole(rng, -reach, reach)
            cv2.circle(puffs, spot, whole(rng, side // 30 + 8, side // 18 + 12), 255, -1)
    soft = cv2.GaussianBlur(cv2.GaussianBlur(puffs, (61, 61), 0), (61, 61), 0).astype(np.int32)
    wisps = fractal_noise(rng, (side, side), 110, 5).astype(np.int32)
    return np.clip(soft * (wisps + 150) // 210 - 24, 0, 244).astype(np.uint8)


def lay_clouds(rng: Generator, image: np.ndarray, opacity: np.ndarray) -> None:
    """Covers ``image`` in place with clouds and their shadow beside them."""
    shadow = np.roll(opacity, (whole(rng, 20, 50), whole(rng, -40, 40)), (0, 1))
    blend(image, (26, 30, 36), (shadow.astype(np.uint16) * 3 // 8).astype(np.uint8))
    white = np.empty_like(image)
    white[...] = (226, 228, 230)
    modulate(white, (fractal_noise(rng, opacity.shape, 56).astype(np.int16) - 150) // 8)
    blend(image, white, opacity)


def draw_blank(rng: Generator, side: int) -> np.ndarray:
    """The side of a tile that the satellite's strip did not cover: uint8 ``(side, side)``, 255 there."""
    cos, sin = cos_sin(whole(rng, 0, 3) * 90 + whole(rng, -9, 9))
    rows = np.arange(side, dtype=np.int64) - side // 2
    across = rows[None, :] * round(cos * 4096) + rows[:, None] * round(sin * 4096)
    return np.where(across > side * whole(rng, 10, 38) * 4096 // 100, 255, 0).astype(np.uint8)
