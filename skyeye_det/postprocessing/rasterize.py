"""From instances (box, soft mask, score, damage) to images and run lengths, worked out inside each box.

Glossary: ``N`` instances; ``M`` side of a soft mask (28); ``(h, w)`` image. Boxes are XYXY in px of
detectron2's continuous frame, where pixel ``k`` covers ``[k, k + 1]``. A crop is a bool array with the image
pixel ``(x0, y0)`` of its top left corner.

Resampling is that of detectron2's ``paste_masks_in_image`` (bilinear, zero outside the soft mask, pixel
centres at ``k + 0.5``, within one pixel around the box), written as ``Ry @ mask @ Rx.T`` with two entries a
row in ``Ry`` and ``Rx``: an instance costs its box, not the image.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from pycocotools import mask as coco_mask

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass

Crop = tuple[int, tuple[int, int], np.ndarray]
"""(index of the instance, (x0, y0) in px, bool (crop height, crop width))"""

_FRAME = 2
"""Zeros around a soft mask, so that samples beside it and far off need no special case."""

_CHUNK_PIXELS = 1 << 20
"""Most resampled pixels held at once, unless one instance alone has more."""


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
    boxes, masks = np.asarray(boxes, np.float32), np.asarray(masks, np.float32)
    _check_instances(boxes, masks)
    start, stop = _regions(boxes, shape)
    extent = stop - start
    sound = ((extent > 0).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)).nonzero()[0]
    by_size = sound[np.argsort(extent[sound].max(axis=1), kind="stable")]
    for chunk in _chunks(by_size, extent):
        soft = _resample(boxes[chunk], masks[chunk], start[chunk], extent[chunk].max(axis=0))
        inside = soft >= mask_threshold
        for row, index in enumerate(chunk):
            width, height = extent[index]
            yield int(index), (int(start[index, 0]), int(start[index, 1])), inside[row, :height, :width]


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
    return rasterize_crops(instance_crops(boxes, masks, shape, mask_threshold), scores, damage, shape)


def rasterize_crops(
    crops: Iterable[Crop], scores: np.ndarray, damage: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Paints crops in any order, from any source, by the rule of :func:`rasterize_instances`.

    Args:
        crops: crops whose index points into ``scores`` and ``damage``; they lie inside the image.
        scores: (N,) float.
        damage: (N,) int, 0..3.
        shape: (h, w) in px.

    Returns:
        localization, damage: uint8 (h, w), 0/1 and 0..4.

    Raises:
        ValueError: ``scores`` and ``damage`` of different length, a score that is not finite, damage outside
            0..3.
    """
    scores, damage = np.asarray(scores), np.asarray(damage)
    _check_scores(scores, damage)
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(scores), np.int32)
    rank[order] = np.arange(len(scores), 0, -1, dtype=np.int32)
    winner = np.zeros(shape, np.int32)
    for index, (x0, y0), crop in crops:
        height, width = crop.shape
        place = winner[y0 : y0 + height, x0 : x0 + width]
        np.maximum(place, crop * rank[index], out=place)
    value_of_rank = np.zeros(len(scores) + 1, np.uint8)
    value_of_rank[rank] = damage + DamageClass.NO_DAMAGE.pixel_value
    painted = value_of_rank[winner]
    return (painted > 0).astype(np.uint8), painted


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


def _check_instances(boxes: np.ndarray, masks: np.ndarray) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or masks.ndim != 3 or len(boxes) != len(masks):
        raise ValueError(f"expected boxes (N, 4) and masks (N, M, M), found {boxes.shape} and {masks.shape}")
    if not np.isfinite(boxes).all() or not np.isfinite(masks).all():
        raise ValueError("expected finite boxes and masks, found NaN or infinity")


def _check_scores(scores: np.ndarray, damage: np.ndarray) -> None:
    if scores.ndim != 1 or scores.shape != damage.shape:
        raise ValueError(f"expected scores (N,) and damage (N,), found {scores.shape} and {damage.shape}")
    if not np.isfinite(scores).all():
        raise ValueError("expected finite scores, found NaN or infinity")
    if len(damage) and not 0 <= damage.min() <= damage.max() < NUM_DAMAGE_CLASSES:
        raise ValueError(f"expected damage 0..3, found {damage.min()}..{damage.max()}")


def _regions(boxes: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """First (x, y) and end (x, y), int64 (N, 2), of the pixels that an instance may fill."""
    size = np.array([shape[1], shape[0]], np.float32)
    start = np.clip(np.floor(boxes[:, :2]) - 1, 0, size)
    stop = np.clip(np.ceil(boxes[:, 2:]) + 1, 0, size)
    return start.astype(np.int64), stop.astype(np.int64)


def _chunks(by_size: np.ndarray, extent: np.ndarray) -> Iterator[np.ndarray]:
    """Cuts indices sorted by size into groups that fit ``_CHUNK_PIXELS`` at the size of their largest."""
    first = 0
    while first < len(by_size):
        last, largest = first, np.zeros(2, np.int64)
        while last < len(by_size):
            grown = np.maximum(largest, extent[by_size[last]])
            if last > first and (last + 1 - first) * grown.prod() > _CHUNK_PIXELS:
                break
            last, largest = last + 1, grown
        yield by_size[first:last]
        first = last


def _resample(boxes: np.ndarray, masks: np.ndarray, start: np.ndarray, extent: np.ndarray) -> np.ndarray:
    """Probability float32 (n, height, width) of the pixels from ``start`` on; ``extent``: (width, height)."""
    framed = np.pad(masks, ((0, 0), (_FRAME, _FRAME), (_FRAME, _FRAME)))
    across = _weights(boxes[:, 0], boxes[:, 2], start[:, 0], extent[0], masks.shape[2])
    down = _weights(boxes[:, 1], boxes[:, 3], start[:, 1], extent[1], masks.shape[1])
    return np.matmul(np.matmul(down, framed), across.transpose(0, 2, 1))


def _weights(low: np.ndarray, high: np.ndarray, start: np.ndarray, length: int, side: int) -> np.ndarray:
    """Bilinear weights float32 (n, length, side + 4) along one axis, in ``grid_sample``'s steps."""
    centre = (start[:, None] + np.arange(length)).astype(np.float32) + np.float32(0.5)
    low, high = low[:, None], high[:, None]
    relative = (centre - low) / (high - low) * np.float32(2) - np.float32(1)
    cell = ((relative + np.float32(1)) * np.float32(side) - np.float32(1)) / np.float32(2)
    below = np.floor(cell)
    upper = (cell - below)[..., None]
    column = np.clip(below + _FRAME, 0, side + _FRAME).astype(np.int64)[..., None]
    weights = np.zeros((*cell.shape, side + 2 * _FRAME), np.float32)
    np.put_along_axis(weights, column, np.float32(1) - upper, axis=2)
    np.put_along_axis(weights, column + 1, upper, axis=2)
    return weights
