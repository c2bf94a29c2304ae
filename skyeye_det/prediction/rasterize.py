"""From instances (box, soft mask, score, damage) to images and run lengths, worked out inside each box.

Glossary: ``N`` instances; ``M`` side of a soft mask (28); ``(h, w)`` image. Boxes are XYXY in px of
detectron2's continuous frame, where pixel ``k`` covers ``[k, k + 1]``. A crop is a bool array with the image
pixel ``(x0, y0)`` of its top left corner.

Masks are resampled in ``postprocessing.soft_masks``.
"""

from collections.abc import Iterator

import numpy as np
from pycocotools import mask as coco_mask

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass
from skyeye_det.prediction.soft_masks import keep_largest, resampled_groups

Crop = tuple[int, tuple[int, int], np.ndarray]
"""(index of the instance, (x0, y0) in px, bool (crop height, crop width))"""

_VALUE_BITS = 3
"""Bits of a code, see ``_codes``, that hold the pixel's value 0..4."""


def instance_crops(
    boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int], mask_threshold: float = 0.5
) -> Iterator[Crop]:
    """Resamples soft masks into the image, each inside its box and the pixel around it.

    Args:
        boxes: (N, 4) float32, XYXY in px; a box without area or outside the image yields nothing.
        masks: (N, M, M) float32, probability 0..1 of building over the box.
        shape: (h, w) of the image in px.
        mask_threshold: a pixel belongs to the instance where its probability is at least this.

    Yields:
        Crops, grouped by size and so not in the order of the instances.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    for numbers, corners, sizes, inside in resampled_groups(boxes, masks, shape, mask_threshold):
        for number, (x0, y0), (width, height), crop in zip(numbers, corners, sizes, inside, strict=True):
            yield number, (x0, y0), crop[:height, :width]


def rasterize_instances(
    boxes: np.ndarray,
    masks: np.ndarray,
    scores: np.ndarray,
    damage: np.ndarray,
    shape: tuple[int, int],
    mask_threshold: float = 0.5,
) -> tuple[np.ndarray, np.ndarray]:
    """Paints instances into the two xView2 images; where they overlap the higher score wins.

    Args:
        boxes: (N, 4) float32, XYXY in px.
        masks: (N, M, M) float32, 0..1.
        scores: (N,) float32; of equal scores the instance listed first wins.
        damage: (N,) int, ``DamageClass`` 0..3.
        shape: (h, w) in px.
        mask_threshold: least probability of a building pixel.

    Returns:
        localization, damage: uint8 (h, w), 0/1 and 0..4. Zero where no instance is.

    Raises:
        ValueError: shapes that do not fit, values that are not finite, damage outside 0..3.
    """
    codes = _codes(scores, damage)
    winner = np.zeros(shape, codes.dtype)
    for numbers, corners, sizes, inside in resampled_groups(boxes, masks, shape, mask_threshold):
        coded = inside.astype(codes.dtype)
        coded *= codes[numbers, None, None]
        keep_largest(winner, coded, corners, sizes)
    return _images(winner)


def pixel_areas(
    boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int], mask_threshold: float = 0.5
) -> np.ndarray:
    """Pixels of each instance's mask inside the image, int64 (N,); arguments as for ``instance_crops``."""
    areas = np.zeros(len(boxes), np.int64)
    for index, _, crop in instance_crops(boxes, masks, shape, mask_threshold):
        areas[index] = np.count_nonzero(crop)
    return areas


def encode_instances(
    boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int], mask_threshold: float = 0.5
) -> list[dict]:
    """Run lengths of every instance's mask, without an image per instance.

    Args:
        boxes: (N, 4) float32, XYXY in px.
        masks: (N, M, M) float32, 0..1.
        shape: (h, w) in px.
        mask_threshold: least probability of a building pixel.

    Returns:
        N COCO RLE dicts ``{"size": [h, w], "counts": str}`` in the order of the instances, overlaps kept.
    """
    encoded = [encode_crop((0, 0), np.zeros((0, 0), bool), shape)] * len(boxes)
    for index, corner, crop in instance_crops(boxes, masks, shape, mask_threshold):
        encoded[index] = encode_crop(corner, crop, shape)
    return encoded


def encode_crop(corner: tuple[int, int], crop: np.ndarray, shape: tuple[int, int]) -> dict:
    """COCO RLE of an image that is ``crop`` at ``corner`` and zero elsewhere.

    Args:
        corner: (x0, y0) of the crop in px.
        crop: bool or 0/1 (crop height, crop width), inside the image.
        shape: (h, w) of the image in px.

    Returns:
        ``{"size": [h, w], "counts": str}``, equal to ``pycocotools.mask.encode`` of the whole image.
    """
    height, width = int(shape[0]), int(shape[1])
    framed = np.zeros((crop.shape[1], crop.shape[0] + 2), np.int8)
    framed[:, 1:-1] = crop.T
    step = np.diff(framed, axis=1)
    offset = corner[0] * height + corner[1]
    starts, stops = (np.nonzero(step == sign) for sign in (1, -1))
    edges = np.empty((len(starts[0]), 2), np.int64)
    edges[:, 0] = starts[0] * height + starts[1] + offset
    edges[:, 1] = stops[0] * height + stops[1] + offset
    apart = np.ones(len(edges), bool)
    apart[1:] = edges[1:, 0] != edges[:-1, 1]  # a run that goes on at the top of the next column is one run
    begins = edges[apart, 0]
    ends = edges[np.append(apart[1:], True), 1] if len(edges) else edges[:, 1]
    bounds = np.concatenate([[0], np.stack([begins, ends], axis=1).ravel(), [height * width]])
    counts = np.diff(bounds)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def check_scores(scores: np.ndarray, damage: np.ndarray) -> None:
    """Raises ValueError unless scores (N,) are finite and damage (N,) is 0..3."""
    if scores.ndim != 1 or scores.shape != damage.shape:
        raise ValueError(f"expected scores (N,) and damage (N,), found {scores.shape} and {damage.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("expected finite scores, found NaN or infinity")
    if len(damage) and not 0 <= damage.min() <= damage.max() < NUM_DAMAGE_CLASSES:
        raise ValueError(f"expected damage 0..3, found {damage.min()}..{damage.max()}")


def _codes(scores: np.ndarray, damage: np.ndarray) -> np.ndarray:
    """Unsigned (N,): the rank of the score, and below it the pixel value 1..4; the winner has the larger."""
    scores, damage = np.asarray(scores), np.asarray(damage)
    check_scores(scores, damage)
    largest = ((len(scores) + 1) << _VALUE_BITS) - 1
    codes = np.empty(len(scores), np.uint16 if largest < 1 << 16 else np.uint32)
    order = np.argsort(-scores, kind="stable")
    rank = np.arange(len(scores), 0, -1)
    codes[order] = (rank << _VALUE_BITS) + damage[order] + DamageClass.NO_DAMAGE.pixel_value
    return codes


def _images(winner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Localization and damage from the largest code of each pixel."""
    damage = (winner & ((1 << _VALUE_BITS) - 1)).astype(np.uint8)
    return (damage > 0).view(np.uint8), damage
