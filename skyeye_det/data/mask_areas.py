"""Box and area of the official masks of many buildings, without a mask for each.

Small outlines of one ring, which nearly all are, are filled side by side on one canvas, at a tenth of the
cost of one by one.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.fill_rule import MANY_VERTICES, Cells, between_edges, check_opencv, whole_pixels
from skyeye_det.data.targets import Parts, building_mask

# px; larger outlines are filled one by one. A canvas of 128 cells is 8 MB at the most.
_CELL, _CELLS = 256, 128

_Ints = NDArray[np.int64]


def mask_boxes_and_areas(buildings: Sequence[Parts], shape: tuple[int, int]) -> tuple[_Ints, _Ints]:
    """Box and number of pixels of each building's official mask.

    Args:
        buildings: outlines of each, in px; of one image or of several of one size.
        shape: (height, width) of the image that clips the masks.

    Returns:
        (boxes, areas): int64 (N, 4) of (x, y, width, height) in px, and (N,); zeros where a building fills no
        pixel of the image. They are those of ``targets.building_mask``.
    """
    boxes, areas = np.zeros((len(buildings), 4), np.int64), np.zeros(len(buildings), np.int64)
    alone = np.ones(len(buildings), bool)
    single = [index for index, parts in enumerate(buildings) if len(parts) == 1 and len(parts[0]) == 1]
    if single:
        boxes[single], areas[single], alone[single] = _measure([buildings[i][0][0] for i in single], shape)
    for index in np.flatnonzero(alone).tolist():
        mask, (x, y) = building_mask(buildings[index], shape)
        if mask.size:
            boxes[index], areas[index] = (x, y, mask.shape[1], mask.shape[0]), np.count_nonzero(mask)
    return boxes, areas


def _measure(
    rings: list[NDArray[np.float64]], shape: tuple[int, int]
) -> tuple[_Ints, _Ints, NDArray[np.bool_]]:
    """(boxes, areas, left) of outlines of one ring; ``left``: too large for a cell, or outside the image."""
    counts = np.array([len(ring) for ring in rings])
    vertices, starts = whole_pixels(np.concatenate(rings)), np.cumsum(counts) - counts
    low, high = np.minimum.reduceat(vertices, starts), np.maximum.reduceat(vertices, starts)
    corners, ends = np.maximum(low, 0), np.minimum(high + 1, shape[::-1])
    sizes = ends - corners
    left = ((sizes <= 0) | (sizes > _CELL)).any(axis=1) | (counts > MANY_VERTICES)
    is_cut = ((low < corners) | (high >= ends)).any(axis=1)
    boxes, areas = np.concatenate([corners, sizes], axis=1), np.zeros(len(rings), np.int64)
    by_height = np.argsort(sizes[:, 1], kind="stable")  # a canvas is as high as its highest cell
    whole = _chunks(by_height[(~left & ~is_cut)[by_height]], sizes)
    shift = corners.astype(np.int32)
    for chunk, cells in whole:
        shift[chunk, 0] -= cells.columns
    moved = vertices - np.repeat(shift, counts, axis=0)
    limits = np.stack([starts, starts + counts], axis=1)
    for chunk, cells in whole:
        areas[chunk] = _whole_areas([moved[start:stop] for start, stop in limits[chunk].tolist()], cells)
    for chunk, cells in _chunks(np.flatnonzero(~left & is_cut), sizes):
        inner, areas[chunk] = _fill_cut([moved[start:stop] for start, stop in limits[chunk].tolist()], cells)
        boxes[chunk] = inner + np.pad(corners[chunk], ((0, 0), (0, 2)))
    boxes[areas == 0] = 0
    return boxes, areas, left


def _chunks(numbers: _Ints, sizes: _Ints) -> list[tuple[_Ints, Cells]]:
    """Up to ``_CELLS`` numbers at a time, with the cells of their sizes."""
    chunks = [numbers[first : first + _CELLS] for first in range(0, len(numbers), _CELLS)]
    return [(chunk, Cells.of_sizes(sizes[chunk])) for chunk in chunks]


def _whole_areas(rings: list[NDArray[np.int32]], cells: Cells) -> _Ints:
    """Areas of rings that lie in their cells altogether, in px of the canvas."""
    check_opencv()
    canvas = np.zeros(cells.canvas_shape, np.uint8)
    cv2.fillPoly(canvas, rings, 1)
    by_column = cv2.reduce(canvas, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    return np.add.reduceat(by_column, cells.columns)


def _fill_cut(rings: list[NDArray[np.int32]], cells: Cells) -> tuple[_Ints, _Ints]:
    """(boxes, areas) of rings that leave their cells, whose borders are the image's; px of the cell."""
    canvas = between_edges(rings, cells, np.arange(len(rings))).view(np.uint8)
    for ring, column, width, height in zip(rings, *(part.tolist() for part in cells), strict=True):
        cv2.polylines(canvas[:height, column : column + width], [ring], True, 1)
    by_column = cv2.reduce(canvas, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32S)[0]
    return _inner_boxes(canvas, by_column, cells), np.add.reduceat(by_column, cells.columns)


def _inner_boxes(canvas: NDArray[np.uint8], by_column: NDArray[np.int32], cells: Cells) -> _Ints:
    """(N, 4) of (x, y, width, height) in px of the cell, around the filled pixels of each."""
    filled = np.flatnonzero(by_column)
    first = np.searchsorted(filled, cells.columns)
    last = np.searchsorted(filled, cells.columns + cells.widths) - 1
    rows = np.maximum.reduceat(canvas, cells.columns, axis=1) > 0
    top, bottom = rows.argmax(axis=0), rows[::-1].argmax(axis=0)
    some = last >= first
    x = np.where(some, filled[np.minimum(first, len(filled) - 1)] - cells.columns, 0)
    x_last = np.where(some, filled[last] - cells.columns, 0)
    return np.stack([x, top, x_last + 1 - x, len(rows) - bottom - top], axis=1)
