"""Resampling of soft masks into the image, each inside its own box.

It is that of detectron2's ``paste_masks_in_image`` (bilinear, zero outside the soft mask, pixel centres at
``k + 0.5``, within one pixel around the box), written as ``Ry @ mask @ Rx.T`` with two entries a row in
``Ry`` and ``Rx``: an instance costs its box, not the image. Where that comes so close to the threshold that
the last bit decides, the pixel is worked out again in the very steps of torch's ``grid_sample``, as its CPU
kernels round them (fused multiply-add), so the pixels are the same.

Boxes are XYXY in px of detectron2's continuous frame, where pixel ``k`` covers ``[k, k + 1]``.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

_GROUP_PIXELS = 1 << 18
"""Most resampled pixels held at once, unless one instance alone has more: they fit the CPU's cache."""

_IDLE_PIXELS = 1 << 16
"""Most pixels of a group that lie outside its instances; a group costs about as much as these."""

_FRAME = 2
"""Entries beside a row of weights, so that cells beside a soft mask and far off need no special case."""

_SLACK = np.float32(8 * np.finfo(np.float32).eps)
"""How far apart two ways to add up four products of values up to 1 may come; each rounds some seven times."""

ResampledGroup = tuple[list[int], list[list[int]], list[list[int]], np.ndarray]
"""n instances of about one size: index, corner (x0, y0), (width, height), bool (n, H, W) that holds them."""


SoftGroup = tuple[list[int], list[list[int]], list[list[int]], np.ndarray]
"""The same with the probabilities themselves: float32 (n, H, W), overwritten by the next group."""


def resampled_groups(
    boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int], mask_threshold: float
) -> Iterator[ResampledGroup]:
    """Resamples soft masks into the image, each inside its box and the pixel around it.

    Args:
        boxes: (N, 4) float32, XYXY in px; a box without area or outside the image yields nothing.
        masks: (N, M, M) float32, probability 0..1 of building over the box.
        shape: (h, w) of the image in px.
        mask_threshold: a pixel belongs to the instance where its probability is at least this.

    Yields:
        Groups, in no order; an instance fills [:height, :width] of its part of the last array.

    Raises:
        ValueError: shapes that do not fit, or values that are not finite.
    """
    for instances, soft in _resampled(boxes, masks, shape):
        yield *instances.places(), _inside(soft, instances, np.float32(mask_threshold))


def soft_groups(boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int]) -> Iterator[SoftGroup]:
    """As ``resampled_groups``, with probabilities that are exact to about 1e-6 in place of a threshold."""
    for instances, soft in _resampled(boxes, masks, shape):
        yield *instances.places(), soft


def keep_largest(
    image: np.ndarray, values: np.ndarray, corners: list[list[int]], sizes: list[list[int]]
) -> None:
    """Lays the instances of a group into an image, where each pixel keeps its largest value.

    Args:
        image: (h, w), changed in place.
        values: (n, H, W) of the image's dtype; an instance fills [:height, :width] of its part.
        corners: (x0, y0) of each, in px, as ``resampled_groups`` yields them.
        sizes: (width, height) of each, likewise.
    """
    for (x0, y0), (width, height), value in zip(corners, sizes, values, strict=True):
        place = image[y0 : y0 + height, x0 : x0 + width]
        np.maximum(place, value[:height, :width], out=place)


class _Instances(NamedTuple):
    """Instances of about one size, and where their pixels lie in their soft masks, see ``_cells``."""

    numbers: np.ndarray
    start: np.ndarray
    sizes: np.ndarray
    masks: np.ndarray
    across: np.ndarray
    down: np.ndarray

    def places(self) -> tuple[list[int], list[list[int]], list[list[int]]]:
        return self.numbers.tolist(), self.start.tolist(), self.sizes.tolist()


def _resampled(
    boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int]
) -> Iterator[tuple[_Instances, np.ndarray]]:
    """Groups of instances with their probabilities float32 (n, height, width), in scratch memory."""
    boxes, masks = np.asarray(boxes, np.float32), np.asarray(masks, np.float32)
    _check_instances(boxes, masks)
    start, stop = _regions(boxes, shape)
    extent = stop - start
    sound = ((extent > 0).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)).nonzero()[0]
    scratch = _Scratch()
    if not masks.size:
        return
    high, wide = masks.shape[1:]
    for group in _groups(sound, extent):
        near, first, (width, height) = boxes[group], start[group], extent[group].max(axis=0).tolist()
        across = _cells(near[:, 0], near[:, 2], first[:, 0], width, wide)
        down = _cells(near[:, 1], near[:, 3], first[:, 1], height, high)
        instances = _Instances(group, first, extent[group], masks[group], across, down)
        yield instances, _soft(instances, scratch)


def _regions(boxes: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """First (x, y) and end (x, y), int64 (N, 2), of the pixels that an instance may fill."""
    size = np.array([shape[1], shape[0]], np.float32)
    start = np.clip(np.floor(boxes[:, :2]) - 1, 0, size)
    stop = np.clip(np.ceil(boxes[:, 2:]) + 1, 0, size)
    return start.astype(np.int64), stop.astype(np.int64)


def _check_instances(boxes: np.ndarray, masks: np.ndarray) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or masks.ndim != 3 or len(boxes) != len(masks):
        raise ValueError(f"expected boxes (N, 4) and masks (N, M, M), found {boxes.shape} and {masks.shape}")
    if not np.isfinite(boxes).all() or not np.isfinite(masks).all():
        raise ValueError("expected finite boxes and masks, found NaN or infinity")


def _groups(indices: np.ndarray, extent: np.ndarray) -> Iterator[np.ndarray]:
    """Parts ``indices`` into groups of about one width and height that fit ``_GROUP_PIXELS``."""
    todo = [indices] if len(indices) else []
    while todo:
        group = todo.pop()
        size = extent[group]
        largest = size.max(axis=0)
        held = len(group) * int(largest.prod())
        idle = held - int(size.prod(axis=1).sum())
        if len(group) == 1 or (held <= _GROUP_PIXELS and idle <= _IDLE_PIXELS):
            yield group
            continue
        axis = int(np.argmax(largest / size.mean(axis=0)))
        order = np.argsort(size[:, axis], kind="stable")
        todo += [group[order[: len(order) // 2]], group[order[len(order) // 2 :]]]


class _Scratch:
    """Arrays that group after group uses again: memory fresh from the system costs more than the sums do."""

    def __init__(self) -> None:
        self._held: dict[str, np.ndarray] = {}

    def array(self, name: str, *shape: int) -> np.ndarray:
        """Float32 of any values; the next call with this name gives the same memory."""
        size = math.prod(shape)
        if name not in self._held or self._held[name].size < size:
            self._held[name] = np.empty(size, np.float32)
        return self._held[name][:size].reshape(shape)


def _soft(instances: _Instances, scratch: _Scratch) -> np.ndarray:
    """Probabilities float32 (n, height, width) in scratch memory."""
    masks, across, down = instances.masks, instances.across, instances.down
    (count, high, wide), width, height = masks.shape, across.shape[1], down.shape[1]
    to_rows = _weights(down, scratch.array("down", count, high + 2 * _FRAME, height))
    to_columns = _weights(across, scratch.array("across", count, wide + 2 * _FRAME, width))
    rows = np.matmul(to_rows.transpose(0, 2, 1), masks, out=scratch.array("rows", count, height, wide))
    return np.matmul(rows, to_columns, out=scratch.array("soft", count, height, width))


def _inside(soft: np.ndarray, instances: _Instances, threshold: np.float32) -> np.ndarray:
    """Bool (n, height, width): the pixels that reach the threshold; ``soft`` is overwritten."""
    masks = instances.masks
    soft -= threshold
    inside = soft >= 0
    close = np.flatnonzero(np.abs(soft, out=soft) <= _SLACK * max(1.0, masks.max(), -masks.min()))
    if close.size:
        places = np.unravel_index(close, soft.shape)
        inside[places] = _grid_sample(masks, instances.across, instances.down, places) >= threshold
    return inside


def _cells(low: np.ndarray, high: np.ndarray, start: np.ndarray, length: int, side: int) -> np.ndarray:
    """Where pixels lie in the soft mask, float32 (n, length), 0 at its first cell's centre."""
    centre = start[:, None].astype(np.float32) + np.arange(0.5, length, dtype=np.float32)
    low, high = low[:, None], high[:, None]
    relative = (centre - low) / (high - low) * np.float32(2) - np.float32(1)
    cells = _fused(relative + np.float32(1), np.float32(side / 2), np.float32(-0.5))
    return np.clip(cells, -_FRAME, side + _FRAME - 2, out=cells)


def _weights(cells: np.ndarray, framed: np.ndarray) -> np.ndarray:
    """Bilinear weights float32 (n, side, length), two of a column not zero; ``framed``: memory with frame."""
    framed.fill(0)
    count, rows, length = framed.shape
    below = np.floor(cells)
    upper = cells - below
    first = (np.arange(count) * rows + _FRAME)[:, None] * length + np.arange(length)
    place = first + below.astype(np.int64) * length
    flat = framed.reshape(-1)
    flat[place] = np.float32(1) - upper
    place += length
    flat[place] = upper
    return framed[:, _FRAME:-_FRAME]


def _grid_sample(
    masks: np.ndarray, across: np.ndarray, down: np.ndarray, places: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Values float32 of single pixels, (instance, row, column) each, in ``grid_sample``'s steps."""
    number, row, column = places
    x, y = across[number, column], down[number, row]
    left, top = np.floor(x), np.floor(y)
    to_right, to_bottom = x - left, y - top
    to_left, to_top = np.float32(1) - to_right, np.float32(1) - to_bottom
    value = _sample(masks, number, top, left) * (to_top * to_left)
    value = _fused(_sample(masks, number, top, left + 1), to_top * to_right, value)
    value = _fused(_sample(masks, number, top + 1, left), to_bottom * to_left, value)
    return _fused(_sample(masks, number, top + 1, left + 1), to_bottom * to_right, value)


def _sample(masks: np.ndarray, number: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Single cells of the soft masks, zero outside them."""
    height, width = masks.shape[1:]
    is_in = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    at = row.clip(0, height - 1).astype(np.int64), column.clip(0, width - 1).astype(np.int64)
    return np.where(is_in, masks[number, at[0], at[1]], np.float32(0))


def _fused(factor: np.ndarray, other: np.ndarray | np.float32, addend: np.ndarray | np.float32) -> np.ndarray:
    """``factor * other + addend`` float32, rounded once."""
    product = np.multiply(factor, other, dtype=np.float64)
    return (product + addend).astype(np.float32)
