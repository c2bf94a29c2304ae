"""What the model found in one tile, as arrays, and its two outputs: pixels and COCO results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skyeye_det.decision.painting import paint
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.rasterize import encode_instances, pixel_areas

if TYPE_CHECKING:
    from detectron2.structures import Instances
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TilePrediction:
    """N buildings of one tile.

    Attributes:
        boxes: (N, 4) float32, XYXY in px of the tile.
        masks: (N, S, S) float32, probability inside the box.
        scores: (N,) float32, 0..1.
        damage_probs: (N, 4) float32, rows sum to 1.
        damage: (N,) int64, 0..3.
        shape: (height, width) of the tile in px.
        building_map: uint8 (height, width), probability of building, 255 = certain; None: the model has none.
        rule: what the instances were decided by, None before ``decided``.
    """

    boxes: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    damage_probs: np.ndarray
    damage: np.ndarray
    shape: tuple[int, int]
    building_map: np.ndarray | None = None
    rule: DecisionRule | None = None

    @classmethod
    def from_instances(cls, instances: "Instances", building_map: "Tensor | None" = None) -> "TilePrediction":
        """Takes over the output of ``PairRCNN`` for one pair, wherever its tensors lie.

        Args:
            instances: with ``pred_boxes``, ``pred_masks``, ``scores``, ``pred_damage_probs`` and
                ``pred_damage``.
            building_map: float (H, W) of the same size, probability 0..1.

        Raises:
            ValueError: the map has another size, or values that are not finite.
        """
        fields = instances.to("cpu")
        shape = tuple(instances.image_size)
        compact = None if building_map is None else compact_probability(building_map)
        if compact is not None and compact.shape != shape:
            raise ValueError(f"expected a building map {shape} as the instances, found {compact.shape}")
        return cls(
            boxes=fields.pred_boxes.tensor.float().numpy(),
            masks=fields.pred_masks[:, 0].float().numpy(),
            scores=fields.scores.float().numpy(),
            damage_probs=fields.pred_damage_probs.float().numpy(),
            damage=fields.pred_damage.numpy(),
            shape=shape,
            building_map=compact,
        )

    def decided(self, rule: DecisionRule) -> "TilePrediction":
        """The instances that count as buildings, with calibrated damage probabilities and the rule's class.

        Instances below ``score_threshold`` are left out, then those whose mask has fewer than ``min_area``
        pixels from 0.5 on (as its run lengths have), then all where no score that is left reaches
        ``presence_threshold``. What was decided by the same rule before stays as it is.

        Raises:
            ValueError: decided by another rule before; its probabilities are gone.
        """
        if self.rule is not None:
            return same_rule(self, rule)
        return replace(self._graded(self._kept(rule, rule.score_threshold), rule), rule=rule)

    def graded(self, rule: DecisionRule) -> "TilePrediction":
        """As ``decided``, with the instances below ``score_threshold``: AP and recall are measured on all."""
        return self._graded(self._kept(rule, 0.0), rule)

    def _kept(self, rule: DecisionRule, least_score: float) -> np.ndarray:
        kept = np.flatnonzero(self.scores >= least_score)
        if rule.min_area > 0:
            kept = kept[pixel_areas(self.boxes[kept], self.masks[kept], self.shape) >= rule.min_area]
        return kept if (self.scores[kept] >= rule.presence_threshold).any() else kept[:0]

    def _graded(self, kept: np.ndarray, rule: DecisionRule) -> "TilePrediction":
        return replace(
            self,
            boxes=self.boxes[kept],
            masks=self.masks[kept],
            scores=self.scores[kept],
            damage_probs=rule.calibrated(self.damage_probs[kept]),
            damage=rule.damage(self.damage_probs[kept]),
        )

    def rasterize(self, rule: DecisionRule) -> tuple[np.ndarray, np.ndarray]:
        """Decides, and paints the instances, see ``painting.paint``, where they are likely enough.

        A pixel's probability of being building is taken as the instance's score times the mask's probability,
        mixed with the building map where there is one: an unsure instance is painted in its core alone.

        Args:
            rule: thresholds and decision rule.

        Returns:
            (localization 0/1, damage 0..4), uint8 (height, width).
        """
        found = self.decided(rule)
        return paint(
            found.boxes, found.masks, found.scores, found.damage, self.shape, self.building_map, rule
        )

    def coco_results(self, scene: str, image_id: int, file_name: str) -> list[dict[str, Any]]:
        """COCO results of every instance, best score first, with damage, its four probabilities and a uid."""
        order = np.argsort(-self.scores, kind="stable")
        encoded = encode_instances(self.boxes[order], self.masks[order], self.shape)
        return building_results(
            {"image_id": image_id, "file_name": file_name, "scene": scene},
            encoded,
            self.boxes[order],
            self.scores[order],
            self.damage[order],
            self.damage_probs[order],
        )


def building_results(
    tile: dict[str, Any],
    encoded: Sequence[dict[str, Any]],
    boxes: np.ndarray,
    scores: np.ndarray,
    damage: np.ndarray,
    damage_probs: np.ndarray,
) -> list[dict[str, Any]]:
    """COCO results of N buildings, best score first.

    Args:
        tile: ``image_id``, ``file_name`` and ``scene``, which each result has.
        encoded: N run lengths.
        boxes: (N, 4), XYXY in px.
        scores: (N,), 0..1, falling.
        damage: (N,) int, 0..3.
        damage_probs: (N, 4).
    """
    rows = zip(encoded, boxes, scores.tolist(), damage.tolist(), damage_probs.tolist(), strict=True)
    return [
        tile
        | {
            "category_id": 1,
            "uid": f"{tile['scene']}-{rank:04d}",
            "bbox": _xywh(box),
            "segmentation": run_lengths,
            "score": round(score, 5),
            "damage": label,
            "damage_probs": [round(p, 5) for p in probs],
        }
        for rank, (run_lengths, box, score, label, probs) in enumerate(rows, start=1)
    ]


def compact_probability(values: "Tensor | np.ndarray") -> np.ndarray:
    """Probabilities 0..1 of any shape as uint8 0..255, wherever the tensor lies.

    Raises:
        ValueError: NaN or infinity.
    """
    array = values if isinstance(values, np.ndarray) else values.detach().float().cpu().numpy()
    if not np.isfinite(array).all():
        raise ValueError("expected finite probabilities, found NaN or infinity")
    return np.rint(array.clip(0, 1) * np.float32(255)).astype(np.uint8)


def same_rule(decided: Any, rule: DecisionRule) -> Any:
    """The prediction itself where ``rule`` is what it was decided by; raises ValueError otherwise."""
    if decided.rule != rule:
        raise ValueError(f"expected the rule that this was decided by, {decided.rule}, found {rule}")
    return decided


def _xywh(box: np.ndarray) -> list[float]:
    x0, y0, x1, y1 = (float(value) for value in box)
    return [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
