"""What the pixels of a building get in the damage image, by a rule's ``outline`` and ``fill``."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass
from skyeye_det.data.targets import Parts, building_mask
from skyeye_det.prediction.masks import Crop

_GOLDEN = (np.sqrt(5) - 1) / 2


def filled_outlines(outlines: Sequence[Parts], shape: tuple[int, int]) -> list[Crop]:
    """Polygons filled by the official rule: a bool crop each; ``shape`` is the image's (h, w)."""
    filled = (building_mask(parts, shape) for parts in outlines)
    return [(corner, mask > 0) for mask, corner in filled]


def building_values(
    pixels: Crop, damage: int, damage_probs: np.ndarray, fill: str, own: NDArray[np.uint8] | None = None
) -> Crop:
    """The pixels of one building in the damage image.

    Args:
        pixels: bool crop: which they are.
        damage: the building's, 0..3.
        damage_probs: (4,), its probabilities.
        fill: of ``rule.FILLS``.
        own: uint8 (crop height, crop width), 1..4, each pixel's own grade where a semantic model gave one.

    Returns:
        A uint8 crop, 1..4 at those pixels and 0 elsewhere.
    """
    corner, inside = pixels
    if fill == "proportional":
        values = np.zeros(inside.shape, np.uint8)
        values[inside] = proportional_values(damage_probs, int(np.count_nonzero(inside)))
    elif fill == "own" and own is not None:
        values = own * inside
    else:
        values = inside.view(np.uint8) * np.uint8(DamageClass(damage).pixel_value)
    return corner, values


def proportional_values(probs: NDArray[np.floating], number: int) -> NDArray[np.uint8]:
    """Pixel values of one building's pixels, in proportion to its class probabilities.

    The counts are the probabilities' running sums times ``number``, rounded, so they add up and none is off
    by one or more. The pixels, row by row, are dealt in the order of the multiples of the golden ratio
    modulo 1 (Weyl's sequence), which spreads every class evenly. Nothing is drawn at random.

    Args:
        probs: (4,), not negative, one of them above 0.
        number: pixels, n.

    Returns:
        uint8 (n,), 1..4.
    """
    shares = np.cumsum(probs, dtype=np.float64)
    bounds = np.round(shares / shares[-1] * number).astype(np.int64)
    order = np.argsort(np.arange(1, number + 1) * _GOLDEN % 1, kind="stable")
    values = np.empty(number, np.uint8)
    first = DamageClass.NO_DAMAGE.pixel_value
    values[order] = np.searchsorted(bounds, np.arange(number), side="right") + first
    return values


def majority_damage(own: NDArray[np.uint8]) -> int:
    """Damage 0..3 of most pixels of uint8 1..4; of equal counts the lighter one."""
    return int(np.bincount(own.ravel(), minlength=NUM_DAMAGE_CLASSES + 1)[1:].argmax())
