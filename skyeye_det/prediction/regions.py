"""Connected regions of an image, and the spread of labels over them."""

from functools import cached_property

import cv2
import numpy as np

CONNECTIVITY = 8
"""Pixels that touch at a corner are connected: thin and slanted parts of a building stay with it."""


class Regions:
    """Labelled pixels of an image; entry 0 of each list is the background.

    Buildings fill a few percent of a tile, so what is asked is worked out on their pixels alone.

    Args:
        labels: int32 (h, w) from 1 on, 0 where no region is.
        count: one more than the largest label.
    """

    def __init__(self, labels: np.ndarray, count: int):
        self.labels = labels
        self._count = count

    def __len__(self) -> int:
        return self._count

    @cached_property
    def places(self) -> np.ndarray:
        """Flat indices int64 (n,) of all pixels of regions, rising."""
        return np.flatnonzero(self.labels > 0)

    @cached_property
    def numbers(self) -> np.ndarray:
        """The label int32 (n,) at each of ``places``."""
        return self.labels.ravel()[self.places]

    @cached_property
    def areas(self) -> np.ndarray:
        """Px, int64 (R + 1,)."""
        areas = np.bincount(self.numbers, minlength=self._count)
        areas[0] = self.labels.size - len(self.places)
        return areas

    @cached_property
    def boxes(self) -> np.ndarray:
        """First pixel and the one after the last, int64 (R + 1, 4), XYXY; all 0 of absent labels."""
        order = np.argsort(self.numbers, kind="stable")
        rows, columns = np.divmod(self.places[order], self.labels.shape[1])
        present, first = np.unique(self.numbers[order], return_index=True)
        boxes = np.zeros((self._count, 4), np.int64)
        if len(first):
            boxes[present, 0] = np.minimum.reduceat(columns, first)
            boxes[present, 1] = np.minimum.reduceat(rows, first)
            boxes[present, 2] = np.maximum.reduceat(columns, first) + 1
            boxes[present, 3] = np.maximum.reduceat(rows, first) + 1
        return boxes

    def window(self, number: int) -> tuple[slice, slice]:
        """Rows and columns that hold a region."""
        x0, y0, x1, y1 = self.boxes[number].tolist()
        return slice(y0, y1), slice(x0, x1)

    def image_of(self, values: np.ndarray) -> np.ndarray:
        """An image (h, w) of ``values`` (n,) at ``places``, 0 elsewhere."""
        image = np.zeros(self.labels.shape, values.dtype)
        image.ravel()[self.places] = values
        return image


def connected_regions(inside: np.ndarray) -> Regions:
    """Regions of pixels that touch at a side or corner.

    Args:
        inside: bool or 0/1 uint8 (h, w), not empty.
    """
    image = inside.view(np.uint8) if inside.dtype == np.bool_ else inside
    count, labels = cv2.connectedComponents(image, connectivity=CONNECTIVITY)
    return Regions(labels, count)


def spread_labels(seeds: np.ndarray, regions: Regions) -> np.ndarray:
    """Gives every pixel of a region the label of the nearest seed in the same region.

    Distance is that of a straight line (chamfer 5 x 5, within 2 %), through other regions too.

    Args:
        seeds: int32 (n,), labels from 1 on at ``regions.places``, 0 where none is.
        regions: of the image.

    Returns:
        int32 (h, w): ``seeds`` where they are, spread over their regions; 0 outside and in regions without.
    """
    is_seed, region = seeds > 0, regions.numbers
    single = np.zeros(len(regions), seeds.dtype)  # the region's label, where it has one alone
    single[region[is_seed]] = seeds[is_seed]
    is_mixed = np.zeros(len(regions), bool)
    is_mixed[region[is_seed & (seeds != single[region])]] = True
    is_mixed &= np.bincount(region[~is_seed], minlength=len(regions)) > 0  # else nothing is left to spread
    spread = regions.image_of(np.where(is_seed | is_mixed[region], seeds, single[region]))
    for number in np.flatnonzero(is_mixed).tolist():  # each as if there were no other
        window = regions.window(number)
        inside = regions.labels[window] == number
        seen = spread[window] * inside
        todo = np.flatnonzero(inside & (seen == 0))
        spread[window].flat[todo] = seen.ravel()[_nearest_seed(seen, todo)]
    return spread


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
