"""Soft masks in boxes, resampled into the image inside their own boxes, and their run lengths.

The resampling is that of detectron2's ``paste_masks_in_image``: bilinear, zero outside the soft mask, pixel
centres at ``k + 0.5``, within one pixel around the box. It is written as ``Ry @ mask @ Rx.T``, so that an
instance costs its box and not the image.

Glossary: ``N`` instances; ``S`` side of a soft mask; ``(h, w)`` image. Boxes are XYXY in px of detectron2's
continuous frame, where pixel ``k`` covers ``[k, k + 1]``.
"""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from pycocotools import mask as coco_mask

Crop = tuple[tuple[int, int], np.ndarray]
"""(x0, y0) in px of the image, and a part of an image (crop height, crop width)."""

EMPTY_CROP: Crop = ((0, 0), np.zeros((0, 0), np.bool_))

_GROUP, _GROUP_PIXELS = 64, 1 << 20
"""Most instances of about one size that are resampled together, and most of their pixels unless it is one."""


def soft_crops(boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int]) -> Iterator[tuple[int, Crop]]:
    """Resamples soft masks into the image, each inside its box and the pixel around it.

    Args:
        boxes: (N, 4) float32, XYXY px; a box without area or outside the image yields nothing.
        masks: (N, S, S), probability of building over the box, float 0..1 or uint8 0..255.
        shape: (h, w) of the image in px.

    Yields:
        Index of the instance and its crop of probabilities, float32 0..1; sorted by size, not by index.

    Raises:
        ValueError: values that are not finite.
    """
    boxes = np.asarray(boxes, np.float32)
    if not np.isfinite(boxes).all() or not np.isfinite(masks).all():
        raise ValueError("expected finite boxes and masks, found NaN or infinity")
    size = np.array([shape[1], shape[0]], np.float32)
    start = np.clip(np.floor(boxes[:, :2]) - 1, 0, size).astype(np.int64)
    stop = np.clip(np.ceil(boxes[:, 2:]) + 1, 0, size).astype(np.int64)
    extent = stop - start
    sound = np.flatnonzero((extent > 0).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
    order = sound[np.argsort(extent[sound].max(axis=1), kind="stable")]
    scale = np.float32(1 / 255) if masks.dtype == np.uint8 else np.float32(1)
    while len(order):
        group = order[:_GROUP]
        while len(group) > 1 and len(group) * extent[group].max(axis=0).prod() > _GROUP_PIXELS:
            group = group[: len(group) // 2]
        order = order[len(group) :]
        width, height = extent[group].max(axis=0).tolist()
        first = start[group, :, None]
        across = bilinear_weights(boxes[group, 0::2], first[:, 0] + np.arange(0.5, width), masks.shape[2])
        down = bilinear_weights(boxes[group, 1::2], first[:, 1] + np.arange(0.5, height), masks.shape[1])
        soft = down @ (masks[group].astype(np.float32) * scale) @ across.transpose(0, 2, 1)
        for place, index in enumerate(group.tolist()):
            x0, y0 = start[index].tolist()
            wide, high = extent[index].tolist()
            yield index, ((x0, y0), soft[place, :high, :wide])


def bilinear_weights(spans: np.ndarray, points: np.ndarray, cells: int) -> np.ndarray:
    """Weights float32 (n, L, cells) that resample the cells of spans at points, 0 beyond them.

    Args:
        spans: (n, 2), first and last edge in px.
        points: (n, L) in px.
        cells: into which each span is divided evenly.
    """
    low, high = spans[:, :1].astype(np.float64), spans[:, 1:].astype(np.float64)
    width = np.maximum(high - low, np.finfo(np.float32).tiny)
    place = ((points - low) / width * cells - 0.5).astype(np.float32)
    return np.maximum(np.float32(1) - np.abs(place[:, :, None] - np.arange(cells, dtype=np.float32)), 0)


def mask_crops(boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int]) -> list[Crop]:
    """Pixels of probability 0.5 or more, one crop an instance; arguments as for ``soft_crops``.

    Returns:
        N crops, bool; of shape (0, 0) where a box has no pixel in the image.
    """
    crops = [EMPTY_CROP] * len(boxes)
    for index, (corner, soft) in soft_crops(boxes, masks, shape):
        crops[index] = corner, soft >= np.float32(0.5)
    return crops


def window_of(crop: Crop) -> tuple[slice, slice]:
    """Rows and columns of the image that a crop fills."""
    (x0, y0), part = crop
    return slice(y0, y0 + part.shape[0]), slice(x0, x0 + part.shape[1])


def pixels_of(maps: np.ndarray, crop: Crop) -> np.ndarray:
    """(C, n): the n pixels of a crop in maps (C, h, w)."""
    rows, columns = window_of(crop)
    return np.asarray(maps[:, rows, columns][:, crop[1]])


def crop_boxes(crops: Iterable[Crop]) -> np.ndarray:
    """(N, 4) int64, XYXY px of the image: the first pixel of each crop and the one after the last."""
    corners = [(x, y, x + part.shape[1], y + part.shape[0]) for (x, y), part in crops]
    return np.array(corners, np.int64).reshape(-1, 4)


def trimmed(crop: Crop) -> Crop:
    """The crop, bool or uint8, without empty rows and columns around it; of shape (0, 0) without a pixel."""
    (x0, y0), part = crop
    left, top, width, height = cv2.boundingRect(part.view(np.uint8)) if part.size else (0, 0, 0, 0)
    if not width:
        return (0, 0), part[:0, :0]
    return (x0 + left, y0 + top), part[top : top + height, left : left + width]


def overlap(one: Crop, other: Crop) -> int:
    """Pixels that both crops have above 0."""
    (x, y), (u, v) = one[0], other[0]
    left, top = max(x, u), max(y, v)
    right = min(x + one[1].shape[1], u + other[1].shape[1])
    bottom = min(y + one[1].shape[0], v + other[1].shape[0])
    if right <= left or bottom <= top:
        return 0
    first = one[1][top - y : bottom - y, left - x : right - x]
    second = other[1][top - v : bottom - v, left - u : right - u]
    return int(np.count_nonzero(np.logical_and(first, second)))


def encode_crop(corner: tuple[int, int], part: np.ndarray, shape: tuple[int, int]) -> dict:
    """COCO RLE of an image that is ``part`` at its corner and zero elsewhere, without making that image.

    Args:
        corner: (x0, y0) in px.
        part: bool or 0/1, inside the image.
        shape: (h, w) of the image in px.

    Returns:
        ``{"size": [h, w], "counts": str}``, equal to ``pycocotools.mask.encode`` of the whole image.
    """
    (x0, y0), height, width = corner, int(shape[0]), int(shape[1])
    framed = np.zeros((part.shape[1], part.shape[0] + 2), np.int8)
    framed[:, 1:-1] = part.T
    step = np.diff(framed, axis=1)
    offset = x0 * height + y0
    begins, ends = (
        column * height + row + offset for column, row in (np.nonzero(step == sign) for sign in (1, -1))
    )
    # A run that goes on at the top of the next column is one run.
    apart = begins[1:] != ends[:-1]
    begins, ends = begins[np.append(True, apart)[: len(begins)]], ends[np.append(apart, True)[: len(ends)]]
    bounds = np.concatenate([[0], np.stack([begins, ends], axis=1).ravel(), [height * width]])
    counts = np.diff(bounds)
    if len(counts) > 1 and counts[-1] == 0:
        counts = counts[:-1]
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}
