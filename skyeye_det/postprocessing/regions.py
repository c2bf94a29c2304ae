"""Connected regions of an image, and the spread of labels over them."""

from functools import cached_property

import cv2
import numpy as np

CONNECTIVITY = 8
"""Pixels that touch at a corner are connected: thin and slanted parts of a building stay with it."""


class Regions:
    """Connected regions, numbered from 1; entry 0 of each list is the background.

    Args:
        labels: int32 (h, w), 0 where no region is.
        count: number of regions, the background included.
    """

    def __init__(self, labels: np.ndarray, count: int):
        self.labels = labels
        self._count = count

    def __len__(self) -> int:
        return self._count

    @cached_property
    def areas(self) -> np.ndarray:
        """Px, int64 (R + 1,)."""
        return np.bincount(self.labels.ravel(), minlength=self._count)

    @cached_property
    def boxes(self) -> np.ndarray:
        """First pixel and the one after the last, int64 (R + 1, 4), XYXY; meaningless for the background."""
        return label_boxes(self.labels, self._count)

    def window(self, number: int) -> tuple[slice, slice]:
        """Rows and columns that hold a region."""
        x0, y0, x1, y1 = self.boxes[number].tolist()
        return slice(y0, y1), slice(x0, x1)


def connected_regions(inside: np.ndarray) -> Regions:
    """Regions of pixels that touch at a side or corner.

    Args:
        inside: bool or 0/1 uint8 (h, w), not empty.
    """
    image = inside.view(np.uint8) if inside.dtype == np.bool_ else inside
    count, labels = cv2.connectedComponents(image, connectivity=CONNECTIVITY)
    return Regions(labels, count)


def label_boxes(labels: np.ndarray, count: int) -> np.ndarray:
    """Boxes XYXY int64 (count, 4) of the pixels of each label above 0, int (h, w); x1 is 0 of absent ones."""
    places = np.flatnonzero(labels)
    label = labels.ravel()[places]
    rows, columns = np.divmod(places, labels.shape[1])
    boxes = np.zeros((count, 4), np.int64)
    boxes[:, :2] = sum(labels.shape)
    for axis, coordinate in enumerate((columns, rows)):
        np.minimum.at(boxes[:, axis], label, coordinate)
        np.maximum.at(boxes[:, axis + 2], label, coordinate + 1)
    return boxes


def spread_labels(seeds: np.ndarray, regions: Regions) -> np.ndarray:
    """Gives every pixel of a region the label of the nearest seed in the same region.

    Distance is that of a straight line (chamfer 5 x 5, within 2 %), through other regions too.

    Args:
        seeds: int32 (h, w), labels from 1 on, 0 where none is; those outside all regions do not count.
        regions: of the same image.

    Returns:
        int32 (h, w): ``seeds`` where they are, spread over their regions; 0 outside and in regions without.
    """
    labels = seeds * (regions.labels > 0)
    has_seed = np.zeros(len(regions), bool)
    has_seed[regions.labels[labels > 0]] = True
    todo = np.flatnonzero(has_seed[regions.labels] & (labels == 0))
    if not todo.size:
        return labels
    nearest = _nearest_seed(labels, todo)
    region = regions.labels.ravel()[todo]
    own = regions.labels.ravel()[nearest] == region
    spread = labels.copy()
    spread.ravel()[todo[own]] = labels.ravel()[nearest[own]]
    wrong = np.unique(region[~own])  # another region's seed lies nearer to some pixels
    if wrong.size:
        _spread_alone(spread, labels, _only(regions, wrong), wrong)
    return spread


def _only(regions: Regions, numbers: np.ndarray) -> Regions:
    """Without the other regions: boxes of a few are found sooner than those of all."""
    kept = np.zeros(len(regions), bool)
    kept[numbers] = True
    return Regions(regions.labels * kept[regions.labels], len(regions))


def _spread_alone(spread: np.ndarray, seeds: np.ndarray, regions: Regions, numbers: np.ndarray) -> None:
    """Writes into ``spread`` the labels of single regions, each as if there were no other."""
    for number in numbers.tolist():
        window = regions.window(number)
        inside = regions.labels[window] == number
        seen = seeds[window] * inside
        todo = np.flatnonzero(inside & (seen == 0))
        spread[window].flat[todo] = seen.ravel()[_nearest_seed(seen, todo)]


def _nearest_seed(seeds: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Flat index int64 of the seed nearest to each place, a flat index too; there is at least one seed."""
    is_free = (seeds == 0).view(np.uint8)
    _, nearest = cv2.distanceTransformWithLabels(
        is_free, cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    occupied = np.flatnonzero(seeds)
    index = np.zeros(len(occupied) + 1, np.int64)
    index[nearest.ravel()[occupied]] = occupied
    return index[nearest.ravel()[places]]
