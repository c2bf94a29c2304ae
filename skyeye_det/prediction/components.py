"""From a semantic building map to instances: connected components, split where touching buildings merged.

Each component grows from a marker, its pixels well inside the building: off the seams where a seam map was
learned (Ronneberger et al. 2015, arXiv:1505.04597, learn borders between touching objects likewise), else
the peaks of the distance transform, as a marker-based watershed takes them.

Boxes are XYXY in px of detectron2's continuous frame, where pixel ``k`` covers ``[k, k + 1]``.
"""

import cv2
import numpy as np

from skyeye_det.prediction.regions import Regions, connected_regions, spread_labels

MAP_THRESHOLD = 0.3
"""Least probability of a pixel of a component: below any threshold that localization would choose."""

MIN_COMPONENT_AREA = 12
"""px; the smallest buildings of xBD that can be told from noise."""

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


def map_components(
    building_map: np.ndarray, seam_map: np.ndarray | None, mask_side: int = 28
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The components of a building map, as instances.

    Args:
        building_map: float (h, w), probability of building.
        seam_map: float (h, w), probability that a building pixel lies at its building's edge; None: parts are
            split at narrow necks.
        mask_side: S of the soft masks.

    Returns:
        boxes (K, 4) float32, tight; masks (K, S, S) float32, the map over each box, 0 on other components;
        scores (K,) float32, mean probability of the component's pixels. In no order.

    Raises:
        ValueError: values that are not finite.
    """
    probability = np.asarray(building_map, np.float32)
    if not np.isfinite(probability).all():
        raise ValueError("expected a finite building map, found NaN or infinity")
    building = probability >= np.float32(MAP_THRESHOLD)
    labels = split_buildings(building, seam_map)
    parts = Regions(labels, int(labels.max()) + 1)
    numbers = 1 + np.flatnonzero(parts.areas[1:] >= MIN_COMPONENT_AREA)
    masks = np.zeros((len(numbers), mask_side, mask_side), np.float32)
    for index, number in enumerate(numbers.tolist()):
        window = parts.window(number)
        # Other components are zero; around all of them the map fades by itself.
        own = (labels[window] == number) | ~building[window]
        masks[index] = _resized(np.where(own, probability[window], np.float32(0)), mask_side)
    total = np.bincount(parts.numbers, probability.ravel()[parts.places], len(parts))
    scores = (total[numbers] / parts.areas[numbers]).astype(np.float32)
    return parts.boxes[numbers].astype(np.float32), masks, scores


def split_buildings(building: np.ndarray, seam_map: np.ndarray | None) -> np.ndarray:
    """Labels int32 (h, w) from 1 on of the buildings in a bool (h, w) image; 0 elsewhere.

    Each pixel goes to the nearest marker of its connected region; a region without markers is one building.
    """
    regions = connected_regions(building)
    markers = _peaks(building) if seam_map is None else _cores(building, seam_map < SEAM_THRESHOLD)
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
    return core.image_of(np.where(is_marker[core.numbers], core.numbers, 0))


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
