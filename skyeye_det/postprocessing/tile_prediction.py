"""What the model found in one tile, as arrays, and its two outputs: pixels and COCO results."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.postprocessing.rasterize import encode_instances, rasterize_instances

if TYPE_CHECKING:
    from detectron2.structures import Instances


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
    """

    boxes: np.ndarray
    masks: np.ndarray
    scores: np.ndarray
    damage_probs: np.ndarray
    damage: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def from_instances(cls, instances: "Instances") -> "TilePrediction":
        """Takes over the output of ``PairRCNN`` for one pair, wherever its tensors lie."""
        fields = instances.to("cpu")
        return cls(
            boxes=fields.pred_boxes.tensor.float().numpy(),
            masks=fields.pred_masks[:, 0].float().numpy(),
            scores=fields.scores.float().numpy(),
            damage_probs=fields.pred_damage_probs.float().numpy(),
            damage=fields.pred_damage.numpy(),
            shape=tuple(instances.image_size),
        )

    def rasterize(self, rule: DecisionRule) -> tuple[np.ndarray, np.ndarray]:
        """Paints the instances, see ``rasterize_instances``, where they are likely enough.

        A pixel's probability of being building is taken as the instance's score times the mask's probability:
        an unsure instance is painted in its core alone.

        Args:
            rule: thresholds and decision rule.

        Returns:
            (localization 0/1, damage 0..4), uint8 (height, width).
        """
        kept = self.scores >= rule.score_threshold
        boxes, scores = self.boxes[kept], self.scores[kept]
        damage = rule.damage(self.damage_probs[kept])
        likely = self.masks[kept] * scores[:, None, None]
        return rasterize_instances(boxes, likely, scores, damage, self.shape, rule.pixel_threshold)

    def coco_results(self, scene: str, image_id: int, file_name: str) -> list[dict[str, Any]]:
        """COCO results of every instance, best score first, with damage, its four probabilities and a uid."""
        order = np.argsort(-self.scores, kind="stable")
        encoded = encode_instances(self.boxes[order], self.masks[order], self.shape)
        rows = zip(order.tolist(), encoded, strict=True)
        return [
            {
                "image_id": image_id,
                "file_name": file_name,
                "scene": scene,
                "category_id": 1,
                "uid": f"{scene}-{rank:04d}",
                "bbox": _xywh(self.boxes[index]),
                "segmentation": run_lengths,
                "score": round(float(self.scores[index]), 5),
                "damage": int(self.damage[index]),
                "damage_probs": [round(float(p), 5) for p in self.damage_probs[index]],
            }
            for rank, (index, run_lengths) in enumerate(rows, start=1)
        ]


def _xywh(box: np.ndarray) -> list[float]:
    x0, y0, x1, y1 = (float(value) for value in box)
    return [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)]
