"""What stands up: shadows, roofs, cars and trees under one sun."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from skyeye_det.sample import texture
from skyeye_det.sample.streets import House
from skyeye_det.sample.texture import SHIFT, Color, cos_sin, fixed, pick_color, whole

CAR_COLORS = (214, 214, 212), (70, 72, 76), (48, 50, 54), (150, 152, 154), (146, 48, 42), (52, 70, 108)


@dataclass(frozen=True)
class Sun:
    """Where the light comes from."""

    azimuth: int  # whole degrees clockwise from north (up in the image)
    elevation: int  # whole degrees above the horizon
    depth: int  # 0..255 share of light that a shadow takes away

    @property
    def toward(self) -> tuple[float, float]:
        """Unit vector on the image (x right, y down) toward the sun."""
        cos, sin = cos_sin(self.azimuth)
        return sin, -cos

    def fall(self, height: float) -> np.ndarray:
        """Displacement (x, y) of the shadow of a point ``height`` px up."""
        cos, sin = cos_sin(self.elevation)
        x, y = self.toward
        length = height * cos / sin
        return np.array([-x * length, -y * length])


def draw_sun(rng: Generator) -> Sun:
    """A morning sun of the northern half, as most of the real scenes have."""
    return Sun(whole(rng, 95, 205), whole(rng, 36, 68), whole(rng, 112, 158))


def cast_shadows(
    image: np.ndarray, houses: list[House], heights: list[float], trees: np.ndarray, sun: Sun
) -> None:
    """Darkens ``image`` in place where buildings (``heights`` px, 0 for none) and trees keep the sun off."""
    mask = np.zeros(image.shape[:2], np.uint8)
    for house, height in zip(houses, heights, strict=True):
        if height > 0:
            ring = house.rings[0]
            sweep = cv2.convexHull(fixed(np.concatenate([ring, ring + sun.fall(height)])))
            cv2.fillPoly(mask, [sweep], sun.depth, shift=SHIFT)
    falls = trees[:, :2] + sun.fall(1.0) * trees[:, 2:] * 1.1
    for x, y, radius in fixed(np.column_stack([falls, trees[:, 2]])).tolist():
        cv2.circle(mask, (x, y), radius, sun.depth, -1, shift=SHIFT)
    soft = cv2.GaussianBlur(mask, (3, 3), 0)
    # Shadows are lit by the sky alone: bluish.
    texture.blend(image, (24, 30, 40), soft)


def park_cars(
    rng: Generator, image: np.ndarray, berths: list[tuple[float, float, float, float]], share: int
) -> None:
    """Puts cars on ``share`` percent of the places."""
    taken = rng.integers(0, 100, len(berths)) < share
    for (left, top, dx, dy), parked in zip(berths, taken.tolist(), strict=True):
        if not parked:
            continue
        off = whole(rng, -8, 8)
        x, y = left + off * dx, top + off * dy
        half, side = whole(rng, 36, 46) / 10, whole(rng, 16, 21) / 10
        corners = [(half, side), (half, -side), (-half, -side), (-half, side)]
        body = np.array([(x + a * dx - b * dy, y + a * dy + b * dx) for a, b in corners])
        cv2.fillPoly(image, [fixed(body + 1.0)], (30, 30, 30), shift=SHIFT)
        cv2.fillPoly(image, [fixed(body)], pick_color(rng, CAR_COLORS), shift=SHIFT)


def _lit(color: Color, planes: float) -> Color:
    red, green, blue = (min(255, max(0, round(c * planes))) for c in color)
    return red, green, blue


def _shade(sun: Sun, normal: np.ndarray) -> float:
    """Brightness of a roof plane sloping down along ``normal`` (not of unit length), about 1."""
    length = float(np.sqrt(normal[0] * normal[0] + normal[1] * normal[1])) + 1e-9
    x, y = sun.toward
    return 1.0 + 0.24 * (float(normal[0]) * x + float(normal[1]) * y) / length


def _planes(wing: np.ndarray, roof: str) -> list[np.ndarray]:
    """Roof planes of a wing: polygons whose first edge is the eave."""
    a, b, c, d = wing
    left, right = (a + d) / 2, (b + c) / 2
    if roof == "hip":
        run, slope = b - a, d - a
        reach = float(np.sqrt((slope * slope)[0] + (slope * slope)[1]) / 2)
        length = float(np.sqrt((run * run)[0] + (run * run)[1])) + 1e-9
        inset = run * (min(reach / length, 0.46))
        left, right = left + inset, right - inset
        return [np.stack(p) for p in ((a, b, right, left), (c, d, left, right), (d, a, left), (b, c, right))]
    return [np.stack(p) for p in ((a, b, right, left), (c, d, left, right))]


def raise_roofs(image: np.ndarray, houses: list[House], sun: Sun) -> None:
    """Draws every roof on ``image`` in place."""
    for house in houses:
        rings = [fixed(ring) for ring in house.rings]
        courtyard = None
        if len(rings) > 1:
            left, top, right, bottom = (max(0, v) for v in house.box)
            courtyard = image[top:bottom, left:right].copy()
        cv2.fillPoly(image, rings[:1], _lit(house.color, 1.0), shift=SHIFT)
        for wing in house.wings:
            if house.roof in ("gable", "hip"):
                _raise_pitched(image, wing, house, sun)
            elif house.roof == "ribbed":
                _raise_ribbed(image, wing, house)
        if house.roof == "flat":
            # Parapet: light on the edge, its shadow inside.
            cv2.polylines(image, rings, True, _lit(house.color, 1.16), 1, shift=SHIFT)
        if courtyard is not None:
            _reopen(image, house, courtyard)


def _raise_pitched(image: np.ndarray, wing: np.ndarray, house: House, sun: Sun) -> None:
    for plane in _planes(wing, house.roof):
        eave, top = (plane[0] + plane[1]) / 2, (plane[-1] + plane[2]) / 2
        cv2.fillPoly(image, [fixed(plane)], _lit(house.color, _shade(sun, eave - top)), shift=SHIFT)
        ridge = fixed(plane[2:])
        if len(ridge) == 2:
            cv2.polylines(image, [ridge], False, _lit(house.color, 1.14), 1, shift=SHIFT)


def _raise_ribbed(image: np.ndarray, wing: np.ndarray, house: House) -> None:
    a, b, _, d = wing
    run, slope = b - a, d - a
    length = float(np.sqrt((run * run)[0] + (run * run)[1]))
    for step in range(1, int(length / 4)):
        start = a + run * (step * 4 / length)
        line = fixed(np.stack([start, start + slope]))
        cv2.polylines(image, [line], False, _lit(house.color, 0.93 if step % 2 else 1.05), 1, shift=SHIFT)


def _reopen(image: np.ndarray, house: House, before: np.ndarray) -> None:
    """Puts the courtyard's ground, in shade, back into the roof."""
    left, top = max(0, house.box[0]), max(0, house.box[1])
    view = image[top : top + before.shape[0], left : left + before.shape[1]]
    mask = np.zeros(before.shape[:2], np.uint8)
    cv2.fillPoly(mask, [house.pixel_rings(left, top)[1]], 1)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8)) > 0
    view[inner] = (before[inner].astype(np.uint16) * 5 // 8).astype(np.uint8)


def grow_trees(rng: Generator, image: np.ndarray, trees: np.ndarray, colors: np.ndarray, sun: Sun) -> None:
    """Draws crowns in place: dark, lighter on the side of the sun, with leaves and ragged edges.

    ``trees`` are float64 ``(n, 3)`` of x, y, radius in px, ``colors`` int ``(n, 3)`` RGB.
    """
    lit = trees[:, :2] + np.array(sun.toward) * trees[:, 2:] * 0.25
    dark, light = (np.minimum(colors * part // 16, 255).tolist() for part in (11, 17))
    shape = (image.shape[0], image.shape[1])
    layer, cover = image.copy(), np.zeros(shape, np.uint8)
    for i, (x, y, radius, lit_x, lit_y) in enumerate(fixed(np.column_stack([trees, lit])).tolist()):
        cv2.circle(cover, (x, y), radius, 200, -1, shift=SHIFT)
        cv2.circle(layer, (x, y), radius + 24, dark[i], -1, shift=SHIFT)
        cv2.circle(layer, (lit_x, lit_y), radius * 5 // 8, light[i], -1, shift=SHIFT)
    leaves = texture.value_noise(rng, shape, 4).astype(np.int16) - 128
    texture.modulate(layer, leaves // 4 + texture.grain(rng, shape, 90))
    soft = cv2.GaussianBlur(cover, (5, 5), 0).astype(np.int16)
    texture.blend(image, layer, np.clip((soft + leaves // 2 - 70) * 5, 0, 255).astype(np.uint8))
