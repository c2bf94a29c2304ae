"""Components of the hybrid's building map, in the terms of the model."""

import numpy as np
from detectron2.structures import Instances

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.components import BuildingComponents
from skyeye_det.prediction.rasterize import rasterize_instances

MAP_THRESHOLD = 0.3
"""Least probability of a pixel of a component: below any threshold that localization would choose."""

COVERING_SCORE = DecisionRule.score_threshold
"""Least score of an instance that covers pixels of the map: the default rule's, since
the model knows no other; what is not painted must not hide a component."""

MIN_COMPONENT_AREA = 12
"""px; the smallest buildings of xBD that can be told from noise."""


class MapComponents:
    """Components of one tile's building map, see ``modeling.hybrid_rcnn.MapInstances``.

    Args:
        mask_side: S of the soft masks.
        building: (H, W) float32, probability of building.
        seam: (H, W) float32, probability that a building pixel lies at an edge.
    """

    def __init__(self, mask_side: int, building: np.ndarray, seam: np.ndarray):
        self._mask_side, self._shape = mask_side, building.shape
        self._components = BuildingComponents(building, seam, MAP_THRESHOLD, MIN_COMPONENT_AREA)

    def proposals(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (K, 4) XYXY px and scores (K,), float32, of all components."""
        return self._components.all_boxes()

    def uncovered(self, found: Instances) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Components that no instance covers.

        Args:
            found: with ``pred_boxes``, ``pred_masks`` (M, 1, S, S) and ``scores``.

        Returns:
            boxes (K, 4) XYXY px, soft masks (K, S, S), scores (K,), all float32.
        """
        sure = found[found.scores >= COVERING_SCORE].to("cpu")
        boxes, scores = sure.pred_boxes.tensor.float().numpy(), sure.scores.float().numpy()
        masks = sure.pred_masks[:, 0].float().numpy()
        painted, _ = rasterize_instances(boxes, masks, scores, np.zeros(len(sure), np.int64), self._shape)
        return self._components.uncovered(painted.view(bool), self._mask_side)
