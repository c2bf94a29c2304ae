"""The buildings that remain in a training crop, as detectron2's ``Instances``.

Masks are filled by the official rule (``data.targets``) and boxes are taken from the masks. An outline is
filled as it lies in the whole tile, at the crop's scale; then its mask is cut, flipped and turned. Cutting or
mirroring the outline instead changes some pixels along slanted edges, 0.3 % of a building when mirrored,
since OpenCV's fill is not symmetric. So, without scaling, training masks are those of the official target to
the pixel.
"""

from typing import Any

import numpy as np
import torch
from detectron2.data import transforms
from detectron2.structures import BitMasks, Boxes, Instances

from skyeye_det.data.targets import Mask, Parts, building_mask

MIN_VISIBLE_AREA = 8
"""A building with fewer px inside the crop is left out of training: nothing is to be learned from it."""

MIN_VISIBLE_SHARE = 0.1
"""A building of which the crop keeps less than this share of its px is left out of training."""

_Placed = tuple[Mask, tuple[int, int]]


def training_instances(
    annotations: list[dict[str, Any]],
    tile_shape: tuple[int, int],
    window: transforms.Transform,
    orientation: transforms.Transform,
    crop_shape: tuple[int, int],
) -> Instances:
    """Makes the instances that remain in a crop.

    Buildings with fewer than ``MIN_VISIBLE_AREA`` px in the crop, or less than ``MIN_VISIBLE_SHARE`` of their
    own, are left out; no box is empty, so detectron2's ``filter_empty_instances`` is not needed.

    Args:
        annotations: of one tile; of each ``segmentation`` and ``damage`` are read.
        tile_shape: (height, width) of the tile.
        window: from tile to crop, by shift and scale.
        orientation: flips and turns of the crop, by whole pixels.
        crop_shape: (height, width) of the crop before ``orientation``.

    Returns:
        ``gt_boxes`` (N, 4) float32 XYXY px, ``gt_classes`` (N,) int64 zeros, ``gt_masks`` BitMasks (N, H, W)
        bool and ``gt_damage`` (N,) int64 -1..3; all of them where N is 0, too.
    """
    drawn = [annotation for annotation in annotations if annotation["segmentation"]]
    kept = []
    for annotation, placed in zip(drawn, _masks(drawn, tile_shape, window, crop_shape), strict=True):
        if placed is not None:
            kept.append((*placed, annotation["damage"]))
    masks = np.zeros((len(kept), *crop_shape), np.bool_)
    boxes = np.zeros((len(kept), 4), np.float32)
    for index, (mask, (x0, y0), _) in enumerate(kept):
        x1, y1 = x0 + mask.shape[1], y0 + mask.shape[0]
        masks[index, y0:y1, x0:x1] = mask
        boxes[index] = x0, y0, x1, y1
    masks = np.ascontiguousarray(orientation.apply_image(masks[..., None])[..., 0])
    instances = Instances(masks.shape[1:])
    instances.gt_boxes = Boxes(torch.from_numpy(orientation.apply_box(boxes).astype(np.float32)))
    instances.gt_classes = torch.zeros(len(kept), dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    instances.gt_damage = torch.tensor([damage for _, _, damage in kept], dtype=torch.int64)
    return instances


def _masks(
    annotations: list[dict[str, Any]],
    tile_shape: tuple[int, int],
    window: transforms.Transform,
    crop_shape: tuple[int, int],
) -> list[_Placed | None]:
    """Mask of each building in its tightest box and the box's place in the crop; None for one left out."""
    if not annotations:
        return []
    flats = [[np.asarray(flat, np.float64) for flat in each["segmentation"]] for each in annotations]
    rings = [flat for building in flats for flat in building]
    points = np.concatenate(rings).reshape(-1, 2)
    height, width = tile_shape
    (left, top, right, bottom), moved = _in_window(points, (width, height), window)
    sizes = np.array([sum(map(len, building)) // 2 for building in flats])
    starts = np.cumsum(sizes) - sizes
    low, high = np.minimum.reduceat(moved, starts), np.maximum.reduceat(moved, starts)
    seen = np.all((high >= 0) & (low < (crop_shape[1], crop_shape[0])), axis=1)
    outlines = iter(np.split(moved - (left, top), np.cumsum([len(ring) // 2 for ring in rings])[:-1]))
    placed: list[_Placed | None] = []
    for building, is_seen in zip(flats, list(seen), strict=True):
        parts: Parts = tuple((next(outlines),) for _ in building)
        if not is_seen:
            placed.append(None)
            continue
        mask, (x0, y0) = building_mask(parts, (bottom - top, right - left))
        placed.append(_cut(mask, x0 + left, y0 + top, crop_shape))
    return placed


def _in_window(
    points: np.ndarray, tile_size: tuple[int, int], window: transforms.Transform
) -> tuple[tuple[int, int, int, int], np.ndarray]:
    """The tile's box in the crop, and ``points`` (N, 2) in whole px of the crop."""
    corners = window.apply_coords(np.array([(0.0, 0.0), tile_size]))
    unscaled = np.array_equal(corners[1] - corners[0], tile_size)
    left, top, right, bottom = np.round(corners).astype(int).ravel().tolist()
    # np.round takes halves to the even neighbour: before a shift and after it may be two different pixels.
    centers = np.round(points) if unscaled else points
    return (left, top, right, bottom), np.round(window.apply_coords(centers + 0.5) - 0.5)


def _cut(mask: Mask, x0: int, y0: int, crop_shape: tuple[int, int]) -> _Placed | None:
    """What a crop keeps of a mask at (x0, y0), in its tightest box; None where that is too little."""
    top, left = max(-y0, 0), max(-x0, 0)
    visible = mask[top : max(crop_shape[0] - y0, 0), left : max(crop_shape[1] - x0, 0)]
    if np.count_nonzero(visible) < max(MIN_VISIBLE_AREA, MIN_VISIBLE_SHARE * np.count_nonzero(mask)):
        return None
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    tight = visible[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return tight, (x0 + left + int(columns[0]), y0 + top + int(rows[0]))
