"""Meta-architecture of the hybrid: instances, and a semantic building map that fills what they miss."""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_sem_seg_head
from detectron2.structures import Boxes, Instances
from torch import Tensor

from skyeye_det.modeling.building_map import BuildingMapHead, map_probabilities, stacked_targets
from skyeye_det.modeling.pair_rcnn import PairRCNN


class TileComponents(Protocol):
    """The components of one tile's building map; arrays are float32, boxes XYXY px."""

    def proposals(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (K, 4) and scores (K,) of all."""

    def uncovered(self, found: Instances) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (K, 4), soft masks (K, S, S) and scores (K,) of those that no instance covers."""


MapInstances = Callable[[np.ndarray, np.ndarray], TileComponents]
"""Probabilities of building (H, W) and seam (H, W) -> the tile's components."""


@META_ARCH_REGISTRY.register()
class HybridRCNN(PairRCNN):
    """PairRCNN with a semantic head on the pre features.

    In training the head's losses join the others. In inference the components of its map are proposals beside
    those of the RPN, and those that no instance covers in the end become instances of their own: every
    building pixel belongs to an object with one damage distribution.

    Args:
        building_map_head: features, (H, W) -> logits (N, 2, H, W).
        kwargs: of GeneralizedRCNN.

    Attributes:
        map_instances: finds the components; set by ``engine.setup``, since finding them is post-processing.
            Without it the map is predicted and nothing is made of it.
    """

    @configurable
    def __init__(self, *, building_map_head: BuildingMapHead, **kwargs: Any):
        super().__init__(**kwargs)
        self.building_map_head = building_map_head
        self.map_instances: MapInstances | None = None

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Adds ``MODEL.SEM_SEG_HEAD`` to what GeneralizedRCNN reads."""
        arguments = super().from_config(cfg)
        shapes = arguments["backbone"].output_shape()
        return arguments | {"building_map_head": build_sem_seg_head(cfg, shapes)}

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Losses, from inputs that also have ``sem_seg`` and ``seams``; else see ``inference``."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        size = tuple(images.tensor.shape[-2:])
        truth = [each["instances"].to(self.device) for each in batched_inputs]
        sem_seg, seams = (
            stacked_targets([each[key].to(self.device) for each in batched_inputs], size)
            for key in ("sem_seg", "seams")
        )
        features = self.backbone(images.tensor)
        head = self.building_map_head
        losses = head.losses(head(features, size), sem_seg, seams)
        proposals, proposal_losses = self.proposal_generator(images, features, truth)
        _, detector_losses = self.roi_heads(images, features, proposals, truth)
        return losses | proposal_losses | detector_losses

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[dict]:
        """As PairRCNN's, with ``building_map`` (float32 (H, W), 0..1) and ``proposals``.

        Where boxes are given there are no proposals.
        """
        del do_postprocess
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        padded = map_probabilities(self.building_map_head(features, tuple(images.tensor.shape[-2:])))
        maps = [each[:, :h, :w] for each, (h, w) in zip(padded, images.image_sizes, strict=True)]
        outputs = [{"building_map": building} for building, _ in maps]
        if detected_instances is not None:
            given = [each.to(self.device) for each in detected_instances]
            found = self.roi_heads.forward_with_given_boxes(features, given)
        else:
            proposals, _ = self.proposal_generator(images, features, None)
            components = self._components(maps)
            proposals = [self._with_map_boxes(*pair) for pair in zip(proposals, components, strict=True)]
            found = self.roi_heads.find(features, proposals)
            found = [self._with_uncovered(*pair) for pair in zip(found, components, strict=True)]
            # All at once: with object context each building is graded beside all others.
            found = self.roi_heads.grade(features, found)
            outputs = [each | {"proposals": one} for each, one in zip(outputs, proposals, strict=True)]
        return [each | {"instances": one} for each, one in zip(outputs, found, strict=True)]

    def _components(self, maps: list[Tensor]) -> list[TileComponents | None]:
        """Found once a tile, for proposals and for what no instance covers."""
        if self.map_instances is None:
            return [None] * len(maps)
        return [self.map_instances(*each.cpu().numpy()) for each in maps]

    def _with_map_boxes(self, proposals: Instances, components: TileComponents | None) -> Instances:
        """Puts the components' boxes before the RPN's proposals, of which the last give way at the limit."""
        if components is None:
            return proposals
        boxes, scores = (torch.from_numpy(each).to(self.device) for each in components.proposals())
        added = Instances(proposals.image_size)
        added.proposal_boxes = Boxes(boxes)
        added.objectness_logits = torch.logit(scores, eps=1e-4).to(proposals.objectness_logits.dtype)
        limit = self.proposal_generator.post_nms_topk[False]  # that of inference
        return Instances.cat([added, proposals])[:limit]

    def _with_uncovered(self, found: Instances, components: TileComponents | None) -> Instances:
        """Adds the components that no instance covers; their masks are the map's."""
        if components is None:
            return found
        boxes, masks, scores = (
            torch.from_numpy(each).to(self.device) for each in components.uncovered(found)
        )
        extra = Instances(found.image_size)
        extra.pred_boxes, extra.scores = Boxes(boxes), scores.to(found.scores.dtype)
        extra.pred_classes = torch.zeros(len(boxes), dtype=torch.int64, device=self.device)
        extra.pred_masks = masks[:, None].to(found.pred_masks.dtype)
        return Instances.cat([found, extra])
