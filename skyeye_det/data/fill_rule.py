"""How the official targets fill an outline: the rounding, and the pixels of OpenCV up to 4.7.

Found on the 23 official target PNGs of the sample, one hypothesis at a time; this rule gives all 23 to the
pixel:

* A coordinate is rounded to the nearest whole pixel, halves up: ``floor(x + 0.5)``. ``np.round``, which
  takes halves to the even neighbour, is 10 pixels off on one image; exact halves stand in 70 of 500 pre
  labels and in no post label. Truncating is off by 144 to 26,690 pixels an image, float32 coordinates by
  2 to 12 on four.
* Each image follows its own label in file order: the pre image the pre label, the post image the post
  label, later outlines over earlier ones (the reverse order is 26 and 42 pixels off on two images). The
  outlines of ``lng_lat`` give the same but for the error of the fit.
* The pixels are those of ``cv2.fillPoly`` of OpenCV 3.4 to 4.7: the pixels under the edges, cut at the
  border before they are drawn, and those between the uncut edges. 4.8 to 4.10 shift the edges (1 to 314
  pixels an image). From 4.11 on the edges are back, but the fill follows the cut ones: one pixel off on each
  of three images, all at the border. A larger canvas that is cut afterwards is off by 3 to 41 pixels.

So an outline that leaves the image is filled here, and only its edges are drawn by OpenCV; one inside the
image is ``cv2.fillPoly``'s, as long as it has few vertices.
"""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from skyeye_det.errors import MissingDependencyError

MANY_VERTICES = 4096
"""xBD has up to 145; cv2.fillPoly takes a minute for 60,000 that cross, so from here on we fill ourselves."""

_PROBE_PIXELS = bytes.fromhex("04261f8fc7731982804000")
_FIXED_POINT = 16  # bits behind the point in OpenCV's drawing
_CROSSINGS = 1 << 19  # worked out at a time, so that a hostile outline costs no memory


def whole_pixels(ring: NDArray[np.float64]) -> NDArray[np.int32]:
    """Rounds coordinates to the nearest whole pixel, halves up.

    Args:
        ring: float64, any shape, px; within +-2**24.
    """
    return np.floor(ring + 0.5).astype(np.int32)


def fill_rings(mask: NDArray[np.uint8], rings: Sequence[NDArray[np.int32]], value: int) -> None:
    """Fills the rings of one polygon together, by the even-odd rule, and the pixels under every edge.

    Args:
        mask: uint8 (h, w), C-contiguous; painted on.
        rings: int32 (n, 2) of (x, y), n of 1 or more, closed without repeating the first vertex.
        value: 0..255.

    Raises:
        MissingDependencyError: the installed OpenCV fills by another rule.
    """
    check_opencv()
    if not rings or not mask.size:
        return
    boxes = [cv2.boundingRect(ring) for ring in rings]
    x0, y0 = min(box[0] for box in boxes), min(box[1] for box in boxes)
    x1, y1 = max(box[0] + box[2] for box in boxes), max(box[1] + box[3] for box in boxes)
    height, width = mask.shape
    is_simple = sum(map(len, rings)) <= MANY_VERTICES
    if is_simple and x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        cv2.fillPoly(mask, rings, value)
    elif x0 < width and y0 < height and x1 > 0 and y1 > 0:
        corner = np.array([max(x0, 0), max(y0, 0)], np.int32)
        inside = mask[corner[1] : y1, corner[0] : x1]
        inside[_between_edges([ring - corner for ring in rings], inside.shape)] = value
        cv2.polylines(mask, rings, True, value)


@cache
def check_opencv() -> None:
    """Fills an outline on which the OpenCV versions differ.

    Raises:
        MissingDependencyError: the installed OpenCV fills by another rule.
    """
    probe = np.zeros((9, 9), np.uint8)
    cv2.fillPoly(probe, [np.array([[1, 1], [8, 6], [5, 0], [1, 8]], np.int32)], 1)
    if np.packbits(probe).tobytes() != _PROBE_PIXELS:
        raise MissingDependencyError(
            f"opencv {cv2.__version__}: expected a version that fills polygons as the official targets do, "
            'found one that fills other pixels; run: pip install "opencv-python-headless>=4.11"'
        )


def _between_edges(rings: Sequence[NDArray[np.int32]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """(height, width) pixels on or between the edges that cross their row, in OpenCV's fixed point.

    A pixel is between edges where an odd number of them cross its row on its left. Edges may leave the image.
    """
    height, width = shape
    start = np.concatenate(rings).astype(np.int64)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).astype(np.int64)
    (x, y), (x_end, y_end) = start.T, end.T
    top, x_top = np.minimum(y, y_end), np.where(y < y_end, x, x_end)
    rise, run = np.abs(y_end - y), x + x_end - 2 * x_top
    slope = np.sign(run) * ((np.abs(run) << _FIXED_POINT) // np.maximum(rise, 1))
    first, last = (np.clip(row, 0, height) for row in (top, top + rise))
    crossings = np.zeros((height, width + 1), np.int64)  # the last column counts what crosses further right
    on_edge = np.zeros(shape, bool)
    edges_at_a_time = max(1, _CROSSINGS // height)
    for begin in range(0, len(top), edges_at_a_time):
        number = (last - first)[begin : begin + edges_at_a_time]
        edge = np.repeat(np.arange(begin, begin + len(number)), number)
        row = np.arange(len(edge)) + (first[begin:][: len(number)] - np.cumsum(number) + number)[edge - begin]
        crossing = (x_top << _FIXED_POINT)[edge] + (row - top[edge]) * slope[edge]
        column = crossing >> _FIXED_POINT
        np.add.at(crossings, (row, np.clip(column + 1, 0, width)), 1)
        exact = (column << _FIXED_POINT == crossing) & (column >= 0) & (column < width)
        on_edge[row[exact], column[exact]] = True
    return on_edge | (np.cumsum(crossings[:, :width], axis=1) & 1).astype(bool)
