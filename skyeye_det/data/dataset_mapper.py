"""From a dataset dict to what the model takes: one six-channel image and, in training, its buildings.

Dataset dicts come from ``catalog.load_xbd_json``.
"""

from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms
from detectron2.structures import Instances

from skyeye_det.data.augmentation import (
    DamageAwareCrop,
    PairAugInput,
    RandomMirror,
    RandomQuarterTurn,
    RandomShift,
)
from skyeye_det.data.image_reading import read_image
from skyeye_det.data.instances import pixel_targets, seen_instances, training_instances
from skyeye_det.data.photometric import RandomPhotometric
from skyeye_det.errors import InputError


class PairMapper:
    """Reads a pair and, in training, augments it and makes its instances.

    Args:
        is_train: augment and make instances; otherwise the whole tile as it is.
        image_format: "RGB" or "BGR", channel order of the result.
        crop: window and scale, one draw for both images and the polygons.
        orientation: flips and quarter turns, one draw for both images and the masks; moves whole pixels.
        photometric: augmentation of values, drawn for each image apart.
        shift: misregistration, drawn for the post image alone.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        image_format: str,
        crop: transforms.Augmentation | None = None,
        orientation: transforms.Augmentation | None = None,
        photometric: transforms.Augmentation | None = None,
        shift: transforms.Augmentation | None = None,
    ) -> None:
        if image_format not in ("RGB", "BGR"):
            raise InputError(f"INPUT.FORMAT: expected RGB or BGR, found {image_format}")
        self.is_train, self.image_format = is_train, image_format
        self.crop = crop or transforms.NoOpTransform()
        self.orientation = orientation or transforms.NoOpTransform()
        self.photometric = photometric or transforms.NoOpTransform()
        self.shift = shift or transforms.NoOpTransform()

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Translates ``INPUT.FORMAT`` and ``INPUT.PAIR`` into arguments.

        Raises:
            InputError: a value is out of its range.
        """
        arguments = {"is_train": is_train, "image_format": cfg.INPUT.FORMAT}
        if is_train:
            pair = cfg.INPUT.PAIR
            _check_ranges(pair)
            scales = tuple(pair.SCALE_RANGE)
            arguments["crop"] = DamageAwareCrop(pair.CROP_SIZE, scales, pair.CROP_BUILDING_PROB)
            arguments["orientation"] = transforms.AugmentationList([RandomMirror(), RandomQuarterTurn()])
            arguments["photometric"] = RandomPhotometric(pair.PHOTOMETRIC)
            arguments["shift"] = RandomShift(pair.MAX_SHIFT)
        return arguments

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Makes the model's input.

        Args:
            dataset_dict: as ``catalog.load_xbd_json`` gives it; left as it is.

        Returns:
            The dict without ``annotations``, with ``image``: (6, H, W) uint8 tensor, pre image first,
            channels in ``image_format``; H, W are the crop's in training, while ``height`` and ``width`` stay
            the tile's. In training also ``instances``: ``gt_boxes`` (N, 4) float32 XYXY px, ``gt_classes``
            (N,) int64 zeros, ``gt_masks`` BitMasks (N, H, W) bool, ``gt_damage`` (N,) int64 -1..3, 0 <= N;
            and ``sem_seg`` and ``seams``, uint8 (H, W), of ``pixel_targets``, where slivers of buildings that
            are no instances are building, too.

        Raises:
            InputError: an image is missing, unreadable, or of another size or depth than the annotations say.
        """
        result = {key: value for key, value in dataset_dict.items() if key != "annotations"}
        shape = dataset_dict["height"], dataset_dict["width"]
        pre, post = (read_image(dataset_dict[key], shape) for key in ("file_name", "post_file_name"))
        if self.is_train:
            pre, post, seen = self._augment(pre, post, dataset_dict["annotations"])
            result["instances"] = training_instances(seen)
            result["sem_seg"], result["seams"] = pixel_targets(seen)
        result["image"] = self._stack(pre, post)
        return result

    def _augment(
        self, pre: np.ndarray, post: np.ndarray, annotations: list[dict[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray, Instances]:
        boxes = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        damage = np.array([a["damage"] for a in annotations], np.int64)
        pair = PairAugInput(pre, _changed(self.shift, post), boxes=boxes, damage=damage)
        window = pair.apply_augmentations([self.crop])
        shape = pair.image.shape[:2]
        orientation = pair.apply_augmentations([self.orientation])
        seen = seen_instances(annotations, pre.shape[:2], window, orientation, shape)
        # Two draws: what light and sensor do differs between the images of a pair.
        return _changed(self.photometric, pair.image), _changed(self.photometric, pair.post_image), seen

    def _stack(self, pre: np.ndarray, post: np.ndarray) -> torch.Tensor:
        order = 1 if self.image_format == "RGB" else -1
        planes = [*cv2.split(pre)[::order], *cv2.split(post)[::order]]
        return torch.from_numpy(np.stack(planes))


def _check_ranges(pair: CfgNode) -> None:
    """Refuses values of ``INPUT.PAIR`` that mean nothing."""
    scales = list(pair.SCALE_RANGE)
    ranges = (
        ("CROP_SIZE", pair.CROP_SIZE >= 1, "1 px or more"),
        ("CROP_BUILDING_PROB", 0 <= pair.CROP_BUILDING_PROB <= 1, "0..1"),
        ("SCALE_RANGE", len(scales) == 2 and 0 < scales[0] <= scales[1], "[least, greatest], above 0"),
        ("PHOTOMETRIC", 0 <= pair.PHOTOMETRIC <= 1, "0..1"),
        ("MAX_SHIFT", pair.MAX_SHIFT >= 0, "0 px or more"),
    )
    for key, is_right, expected in ranges:
        if not is_right:
            raise InputError(f"INPUT.PAIR.{key}: expected {expected}, found {pair[key]}")


def _changed(augmentation: transforms.Augmentation, image: np.ndarray) -> np.ndarray:
    """The image after one draw of an augmentation that concerns it alone."""
    pictured = transforms.AugInput(image)
    pictured.apply_augmentations([augmentation])
    return pictured.image
