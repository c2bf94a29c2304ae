"""ROI heads for building pairs: box and mask on pre features, damage on both."""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY, StandardROIHeads
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor

from skyeye_det.modeling.backbones import POST_SUFFIX
from skyeye_det.modeling.damage_head import DamageHead
from skyeye_det.modeling.damage_map import DAMAGE_MAP, pooled_evidence

_FINE = 4
"""Mask pixels along each side of a bin of the damage pooler, before they are averaged."""

_AT_ONCE = 128
"""Buildings of a window in the mask head; detectron2 offers as many of an image to it in training."""


@ROI_HEADS_REGISTRY.register()
class BuildingROIHeads(StandardROIHeads):
    """StandardROIHeads plus the damage head.

    The box and mask heads read the pre features, since outlines are drawn on the pre image; the damage head
    pools the same, enlarged boxes from pre and post features. Training reads ``gt_damage`` (int64, 0..3, -1
    ignored), which detectron2's proposal sampling copies to the proposals; inference adds ``pred_damage``,
    ``pred_damage_probs`` (M, 4) and ``pred_features`` (M, D).
    """

    @configurable
    def __init__(
        self,
        *,
        damage_in_features: list[str],
        damage_pooler: ROIPooler,
        damage_head: DamageHead,
        context_scale: float,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.damage_in_features = damage_in_features
        self.damage_pooler = damage_pooler
        self.damage_head = damage_head
        self.context_scale = context_scale

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Adds the damage branch to what StandardROIHeads reads."""
        in_features = cfg.MODEL.ROI_HEADS.IN_FEATURES
        shapes = [input_shape[name] for name in in_features]
        resolution = cfg.MODEL.DAMAGE_HEAD.POOLER_RESOLUTION
        pooler = ROIPooler(
            output_size=resolution,
            scales=[1.0 / shape.stride for shape in shapes],
            sampling_ratio=2,  # points along each side of a bin
            pooler_type="ROIAlignV2",
        )
        pooled = ShapeSpec(channels=shapes[0].channels, height=resolution, width=resolution)
        return super().from_config(cfg, input_shape) | {
            "damage_in_features": list(in_features),
            "damage_pooler": pooler,
            "damage_head": DamageHead(cfg, pooled),
            "context_scale": cfg.MODEL.DAMAGE_HEAD.CONTEXT_SCALE,
        }

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """As StandardROIHeads.forward, with ``loss_damage`` in training."""
        instances, losses = super().forward(images, features, proposals, targets)
        if self.training:
            losses.update(self.damage_losses(features, instances))
        return instances, losses

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        """Masks and damage for instances that have ``pred_boxes`` and ``pred_classes``."""
        return self.classify(features, self.outline(features, instances))

    @property
    def mask_side(self) -> int:
        """S of the soft masks (M, 1, S, S): the mask head doubles its pooled resolution once."""
        return 2 * int(self.mask_pooler.output_size[0])

    @property
    def detections_per_image(self) -> int:
        """Most instances of an image, the surest."""
        return int(self.box_predictor.test_topk_per_image)

    def find(self, features: dict[str, Tensor], proposals: list[Instances]) -> list[Instances]:
        """Inference without damage: the proposals' instances with ``pred_masks``, for ``classify``."""
        return self.outline(features, self._forward_box(features, proposals))

    def outline(self, features: dict[str, Tensor], instances: list[Instances]) -> list[Instances]:
        """Masks for instances that have ``pred_boxes`` and ``pred_classes``.

        They are outlined ``_AT_ONCE`` at a time: a thousand at once would take a gigabyte.
        """
        outline = super().forward_with_given_boxes
        most = max((len(found) for found in instances), default=0)
        parts = [
            outline(features, [found[start : start + _AT_ONCE] for found in instances])
            for start in range(0, max(most, 1), _AT_ONCE)
        ]
        return [Instances.cat(list(of_image)) for of_image in zip(*parts, strict=True)]

    def classify(self, features: dict[str, Tensor], instances: list[Instances]) -> list[Instances]:
        """Damage for instances that have ``pred_boxes`` and ``pred_masks`` (M, 1, S, S)."""
        boxes = [found.pred_boxes for found in instances]
        masks = None
        if self.damage_head.needs_masks:
            masks = mask_in_enlarged_box(
                torch.cat([found.pred_masks for found in instances]), self.context_scale, self._bins
            )
        evidence = None
        if DAMAGE_MAP in features:
            soft = torch.cat([found.pred_masks for found in instances])
            evidence = pooled_evidence(features[DAMAGE_MAP], boxes, soft)
        self.damage_head.inference(*self._damage(features, boxes, masks, evidence), instances)
        return instances

    def damage_losses(self, features: dict[str, Tensor], proposals: list[Instances]) -> dict[str, Tensor]:
        """``loss_damage`` of proposals matched to buildings: ``proposal_boxes`` and ``gt_*``."""
        foreground, _ = select_foreground_proposals(proposals, self.num_classes)
        boxes = [found.proposal_boxes for found in foreground]
        # Images without buildings get no gt_* fields from detectron2, and no foreground.
        damage = [found.gt_damage for found in foreground if found.has("gt_damage")]
        masks = None
        if self.damage_head.needs_masks:
            masks = self._true_masks(foreground, self.context_scale, _FINE)
        evidence = None
        if DAMAGE_MAP in features:
            evidence = pooled_evidence(features[DAMAGE_MAP], boxes, self._true_masks(foreground, 1.0, 1))
        logits, _ = self._damage(features, boxes, masks, evidence)
        return self.damage_head.losses(logits, torch.cat(damage) if damage else logits.new_zeros(0).long())

    def _true_masks(self, foreground: list[Instances], scale: float, coarser: int) -> Tensor:
        """Masks of the true buildings over the proposals' boxes, enlarged, (M, 1, 4R / coarser, the same)."""
        side = _FINE * self._bins
        cut = [
            found.gt_masks.crop_and_resize(enlarge_boxes(found.proposal_boxes, scale).tensor, side).float()
            for found in foreground
            if len(found)
        ]
        if not cut:
            small = side // coarser
            return torch.zeros(0, 1, small, small, device=foreground[0].proposal_boxes.device)
        return F.avg_pool2d(torch.cat(cut)[:, None], coarser)

    @property
    def _bins(self) -> int:
        return self.damage_pooler.output_size[0]

    def _damage(
        self,
        features: dict[str, Tensor],
        boxes: list[Boxes],
        masks: Tensor | None,
        evidence: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Logits and feature vectors of the buildings in boxes, image by image."""
        enlarged = [enlarge_boxes(image_boxes, self.context_scale) for image_boxes in boxes]
        pre, post = (
            self.damage_pooler([features[name + side] for name in self.damage_in_features], enlarged)
            for side in ("", POST_SUFFIX)
        )
        return self.damage_head(pre, post, masks, [image_boxes.tensor for image_boxes in boxes], evidence)


def mask_in_enlarged_box(masks: Tensor, scale: float, bins: int) -> Tensor:
    """Masks (M, 1, S, S) in boxes -> (M, 1, bins, bins) in boxes enlarged by ``scale``, 0 outside."""
    side = _FINE * bins
    zoom = torch.tensor([[[scale, 0.0, 0.0], [0.0, scale, 0.0]]], device=masks.device)
    grid = F.affine_grid(zoom, [1, 1, side, side], align_corners=False)
    grid = grid.expand(len(masks), side, side, 2)
    return F.avg_pool2d(F.grid_sample(masks.float(), grid, align_corners=False), _FINE)


def enlarge_boxes(boxes: Boxes, scale: float) -> Boxes:
    """Boxes (M, XYXY px) enlarged around their centres; outside the image ROIAlign reads 0."""
    centres = boxes.get_centers()
    half = (boxes.tensor[:, 2:] - boxes.tensor[:, :2]) * (scale / 2)
    return Boxes(torch.cat([centres - half, centres + half], dim=1))
