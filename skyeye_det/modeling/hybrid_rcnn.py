"""Meta-architecture of the hybrid: instances, and a semantic building map that fills what they miss."""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, build_sem_seg_head
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from skyeye_det.modeling.building_map import BuildingMapHead
from skyeye_det.modeling.damage_map import DAMAGE_MAP, build_damage_map, damage_map_losses
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.modeling.pixel_losses import IGNORE_PIXEL, PixelLosses, pixel_targets
from skyeye_det.prediction.components import map_components


@META_ARCH_REGISTRY.register()
class HybridRCNN(PairRCNN):
    """PairRCNN with a semantic head on the pre features.

    In training the head's losses join the others. In inference the components of its map are proposals beside
    those of the RPN, and instances of their own beside those that are found: all are returned, each with its
    damage, and a decision rule says which of them are buildings. Where there are more proposals or components
    than the limits allow, those of the lowest scores are cut.
    """

    @configurable
    def __init__(
        self,
        *,
        building_map_head: BuildingMapHead,
        damage_map: nn.Module | None = None,
        damage_map_losses: PixelLosses | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.building_map_head = building_map_head
        self.damage_map = damage_map
        self.damage_map_losses = damage_map_losses

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        """Adds ``MODEL.SEM_SEG_HEAD`` to what GeneralizedRCNN reads."""
        arguments = super().from_config(cfg)
        shapes = arguments["backbone"].output_shape()
        damage_map = build_damage_map(cfg)
        return arguments | {
            "building_map_head": build_sem_seg_head(cfg, shapes),
            "damage_map": damage_map,
            "damage_map_losses": damage_map and damage_map_losses(cfg.MODEL.DAMAGE_HEAD.CLASS_WEIGHTS),
        }

    def features(self, images: ImageList) -> dict[str, Tensor]:
        """The backbone's, with the map's probabilities where there is one."""
        features = super().features(images)
        if self.damage_map is not None:
            features[DAMAGE_MAP] = self.damage_map(images.tensor).softmax(dim=1)
        return features

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """Losses, from inputs that also have ``sem_seg`` and ``seams``; else see ``inference``."""
        if not self.training:
            return self.inference(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        size = tuple(images.tensor.shape[-2:])
        truth = [each["instances"].to(self.device) for each in batched_inputs]
        sem_seg, seams = (
            ImageList.from_tensors(
                [each[key].to(self.device) for each in batched_inputs],
                self.backbone.size_divisibility,
                IGNORE_PIXEL,
                self.backbone.padding_constraints,
            ).tensor
            for key in ("sem_seg", "seams")
        )
        features = self.backbone(images.tensor)
        head = self.building_map_head
        losses = head.losses(head(features, size), sem_seg, seams)
        if self.damage_map is not None and self.damage_map_losses is not None:
            logits = self.damage_map(images.tensor)
            losses |= self.damage_map_losses({"damage": logits}, pixel_targets(sem_seg, seams))
            features[DAMAGE_MAP] = logits.detach().softmax(dim=1)
        proposals, proposal_losses = self.proposal_generator(images, features, truth)
        _, detector_losses = self.roi_heads(images, features, proposals, truth)
        return losses | proposal_losses | detector_losses

    def find(self, images: ImageList, features: dict[str, Tensor]) -> list[dict]:
        """As PairRCNN's, with ``building_map`` (float32 (H, W), 0..1) and ``pred_is_component`` (M,) bool."""
        padded = self.building_map_head(features, tuple(images.tensor.shape[-2:])).sigmoid()
        maps = [each[:, :h, :w] for each, (h, w) in zip(padded, images.image_sizes, strict=True)]
        outputs = [{"building_map": building} for building, _ in maps]
        proposals, _ = self.proposal_generator(images, features, None)
        components = [self._components(each) for each in maps]
        proposals = [self._with_components(*pair) for pair in zip(proposals, components, strict=True)]
        # Apart: with object context each is classified beside the others of its kind, all buildings once.
        found = self.roi_heads.classify(features, self.roi_heads.find(features, proposals))
        components = self.roi_heads.classify(features, components)
        found = [_joined(*pair) for pair in zip(found, components, strict=True)]
        rows = zip(outputs, found, proposals, strict=True)
        return [each | {"instances": one, "proposals": offered} for each, one, offered in rows]

    def _components(self, maps: Tensor) -> Instances:
        """Components of one map (2, H, W): ``pred_boxes``, ``pred_masks`` and ``scores``, best first."""
        building, seam = maps.cpu().numpy()
        found = map_components(building, seam, self.roi_heads.mask_side)
        boxes, masks, scores = (torch.from_numpy(each).to(self.device) for each in found)
        kept = torch.argsort(scores, descending=True, stable=True)[: self.roi_heads.detections_per_image]
        components = Instances(tuple(building.shape))
        components.pred_boxes, components.scores = Boxes(boxes[kept]), scores[kept]
        components.pred_classes = torch.zeros(len(kept), dtype=torch.int64, device=self.device)
        components.pred_masks = masks[kept, None]
        return components

    def _with_components(self, proposals: Instances, components: Instances) -> Instances:
        """The best of the RPN's proposals and the components' boxes, up to the limit of inference."""
        offered = Instances(proposals.image_size)
        offered.proposal_boxes = components.pred_boxes
        logits = torch.logit(components.scores, eps=1e-4)
        offered.objectness_logits = logits.to(proposals.objectness_logits.dtype)
        both = Instances.cat([offered, proposals])
        limit = self.proposal_generator.post_nms_topk[False]
        return both[torch.argsort(both.objectness_logits, descending=True, stable=True)[:limit]]


def _joined(found: Instances, components: Instances) -> Instances:
    """Instances and components in one list, told apart by ``pred_is_component``."""
    for each, value in ((found, False), (components, True)):
        each.pred_is_component = torch.full((len(each),), value, device=each.scores.device)
    components.scores = components.scores.to(found.scores.dtype)
    components.pred_masks = components.pred_masks.to(found.pred_masks.dtype)
    return Instances.cat([found, components])
