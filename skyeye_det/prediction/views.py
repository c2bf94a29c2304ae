"""Test-time augmentation: a pair seen flipped, turned and scaled, and what was found brought back and merged.

Frames: the tile is ``h`` x ``w`` px; a view of it ``H`` x ``W``, which a quarter turn swaps and a scale
multiplies. Boxes are XYXY in px, pixel ``k`` covers ``[k, k + 1]``.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from skyeye_det.errors import InputError, shown
from skyeye_det.prediction.merging import merge_predictions
from skyeye_det.prediction.prediction import InstancePrediction, Prediction

_SCALES = 0.25, 4.0
_ORIENTATIONS = {
    "none": ((0, False),),
    "flips": ((0, False), (0, True), (2, True), (2, False)),
    "d4": tuple((turns, mirrored) for mirrored in (False, True) for turns in range(4)),
}
"""(quarter turns, mirrored) of each; a mirrored half turn is the flip upside down."""


@dataclass(frozen=True)
class View:
    """One way to look at a tile: mirrored left to right, then turned, then scaled.

    Attributes:
        turns: quarter turns counter-clockwise, 0..3.
        mirrored: whether it is mirrored before.
        scale: factor of both sides, above 0; whole pixels of the scaled sides are the nearest.
    """

    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The image as the view sees it.

        Args:
            image: uint8 (channels, h, w).

        Returns:
            uint8 (channels, H, W); without a scale the same values in other places.
        """
        seen = np.ascontiguousarray(
            np.rot90(image[..., ::-1] if self.mirrored else image, self.turns, (1, 2))
        )
        height, width = (max(1, round(side * self.scale)) for side in seen.shape[1:])
        return resized_planes(seen, (height, width))

    def restore(self, prediction: Prediction, shape: tuple[int, int]) -> Prediction:
        """A prediction made in this view, in the tile's frame.

        Boxes, soft masks and maps are turned and flipped exactly; a scale moves boxes by the true ratio of
        the sides and resizes maps, while soft masks, which live in their boxes, stay.

        Args:
            prediction: its ``shape`` is (H, W).
            shape: (h, w) of the tile in px; the view's own size does not tell it, because of rounding.
        """
        if not isinstance(prediction, InstancePrediction):
            building_map = self._restored_map(prediction.building_map, shape)
            damage_map = self._restored_map(prediction.damage_map, shape)
            return replace(prediction, building_map=building_map, damage_map=damage_map, shape=shape)
        building = prediction.building_map
        masks = np.rot90(prediction.masks, -self.turns, (1, 2))
        masks = masks[:, :, ::-1] if self.mirrored else masks
        return replace(
            prediction,
            boxes=self._restored_boxes(prediction.boxes, prediction.shape, shape),
            masks=np.ascontiguousarray(masks),
            shape=shape,
            building_map=None if building is None else self._restored_map(building, shape),
        )

    def _restored_boxes(self, boxes: np.ndarray, seen: tuple[int, int], tile: tuple[int, int]) -> np.ndarray:
        height, width = seen
        x0, y0, x1, y1 = boxes.astype(np.float64).T
        for _ in range(self.turns):  # a quarter turn clockwise
            x0, y0, x1, y1 = height - y1, x0, height - y0, x1
            height, width = width, height
        if self.mirrored:
            x0, x1 = width - x1, width - x0
        restored = np.stack([x0, y0, x1, y1], axis=1)
        restored *= np.tile([tile[1] / width, tile[0] / height], 2)
        return restored.astype(np.float32)

    def _restored_map(self, image: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
        """Uint8 (..., H, W) to (..., h, w)."""
        image = np.rot90(image, -self.turns, (-2, -1))
        image = np.ascontiguousarray(image[..., ::-1] if self.mirrored else image)
        planes = resized_planes(image.reshape(-1, *image.shape[-2:]), tile)
        return planes.reshape(*image.shape[:-2], *tile)


def resized_planes(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """uint8 (n, H, W) to (n, h, w): by area where it shrinks, so that no pixel is skipped, else bilinear."""
    if planes.shape[1:] == tuple(shape):
        return planes
    interpolation = cv2.INTER_AREA if shape[0] <= planes.shape[1] else cv2.INTER_LINEAR
    size = shape[1], shape[0]
    return np.stack([cv2.resize(plane, size, interpolation=interpolation) for plane in planes])


def parse_views(text: str) -> tuple[View, ...]:
    """The views that a command line names, scale by scale, of each the unturned one first.

    Args:
        text: ``none`` (the tile as it is), ``flips`` (the tile, its two flips and the half turn) or ``d4``
            (the eight flips and turns), each perhaps with scales, as in ``d4@1.0,1.25``: every orientation
            at every scale.

    Raises:
        InputError: anything else.
    """
    orientation, at, scales = text.partition("@")
    parts = scales.split(",") if at else ["1"]
    is_number = all(re.fullmatch(r"\d{1,2}(\.\d{1,6})?", part) for part in parts)
    factors = [float(part) for part in parts] if is_number else []
    in_range = all(_SCALES[0] <= factor <= _SCALES[1] for factor in factors)
    if orientation not in _ORIENTATIONS or not factors or not in_range or len(set(factors)) < len(factors):
        raise InputError(
            f"--tta: expected {', '.join(_ORIENTATIONS)}, or one of them with different scales from "
            f"{_SCALES[0]} to {_SCALES[1]} as in d4@1.0,1.25, found {shown(text)}; give one of these"
        )
    return tuple(
        View(turns, mirrored, factor) for factor in factors for turns, mirrored in _ORIENTATIONS[orientation]
    )


def predict_views(
    predict: Callable[[list[np.ndarray]], list[Prediction]],
    images: Sequence[np.ndarray],
    views: Sequence[View],
) -> list[Prediction]:
    """Predicts pairs in every view and merges what was found in each, in the window's frame.

    Args:
        predict: from uint8 (6, H, W) each to a prediction each, in its frame.
        images: uint8 (6, h, w) each.
        views: at least one; the cost is that of a prediction each, a scale's by its square.
    """
    seen = [predict([view.apply(image) for image in images]) for view in views]
    return [
        merge_predictions(
            [view.restore(found[index], image.shape[1:]) for view, found in zip(views, seen, strict=True)],
            same_model=True,
        )
        for index, image in enumerate(images)
    ]
