"""A fixed set of made-up outlines, and the hash of their fills that every allowed OpenCV must give."""

import hashlib
import math
import random
from collections.abc import Callable

import cv2
import numpy as np

from skyeye_det.data.targets import Parts, fill_polygons

GOLDEN = "af391b3a86ae5dff1aebe218598211fac2cfa52cd58854278b51a620c8d44e60"
"""sha256 of the fills: those of OpenCV 4.7.0's own ``cv2.fillPoly``, which gives the official targets."""

CASES = 200
"""Outlines of each form."""

Points = list[tuple[float, float]]


def outlines() -> list[tuple[Parts, tuple[int, int]]]:
    """(parts, (height, width)) of every form; ``random.Random`` draws the same on every platform."""
    forms = (_simple, _crossing_itself, _beyond_the_border, _one_pixel, _with_holes, _on_halves, _far_out)
    found = []
    for number, form in enumerate(forms):
        draw = random.Random(number)
        for _ in range(CASES):
            shape = draw.randrange(1, 60), draw.randrange(1, 60)
            parts = tuple(
                tuple(np.array(ring, np.float64) for ring in form(draw.uniform))
                for _ in range(draw.choice((1, 1, 2)))
            )
            found.append((parts, shape))
    return found


def hash_of_fills(fill: Callable[[Parts, tuple[int, int]], np.ndarray] = fill_polygons) -> str:
    """sha256 over all masks, uint8 0/1."""
    total = hashlib.sha256()
    for parts, shape in outlines():
        total.update(np.ascontiguousarray(fill(parts, shape)).tobytes())
    return total.hexdigest()


def fill_by_opencv(parts: Parts, shape: tuple[int, int]) -> np.ndarray:
    """What ``cv2.fillPoly`` alone makes of it: the official pixels with OpenCV up to 4.7 only."""
    mask = np.zeros(shape, np.uint8)
    for polygon in parts:
        cv2.fillPoly(mask, [np.floor(ring + 0.5).astype(np.int32) for ring in polygon], 1)
    return mask


def _star(uniform: Callable[[float, float], float], x: float, y: float, radius: float) -> Points:
    angles = sorted(uniform(0, 2 * math.pi) for _ in range(3 + int(uniform(0, 9))))
    radii = [uniform(0.2, 1) * radius for _ in angles]
    # Rounded to 1/8 px: the last bits of sin and cos differ between C libraries.
    return [
        (round(8 * (x + r * math.cos(a))) / 8, round(8 * (y + r * math.sin(a))) / 8)
        for a, r in zip(angles, radii, strict=True)
    ]


def _simple(uniform: Callable[[float, float], float]) -> list[Points]:
    return [_star(uniform, uniform(15, 45), uniform(15, 45), 15)]


def _crossing_itself(uniform: Callable[[float, float], float]) -> list[Points]:
    return [[(uniform(0, 60), uniform(0, 60)) for _ in range(3 + int(uniform(0, 9)))]]


def _beyond_the_border(uniform: Callable[[float, float], float]) -> list[Points]:
    return [[(uniform(-40, 100), uniform(-40, 100)) for _ in range(2 + int(uniform(0, 9)))]]


def _one_pixel(uniform: Callable[[float, float], float]) -> list[Points]:
    x, y = uniform(-2, 61), uniform(-2, 61)
    return [[(x + uniform(0, 0.4), y + uniform(0, 0.4)) for _ in range(1 + int(uniform(0, 4)))]]


def _with_holes(uniform: Callable[[float, float], float]) -> list[Points]:
    x, y = uniform(-10, 70), uniform(-10, 70)
    return [_star(uniform, x, y, 40), *(_star(uniform, x, y, 8) for _ in range(int(uniform(1, 4))))]


def _on_halves(uniform: Callable[[float, float], float]) -> list[Points]:
    return [[(int(uniform(-8, 140)) / 2, int(uniform(-8, 140)) / 2) for _ in range(3 + int(uniform(0, 9)))]]


def _far_out(uniform: Callable[[float, float], float]) -> list[Points]:
    reach = 2 ** uniform(6, 20)
    return [[(uniform(-reach, reach), uniform(-reach, reach)) for _ in range(3 + int(uniform(0, 4)))]]
