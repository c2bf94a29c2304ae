"""From a dataset dict to what the model takes: one six-channel image and, in training, its buildings.

Dataset dicts come from ``catalog.load_xbd_json``. Training masks are filled by the official rule
(``data.targets``) from the polygons as they lie after augmentation, and boxes are taken from the masks.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms
from detectron2.structures import BitMasks, Boxes, Instances

from skyeye_det.data.augmentation import DamageAwareCrop, PairAugInput, RandomQuarterTurn, RandomShift
from skyeye_det.data.photometric import RandomPhotometric
from skyeye_det.data.targets import Mask, Parts, building_mask
from skyeye_det.errors import InputError

MIN_VISIBLE_AREA = 8
"""A building with fewer px inside the crop is left out of training: nothing is to be learned from it."""

MIN_VISIBLE_SHARE = 0.1
"""A building of which the crop keeps less than this share of its px is left out of training."""


class PairMapper:
    """Reads a pair and, in training, augments it and makes its instances.

    Args:
        is_train: augment and make instances; otherwise the whole tile as it is.
        image_format: "RGB" or "BGR", channel order of the result.
        geometric: augmentation of both images and the polygons, by one draw.
        photometric: augmentation of values, drawn for each image apart.
        shift: misregistration, drawn for the post image alone.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        image_format: str,
        geometric: transforms.Augmentation | None = None,
        photometric: transforms.Augmentation | None = None,
        shift: transforms.Augmentation | None = None,
    ) -> None:
        if image_format not in ("RGB", "BGR"):
            raise InputError(f"INPUT.FORMAT: expected RGB or BGR, found {image_format}")
        self.is_train, self.image_format = is_train, image_format
        self.geometric = geometric or transforms.NoOpTransform()
        self.photometric = photometric or transforms.NoOpTransform()
        self.shift = shift or transforms.NoOpTransform()

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Translates ``INPUT.FORMAT`` and ``INPUT.PAIR`` into arguments."""
        arguments = {"is_train": is_train, "image_format": cfg.INPUT.FORMAT}
        if is_train:
            pair = cfg.INPUT.PAIR
            crop = DamageAwareCrop(pair.CROP_SIZE, tuple(pair.SCALE_RANGE), pair.CROP_BUILDING_PROB)
            arguments["geometric"] = transforms.AugmentationList(
                [crop, transforms.RandomFlip(), RandomQuarterTurn()]
            )
            arguments["photometric"] = RandomPhotometric(pair.PHOTOMETRIC)
            arguments["shift"] = RandomShift(pair.MAX_SHIFT)
        return arguments

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Makes the model's input.

        Args:
            dataset_dict: as ``catalog.load_xbd_json`` gives it; left as it is.

        Returns:
            The dict without ``annotations``, with ``image``: (6, H, W) uint8 tensor, pre image first, channels in
            ``image_format``; H, W are the crop's in training, while ``height`` and ``width`` stay the tile's. In
            training also ``instances``: ``gt_boxes`` (N, 4) float32 XYXY px, ``gt_classes`` (N,) int64 zeros,
            ``gt_masks`` BitMasks (N, H, W) bool, ``gt_damage`` (N,) int64 -1..3. N may be 0.

        Raises:
            InputError: an image is missing, unreadable, or of another size or depth than the annotations say.
        """
        result = {key: value for key, value in dataset_dict.items() if key != "annotations"}
        shape = dataset_dict["height"], dataset_dict["width"]
        pre, post = (read_image(dataset_dict[key], shape) for key in ("file_name", "post_file_name"))
        if self.is_train:
            pre, post, result["instances"] = self._augment(pre, post, dataset_dict["annotations"])
        result["image"] = self._stack(pre, post)
        return result

    def _augment(
        self, pre: np.ndarray, post: np.ndarray, annotations: list[dict[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray, Instances]:
        boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        damage = np.array([a["damage"] for a in annotations], np.int64)
        pair = PairAugInput(pre, _changed(self.shift, post), boxes=boxes, damage=damage)
        geometry = pair.apply_augmentations([self.geometric])
        instances = training_instances(annotations, geometry, pair.image.shape[:2])
        # Two draws: what light and sensor do differs between the images of a pair.
        return _changed(self.photometric, pair.image), _changed(self.photometric, pair.post_image), instances

    def _stack(self, pre: np.ndarray, post: np.ndarray) -> torch.Tensor:
        order = -1 if self.image_format == "RGB" else 1
        planes = [*cv2.split(pre)[::order], *cv2.split(post)[::order]]
        return torch.from_numpy(np.stack(planes))


def _changed(augmentation: transforms.Augmentation, image: np.ndarray) -> np.ndarray:
    """The image after one draw of an augmentation that concerns it alone."""
    pictured = transforms.AugInput(image)
    pictured.apply_augmentations([augmentation])
    return pictured.image


def read_image(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Reads an image as (H, W, 3) uint8 BGR, in the orientation in which its pixels are stored.

    Args:
        path: png, jpg or tif.
        shape: (height, width) that it must have.

    Raises:
        InputError: the file is missing, no image, not 8 bits a channel, or of another size.
    """
    try:
        content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(content, flags) if content.size else None
    if image is None:
        raise InputError(f"{path}: expected a png, jpg or tif image, found something else or a damaged file")
    if image.dtype != np.uint8:
        raise InputError(
            f"{path}: expected 8 bits a channel, found {image.dtype}; convert the image to 8 bits"
        )
    if image.shape[:2] != tuple(shape):
        raise InputError(
            f"{path}: expected {shape[1]} x {shape[0]} px as in the annotations, found {image.shape[1]} x "
            f"{image.shape[0]}; put the right image there or run tools/convert_xbd_to_coco.py again"
        )
    return image


def training_instances(
    annotations: list[dict[str, Any]], geometry: transforms.Transform, shape: tuple[int, int]
) -> Instances:
    """Makes the instances that remain in a crop.

    Buildings with fewer than ``MIN_VISIBLE_AREA`` px in the crop, or less than ``MIN_VISIBLE_SHARE`` of their
    own, are left out; no box is empty, so detectron2's ``filter_empty_instances`` is not needed.

    Args:
        annotations: of one tile.
        geometry: from tile to crop.
        shape: (height, width) of the crop.

    Returns:
        ``Instances`` with the fields named at ``PairMapper.__call__``.
    """
    kept = []
    for annotation, parts in zip(annotations, _moved_parts(annotations, geometry), strict=True):
        found = _visible_mask(parts, shape)
        if found is not None:
            kept.append((*found, annotation["damage"]))
    masks = np.zeros((len(kept), *shape), np.bool_)
    boxes = np.zeros((len(kept), 4), np.float32)
    for index, (mask, (x0, y0), _) in enumerate(kept):
        x1, y1 = x0 + mask.shape[1], y0 + mask.shape[0]
        masks[index, y0:y1, x0:x1] = mask
        boxes[index] = x0, y0, x1, y1
    instances = Instances(shape)
    instances.gt_boxes = Boxes(torch.from_numpy(boxes))
    instances.gt_classes = torch.zeros(len(kept), dtype=torch.int64)
    instances.gt_masks = BitMasks(torch.from_numpy(masks))
    instances.gt_damage = torch.tensor([damage for _, _, damage in kept], dtype=torch.int64)
    return instances


def _moved_parts(annotations: list[dict[str, Any]], geometry: transforms.Transform) -> list[Parts]:
    """Outlines of each building in whole px of the crop, moved in one go for the whole tile."""
    flats = [flat for annotation in annotations for flat in annotation["segmentation"]]
    if not flats:
        return [() for _ in annotations]
    ends = np.cumsum([len(flat) // 2 for flat in flats])
    points = np.concatenate([np.asarray(flat, np.float64) for flat in flats]).reshape(-1, 2)
    moved = np.round(geometry.apply_coords(points + 0.5) - 0.5)
    rings = iter(np.split(moved, ends[:-1]))
    return [tuple((next(rings),) for _ in annotation["segmentation"]) for annotation in annotations]


def _visible_mask(parts: Parts, shape: tuple[int, int]) -> tuple[Mask, tuple[int, int]] | None:
    """Mask of one building in its tightest box and the box's place; None where too little is visible."""
    if not parts:
        return None
    vertices = np.concatenate([ring for polygon in parts for ring in polygon])
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    limit = np.array([shape[1], shape[0]]) - 1
    if (high < 0).any() or (low > limit).any():
        return None
    mask, corner = building_mask(parts, shape)
    area = np.count_nonzero(mask)
    if area < MIN_VISIBLE_AREA:
        return None
    if (low < 0).any() or (high > limit).any():
        whole = tuple(tuple(ring - low for ring in polygon) for polygon in parts)
        width, height = (high - low + 1).astype(int).tolist()
        if area < MIN_VISIBLE_SHARE * np.count_nonzero(building_mask(whole, (height, width))[0]):
            return None
    return mask, corner
