"""What models saw in one window, as arrays and before any decision.

Glossary: ``N`` instances; ``S`` side of a soft mask; ``D`` length of a feature vector; ``(h, w)`` window.
Boxes are XYXY in px of the window, in detectron2's continuous frame, where pixel ``k`` covers ``[k, k + 1]``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from detectron2.structures import Instances
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class InstancePrediction:
    """Every instance of a window, and every component of its building map; they may stand for the same house.

    Attributes:
        boxes: (N, 4) float32, XYXY px.
        masks: (N, S, S) uint8, probability of building inside the box, 255 = certain.
        scores: (N,) float32, 0..1.
        damage_probs: (N, 4) float32, rows sum to 1, as the model gave them.
        is_component: (N,) bool, whether it is a component of the building map.
        features: (N, D) float16, what the damage was read from; D is 0 where models differ in it.
        shape: (h, w) in px.
        building_map: uint8 (h, w), probability of building, 255 = certain; None: the model has none.
    """

    boxes: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    damage_probs: np.ndarray
    is_component: np.ndarray
    features: np.ndarray
    shape: tuple[int, int]
    building_map: np.ndarray | None = None

    @classmethod
    def from_instances(
        cls, instances: "Instances", building_map: "Tensor | None" = None
    ) -> "InstancePrediction":
        """Takes over the output of ``PairRCNN`` for one pair, on whatever device its tensors are.

        Args:
            instances: with ``pred_boxes``, ``pred_masks``, ``scores`` and ``pred_damage_probs``; perhaps with
                ``pred_is_component`` and ``pred_features``.
            building_map: float (h, w) of the same size, probability 0..1.

        Raises:
            ValueError: values that are not finite.
        """
        fields = instances.to("cpu")
        shape = (int(instances.image_size[0]), int(instances.image_size[1]))
        compact = None if building_map is None else compact_probability(building_map)
        count = len(fields)
        return cls(
            boxes=fields.pred_boxes.tensor.float().numpy(),
            masks=compact_probability(fields.pred_masks[:, 0]),
            scores=fields.scores.float().numpy(),
            damage_probs=fields.pred_damage_probs.float().numpy(),
            is_component=(
                fields.pred_is_component.numpy()
                if fields.has("pred_is_component")
                else np.zeros(count, np.bool_)
            ),
            features=(
                fields.pred_features.float().numpy().astype(np.float16)
                if fields.has("pred_features")
                else np.zeros((count, 0), np.float16)
            ),
            shape=shape,
            building_map=compact,
        )


@dataclass(frozen=True, eq=False)
class PixelPrediction:
    """Probabilities of the pixels of a window, as a semantic model gives them.

    Attributes:
        building_map: uint8 (h, w), probability of building, 255 = certain.
        damage_map: uint8 (4, h, w), probability of each damage class given building, likewise.
        shape: (h, w) in px.
    """

    building_map: np.ndarray
    damage_map: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def from_pixel_probs(cls, pixel_probs: "Tensor | np.ndarray") -> "PixelPrediction":
        """Takes over the output of a semantic model for one pair, on whatever device it is.

        Args:
            pixel_probs: float (5, h, w), 0..1: building, and the four damage classes given building.

        Raises:
            ValueError: values that are not finite.
        """
        compact = compact_probability(pixel_probs)
        return cls(compact[0], compact[1:], (compact.shape[1], compact.shape[2]))


Prediction = InstancePrediction | PixelPrediction


def prediction_from_output(output: Mapping[str, Any]) -> Prediction:
    """Takes over ``instances``, with the hybrid's ``building_map``, or a semantic model's ``pixel_probs``."""
    if "pixel_probs" in output:
        return PixelPrediction.from_pixel_probs(output["pixel_probs"])
    return InstancePrediction.from_instances(output["instances"], output.get("building_map"))


def compact_probability(values: "Tensor | np.ndarray") -> np.ndarray:
    """Probabilities 0..1 of any shape as uint8 0..255, on whatever device they are.

    Raises:
        ValueError: NaN or infinity.
    """
    array = values if isinstance(values, np.ndarray) else values.detach().float().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("expected finite probabilities, found NaN or infinity")
    return np.rint(array.clip(0, 1) * np.float32(255)).astype(np.uint8)


def as_probability(image: np.ndarray) -> np.ndarray:
    """Probabilities float32 0..1 of an array that holds them so, or as uint8 0..255."""
    if image.dtype == np.uint8:
        return image * np.float32(1 / 255)
    return np.asarray(image, np.float32)


def unit_probs(values: np.ndarray) -> np.ndarray:
    """float32 (n, 4), rows sum to 1, of pixels' damage probabilities uint8 (n, 4); rows of 0 stay."""
    probs = values.astype(np.float32)
    return probs / np.maximum(probs.sum(axis=1, keepdims=True), np.float32(1))
