"""From a semantic building map to instances: connected components, split where touching buildings merged.

Each component grows from a marker, its pixels well inside the building: off the seams where a seam map was
learned (Ronneberger et al. 2015, arXiv:1505.04597, learn borders between touching objects likewise), else
the peaks of the distance transform, as a marker-based watershed takes them.

Boxes are XYXY in px of detectron2's continuous frame, where pixel ``k`` covers ``[k, k + 1]``.
"""

import cv2
import numpy as np

from skyeye_det.prediction.regions import Regions, connected_regions, spread_labels

MOST_COVERED = 0.5
"""A component of which instances cover this share or more of its pixels is known, and left out."""

SEAM_THRESHOLD = 0.35
"""Least probability of a pixel that lies on a seam. Seams of val's labels are as well found at it as at 0.5,
and once blurred by 2 px they part 0.91 of the buildings, against 0.72."""

LEAST_MARKER_AREA = 4
"""px; smaller markers split nothing: they are specks that the seam map left."""

_LEAST_MARKER_DEPTH = 2.5
"""px from the region's edge that a marker reaches. Seams are 2 px wide: what lies outside them, but inside a
map that came out too wide, is a thin rim and no building."""

_NARROWEST_NECK = 0.7
"""Without a seam map: parts are told apart where their neck is narrower than this share of each."""

_LEVELS = tuple(1.5 * 1.3**step for step in range(13))
"""px from the edge at which necks are looked for: 1.5 to 35, so buildings of 3 to 100 px."""

Components = tuple[np.ndarray, np.ndarray, np.ndarray]


class BuildingComponents:
    """The components of one building map, split once; asked for all, and for what instances leave.

    Args:
        building_map: (h, w) probability of building, float 0..1 or uint8 0..255.
        seam_map: (h, w) probability that a building pixel lies at its building's edge, likewise; None: parts
            are split at narrow necks.
        threshold: least probability of a building pixel, above 0.
        min_area: px; components of fewer pixels are left out.

    Raises:
        ValueError: shapes that differ, values that are not finite, a threshold of 0 or less.
    """

    def __init__(
        self, building_map: np.ndarray, seam_map: np.ndarray | None, threshold: float, min_area: int
    ):
        self._probability = as_probability(building_map)
        _check_images(self._probability, seam_map)
        if threshold <= 0:
            raise ValueError(f"expected a threshold above 0, found {threshold}")
        self._building = self._probability >= np.float32(threshold)
        labels = split_buildings(self._building, seam_map)
        self._parts = Regions(labels, int(labels.max()) + 1)
        self._least = max(min_area, 1)

    def all_boxes(self) -> tuple[np.ndarray, np.ndarray]:
        """Tight boxes (K, 4) float32 of all components, and their mean probability (K,) float32."""
        numbers = 1 + np.flatnonzero(self._parts.areas[1:] >= self._least)
        return self._parts.boxes[numbers].astype(np.float32), self._scores(self._parts, numbers)

    def uncovered(self, covered: np.ndarray, mask_side: int = 28) -> Components:
        """What the map finds and no instance covers, as instances.

        Args:
            covered: bool (h, w), pixels of instances; components mostly covered are left out (see
                ``MOST_COVERED``), others lose their covered pixels.
            mask_side: S of the soft masks.

        Returns:
            boxes (K, 4) float32, tight; masks (K, S, S) float32, the map over each box, 0 on other
            components; scores (K,) float32, mean probability of the component's pixels. In no order.

        Raises:
            ValueError: ``covered`` has another shape than the map.
        """
        parts = self._parts
        if covered.shape != parts.labels.shape:
            raise ValueError(
                f"expected covered pixels {parts.labels.shape} as the map, found {covered.shape}"
            )
        is_covered = covered.ravel()[parts.places]
        hidden = np.bincount(parts.numbers[is_covered], minlength=len(parts))
        new = (hidden < MOST_COVERED * parts.areas) & (parts.areas - hidden >= self._least)
        new[0] = False
        is_left = new[parts.numbers] & ~is_covered
        left = Regions(parts.painted(np.where(is_left, parts.numbers, 0)), len(parts))
        numbers = np.flatnonzero(new)
        masks = np.zeros((len(numbers), mask_side, mask_side), np.float32)
        for index, number in enumerate(numbers.tolist()):
            window = left.window(number)
            # Other components and covered pixels are zero; around all of them the map fades by itself.
            own = (left.labels[window] == number) | ~self._building[window]
            masks[index] = _resized(np.where(own, self._probability[window], np.float32(0)), mask_side)
        return left.boxes[numbers].astype(np.float32), masks, self._scores(left, numbers)

    def _scores(self, parts: Regions, numbers: np.ndarray) -> np.ndarray:
        """Mean probability float32 of the pixels of each part."""
        total = np.bincount(parts.numbers, self._probability.ravel()[parts.places], len(parts))
        return (total[numbers] / parts.areas[numbers]).astype(np.float32)


def as_probability(image: np.ndarray) -> np.ndarray:
    """Probabilities float32 0..1 of a map that holds them so, or as uint8 0..255."""
    if image.dtype == np.uint8:
        return image * np.float32(1 / 255)
    return np.asarray(image, np.float32)


def split_buildings(building: np.ndarray, seam_map: np.ndarray | None) -> np.ndarray:
    """Labels int32 (h, w) from 1 on of the buildings in a bool (h, w) image; 0 elsewhere.

    Each pixel goes to the nearest marker of its connected region; a region without markers is one building.
    """
    regions = connected_regions(building)
    if seam_map is None:
        markers = _peaks(building)
    else:
        markers = _cores(building, as_probability(seam_map) < SEAM_THRESHOLD)
    seeds, region = markers.ravel()[regions.places], regions.numbers
    is_marked = np.zeros(len(regions), bool)
    is_marked[region[seeds > 0]] = True
    return spread_labels(np.where(is_marked[region], seeds, region + markers.max()), regions)


def _depth(building: np.ndarray) -> np.ndarray:
    """Distance float32 (h, w) in px to the nearest pixel that is no building, 1 at the edge."""
    # A frame of background: the image's border is an edge, as any other.
    framed = cv2.copyMakeBorder(building.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    return cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]


def _cores(building: np.ndarray, off_seams: np.ndarray) -> np.ndarray:
    """Markers int32 (h, w): building pixels off the seams, specks and rims left out."""
    core = connected_regions(building & off_seams)
    is_marker = np.zeros(len(core), bool)
    is_marker[core.labels[_depth(building) >= _LEAST_MARKER_DEPTH]] = True
    is_marker &= core.areas >= LEAST_MARKER_AREA
    return core.painted(np.where(is_marker[core.numbers], core.numbers, 0))


def _peaks(building: np.ndarray) -> np.ndarray:
    """Markers int32 (h, w): what remains of each building above the level at which its necks are cut."""
    depth = _depth(building)
    markers = connected_regions(building).labels
    deepest = float(depth.max())
    for level in _LEVELS:
        if level > deepest * _NARROWEST_NECK:
            break
        parts = connected_regions(depth >= level)
        inside, part = parts.places, parts.numbers
        parent = np.zeros(len(parts), np.int64)
        parent[part] = markers.ravel()[inside]
        peak = np.zeros(len(parts), np.float32)
        np.maximum.at(peak, part, depth.ravel()[inside])
        stands_out = (peak * _NARROWEST_NECK >= level) & (parent > 0)
        splits = np.bincount(parent[stands_out], minlength=int(markers.max()) + 1) > 1
        splits[0] = False
        if splits.any():
            chosen = (stands_out & splits[parent])[parts.labels]
            kept = np.where(splits[markers], 0, markers)
            markers = np.where(chosen, parts.labels + markers.max(), kept)
    return markers


def _resized(crop: np.ndarray, side: int) -> np.ndarray:
    """The crop as (side, side) cells, each the mean over its area: sharper than bilinear when enlarged."""
    return np.minimum(cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA), np.float32(1))


def _check_images(probability: np.ndarray, seam_map: np.ndarray | None) -> None:
    if probability.ndim != 2 or not probability.size:
        raise ValueError(f"expected a building map (h, w), found {probability.shape}")
    if seam_map is not None and seam_map.shape != probability.shape:
        raise ValueError(
            f"expected a seam map {probability.shape} as the building map, found {seam_map.shape}"
        )
    if not np.isfinite(probability).all():
        raise ValueError("expected a finite building map, found NaN or infinity")
