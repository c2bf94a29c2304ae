"""The buildings that remain in a training crop, as detectron2's ``Instances``.

Masks are filled by the official rule (``data.targets``) and boxes are taken from the masks. An outline is
filled as it lies in the whole tile, at the crop's scale; then its mask is cut, flipped and turned. Cutting or
mirroring the outline instead changes some pixels along slanted edges, 0.3 % of a building when mirrored,
since OpenCV's fill is not symmetric. So, without scaling, training masks are those of the official target to
the pixel.
"""

from typing import Any

import cv2
import numpy as np
import torch
from detectron2.data import transforms
from detectron2.structures import BitMasks, Boxes, Instances

from skyeye_det.damage import IGNORE_DAMAGE, DamageClass
from skyeye_det.data.fill_rule import whole_pixels
from skyeye_det.data.targets import Mask, Parts, building_mask

MIN_VISIBLE_AREA = 8
"""A building with fewer px inside the crop is no instance in training: nothing is to be learned from it."""

MIN_VISIBLE_SHARE = 0.1
"""A building of which the crop keeps less than this share of its px is no instance in training."""

UNCLASSIFIED_PIXEL = 5
"""Value in ``sem_seg`` of a building without a grade."""

SEAM_WIDTH = 2
"""px from a building's edge that count as its seam; without them touching buildings come apart."""

_Placed = tuple[Mask, tuple[int, int], bool]
"""Mask in its tightest box, which has a pixel; the box's place in the crop; whether it is an instance."""
_Box = tuple[int, int, int, int]
_NONE = np.zeros((0, 0), np.uint8)


def training_instances(seen: Instances) -> Instances:
    """Those of ``seen_instances`` that instances are learned from, without ``gt_is_instance``."""
    learned = seen[seen.gt_is_instance]
    learned.remove("gt_is_instance")
    return learned


def seen_instances(
    annotations: list[dict[str, Any]],
    tile_shape: tuple[int, int],
    window: transforms.Transform,
    orientation: transforms.Transform,
    crop_shape: tuple[int, int],
) -> Instances:
    """Every building that has a pixel in a crop.

    Those with fewer than ``MIN_VISIBLE_AREA`` px in the crop, or less than ``MIN_VISIBLE_SHARE`` of their
    own, are no instances to learn; their pixels are building all the same. No box is empty, so detectron2's
    ``filter_empty_instances`` is not needed.

    Args:
        annotations: of one tile; of each ``segmentation`` and ``damage`` are read.
        tile_shape: (height, width) of the tile.
        window: from tile to crop, by shift and scale.
        orientation: flips and turns of the crop, by whole pixels.
        crop_shape: (height, width) of the crop before ``orientation``.

    Returns:
        ``gt_boxes`` (N, 4) float32 XYXY px, ``gt_classes`` (N,) int64 zeros, ``gt_masks`` BitMasks (N, H, W)
        bool, ``gt_damage`` (N,) int64 -1..3 and ``gt_is_instance`` (N,) bool; all of them where N is 0, too.
    """
    drawn = [annotation for annotation in annotations if annotation["segmentation"]]
    seen = []
    for annotation, placed in zip(drawn, _masks(drawn, tile_shape, window, crop_shape), strict=True):
        if placed is not None:
            seen.append((*placed, annotation["damage"]))
    boxes = np.array(
        [(x0, y0, x0 + mask.shape[1], y0 + mask.shape[0]) for mask, (x0, y0), *_ in seen], np.float64
    ).reshape(-1, 4)
    # Each mask is turned inside its box: turning whole images of them costs ten times as much.
    boxes = orientation.apply_box(boxes)
    turn = orientation.apply_image
    masks = np.zeros((len(seen), *turn(np.zeros(crop_shape, np.bool_)).shape), np.bool_)
    for index, (mask, *_) in enumerate(seen):
        x0, y0, x1, y1 = (round(edge) for edge in boxes[index].tolist())
        masks[index, y0:y1, x0:x1] = turn(mask)
    instances = Instances(masks.shape[1:])
    instances.gt_boxes = Boxes(torch.from_numpy(boxes.astype(np.float32)))
    instances.gt_classes = torch.zeros(len(seen), dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    instances.gt_damage = torch.tensor([damage for *_, damage in seen], dtype=torch.int64)
    instances.gt_is_instance = torch.tensor([is_instance for _, _, is_instance, _ in seen], dtype=torch.bool)
    return instances


def _masks(
    annotations: list[dict[str, Any]],
    tile_shape: tuple[int, int],
    window: transforms.Transform,
    crop_shape: tuple[int, int],
) -> list[_Placed | None]:
    """Each building as the crop shows it; None for one without a pixel in it."""
    if not annotations:
        return []
    flats = [[np.asarray(flat, np.float64) for flat in each["segmentation"]] for each in annotations]
    points = np.concatenate([flat for building in flats for flat in building]).reshape(-1, 2)
    (left, top, right, bottom), moved = _in_window(points, (tile_shape[1], tile_shape[0]), window)
    sizes = np.array([sum(map(len, building)) // 2 for building in flats])
    starts = np.cumsum(sizes) - sizes
    low, high = np.minimum.reduceat(moved, starts), np.maximum.reduceat(moved, starts)
    is_seen = np.all((high >= 0) & (low < crop_shape[::-1]), axis=1)
    rings = iter(np.split(moved - (left, top), np.cumsum([len(f) // 2 for b in flats for f in b])[:-1]))
    placed: list[_Placed | None] = []
    for building, seen in zip(flats, is_seen.tolist(), strict=True):
        parts: Parts = tuple((next(rings).astype(np.float64),) for _ in building)
        mask, (x0, y0) = building_mask(parts, (bottom - top, right - left)) if seen else (_NONE, (0, 0))
        placed.append(_cut(mask, x0 + left, y0 + top, crop_shape))
    return placed


def _in_window(
    points: np.ndarray, tile_size: tuple[int, int], window: transforms.Transform
) -> tuple[_Box, np.ndarray]:
    """The tile's box in the crop, and ``points`` (N, 2) in whole px of the crop."""
    corners = window.apply_coords(np.array([(0.0, 0.0), tile_size]))
    unscaled = np.array_equal(corners[1] - corners[0], tile_size)
    left, top, right, bottom = np.round(corners).astype(int).ravel().tolist()
    # Rounded before the shift too, whose own rounding could lift a coordinate over a half.
    centers = whole_pixels(points) if unscaled else points
    return (left, top, right, bottom), whole_pixels(window.apply_coords(centers + 0.5) - 0.5)


def _cut(mask: Mask, x0: int, y0: int, crop_shape: tuple[int, int]) -> _Placed | None:
    """What a crop keeps of a mask at (x0, y0); None where that is no pixel."""
    top, left = max(-y0, 0), max(-x0, 0)
    visible = mask[top : max(crop_shape[0] - y0, 0), left : max(crop_shape[1] - x0, 0)]
    area = int(np.count_nonzero(visible))
    if not area:
        return None
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    tight = visible[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    is_instance = area >= max(MIN_VISIBLE_AREA, MIN_VISIBLE_SHARE * cv2.countNonZero(mask))
    return tight, (x0 + left + int(columns[0]), y0 + top + int(rows[0])), is_instance


def pixel_targets(instances: Instances) -> tuple[torch.Tensor, torch.Tensor]:
    """Paints the buildings of a crop as pixel targets; of overlapping ones the later wins, as officially.

    Args:
        instances: of ``seen_instances``: ``gt_boxes`` that fit ``gt_masks`` exactly, and ``gt_damage``.

    Returns:
        sem_seg: (H, W) uint8, 0 background, 1..4 class, ``UNCLASSIFIED_PIXEL`` un-classified.
        seams: (H, W) uint8, 1 where a building pixel lies within ``SEAM_WIDTH`` px of the background or of
            another building.
    """
    labels = np.zeros(instances.image_size, np.uint16)
    masks = instances.gt_masks.tensor.numpy()
    for index, (x0, y0, x1, y1) in enumerate(instances.gt_boxes.tensor.round().long().tolist()):
        window = labels[y0:y1, x0:x1]
        window[masks[index, y0:y1, x0:x1]] = index + 1
    damage = instances.gt_damage.numpy()
    values = np.where(damage == IGNORE_DAMAGE, UNCLASSIFIED_PIXEL, damage + DamageClass.NO_DAMAGE.pixel_value)
    palette = np.concatenate([[0], values]).astype(np.uint8)
    around = np.ones((2 * SEAM_WIDTH + 1, 2 * SEAM_WIDTH + 1), np.uint8)
    differs = (cv2.dilate(labels, around) != labels) | (cv2.erode(labels, around) != labels)
    seams = differs & (labels > 0)
    return torch.from_numpy(palette[labels]), torch.from_numpy(seams.view(np.uint8))
