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
    places = np.flatnonzero(labels > 0)
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
    inside = np.flatnonzero(regions.labels > 0)
    region, label = regions.labels.ravel()[inside], seeds.ravel()[inside]
    is_seed = label > 0
    single = np.zeros(len(regions), label.dtype)  # the region's label, where it has one alone
    single[region[is_seed]] = label[is_seed]
    is_mixed = np.zeros(len(regions), bool)
    is_mixed[region[is_seed & (label != single[region])]] = True
    spread = np.zeros_like(seeds)
    spread.ravel()[inside] = np.where(is_seed, label, single[region])
    is_mixed &= np.bincount(region[~is_seed], minlength=len(regions)) > 0  # else nothing is left to spread
    if is_mixed.any():
        _spread_alone(spread, seeds, regions, is_mixed)
    return spread


def _spread_alone(spread: np.ndarray, seeds: np.ndarray, regions: Regions, chosen: np.ndarray) -> None:
    """Writes into ``spread`` the labels of chosen regions (bool (R + 1,)), each as if there were no other."""
    # Boxes of a few are found sooner than those of all.
    few = Regions(regions.labels * chosen[regions.labels], len(regions))
    for number in np.flatnonzero(chosen).tolist():
        window = few.window(number)
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
