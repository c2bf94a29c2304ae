"""What the sensor and the sky do to an image: haze, clouds, light, blur, noise, shift, missing data."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator

from skyeye_det.sample import texture
from skyeye_det.sample.texture import cos_sin, uniform, whole


@dataclass(frozen=True)
class Exposure:
    """How one image is taken.

    Attributes:
        gain: brightness of red, green, blue in 1/256.
        lift: 0..255 added to black, by the air's scatter.
        haze: strongest share of white haze, 0..255.
        softness: 0 sharp, 1 or 2 for a wider blur.
        noise: sensor noise, standard deviation in 1/16.
    """

    gain: tuple[int, int, int]
    lift: int
    haze: int
    softness: int
    noise: int


def draw_exposure(rng: Generator, hazy: bool) -> Exposure:
    """An exposure; ``hazy`` ones have more air in them, as images after a disaster often do."""
    light = whole(rng, 192, 276)
    gain = (light + whole(rng, -14, 10), light + whole(rng, -6, 8), light + whole(rng, -14, 8))
    haze = whole(rng, 20, 84) if hazy and whole(rng, 0, 2) == 0 else whole(rng, 0, 22)
    softness = (0, 0, 0, 0, 1, 1, 1, 1, 2)[int(rng.integers(9))]
    return Exposure(gain, whole(rng, 0, 10), haze, softness, whole(rng, 22, 52))


def draw_shift(rng: Generator) -> tuple[int, int]:
    """Misregistration of the post image, 0 to 6 px in any direction: (right, down) in 1/16 px."""
    length = uniform(rng, 0.0, 6.0)
    cos, sin = cos_sin(whole(rng, 0, 359))
    return round(length * cos * 16), round(length * sin * 16)


def expose(rng: Generator, image: np.ndarray, exposure: Exposure) -> np.ndarray:
    """The image as the sensor sees it: uint8 ``(h, w, 3)``, same shape as ``image``."""
    shape = image.shape[:2]
    if exposure.haze:
        drift = texture.fractal_noise(rng, shape, 220, 3).astype(np.uint16)
        veil = ((drift + 64) * np.uint16(exposure.haze) // 320).astype(np.uint8)
        texture.blend(image, (188, 192, 196), veil)
    if exposure.softness == 2:
        image = cv2.GaussianBlur(image, (5, 5), 0)
    elif exposure.softness == 1:
        image = cv2.GaussianBlur(image, (3, 3), 0)
    else:
        image = ((cv2.GaussianBlur(image, (3, 3), 0).astype(np.uint16) + image) >> 1).astype(np.uint8)
    levels = np.arange(256)
    curves = [
        np.clip(levels * gain // 256 + exposure.lift, 0, 255).astype(np.uint8) for gain in exposure.gain
    ]
    noise = texture.grain(rng, shape, exposure.noise)
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
            spot = (
                x + whole(rng, -side // 16 - 12, side // 16 + 12),
                y + whole(rng, -side // 16 - 12, side // 16 + 12),
            )
            cv2.circle(puffs, spot, whole(rng, side // 30 + 8, side // 18 + 12), 255, -1)
    soft = cv2.GaussianBlur(cv2.GaussianBlur(puffs, (61, 61), 0), (61, 61), 0).astype(np.int32)
    wisps = texture.fractal_noise(rng, (side, side), 110, 5).astype(np.int32)
    return np.clip(soft * (wisps + 150) // 210 - 24, 0, 244).astype(np.uint8)


def lay_clouds(rng: Generator, image: np.ndarray, opacity: np.ndarray) -> None:
    """Covers ``image`` in place with clouds and their shadow beside them."""
    shadow = np.roll(opacity, (whole(rng, 20, 50), whole(rng, -40, 40)), (0, 1))
    texture.blend(image, (26, 30, 36), (shadow.astype(np.uint16) * 3 // 8).astype(np.uint8))
    white = np.empty_like(image)
    white[...] = (226, 228, 230)
    texture.modulate(white, (texture.fractal_noise(rng, opacity.shape, 56).astype(np.int16) - 150) // 8)
    texture.blend(image, white, opacity)


def draw_blank(rng: Generator, side: int) -> np.ndarray:
    """The side of a tile that the satellite's strip did not cover: uint8 ``(side, side)``, 255 there."""
    cos, sin = cos_sin(whole(rng, 0, 3) * 90 + whole(rng, -9, 9))
    rows = np.arange(side, dtype=np.int64) - side // 2
    across = rows[None, :] * round(cos * 4096) + rows[:, None] * round(sin * 4096)
    return np.where(across > side * whole(rng, 10, 38) * 4096 // 100, 255, 0).astype(np.uint8)
