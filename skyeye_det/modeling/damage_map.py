"""Dense evidence of damage: a grade for every pixel of a pair, and its mean over a building.

Every pixel of a building teaches the map, where the damage head learns from one label a building. The head
then begins from the map's answer and learns what is to be changed in it.

Shapes: N pairs of H x W px, M buildings, K = 4 damage classes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes
from torch import Tensor, nn
from torchvision.ops import roi_align  # type: ignore[import-untyped]

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError
from skyeye_det.modeling.encoders import build_encoder
from skyeye_det.modeling.pixel_losses import PixelLosses
from skyeye_det.modeling.semantic_pair import SemanticDecoder, side_by_side, stacked

DAMAGE_MAP = "damage_map"
"""The hybrid's part, and key of its probabilities (N, K, H, W) among the features that the ROI heads read."""

_ENCODER = "encoder."
_TIMM_BACKBONE = "timm_fpn_backbone"
_WIDTH = 128
_LOSSES = (("damage", "cross_entropy", 1.0), ("damage", "dice", 0.5))
_EPS = 1e-3


class DamageMap(nn.Module):
    """The damage half of the semantic FPN: an encoder that sees both images, and its decoder.

    With an encoder of its own, for the map and the instances want other features of the same pixels.
    """

    encoder: nn.Module

    def __init__(self, name: str, freeze_at: int, norm: str):
        super().__init__()
        encoder: Any = build_encoder(f"tu-{name}", freeze_at=freeze_at, norm=norm)
        self.encoder = encoder
        doubled = [2 * count for count in encoder.out_channels]
        self.decoder = SemanticDecoder("FPN", doubled, NUM_DAMAGE_CLASSES, _WIDTH)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K, H, W) float32 of images (N, 6, H, W)."""
        return self.decoder(side_by_side(self.encoder(stacked(images)))).float()


def build_damage_map(cfg: CfgNode) -> DamageMap | None:
    """The map of ``MODEL.DAMAGE_HEAD.DENSE_EVIDENCE``, with the backbone's kind of encoder."""
    if not cfg.MODEL.DAMAGE_HEAD.DENSE_EVIDENCE:
        return None
    if not cfg.MODEL.BACKBONE.NAME.endswith(_TIMM_BACKBONE):
        raise InputError(
            "MODEL.DAMAGE_HEAD.DENSE_EVIDENCE: expected a backbone of timm's, found MODEL.BACKBONE.NAME"
            f" {cfg.MODEL.BACKBONE.NAME}; set it to False"
        )
    return DamageMap(cfg.MODEL.TIMM.NAME, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.TIMM.NORM)


def damage_map_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The damage half of a semantic FPN's weights, by the names that they have in the hybrid."""
    renamed = {_ENCODER: f"{DAMAGE_MAP}.{_ENCODER}", "damage_decoder.": f"{DAMAGE_MAP}.decoder."}
    return {
        new + key.removeprefix(old): value
        for key, value in state.items()
        for old, new in renamed.items()
        if key.startswith(old)
    }


def damage_map_losses(class_weights: list[float]) -> PixelLosses:
    """Those of the semantic models: cross-entropy and half of dice."""
    return PixelLosses(_LOSSES, ("damage",), class_weights)


def pooled_evidence(probs: Tensor, boxes: list[Boxes], masks: Tensor) -> Tensor:
    """Mean grades of buildings over their pixels.

    Args:
        probs: (N, K, H, W), of each pixel.
        boxes: an image's (M_i, 4) XYXY px each.
        masks: (M, 1, S, S) in 0..1, over these boxes.

    Returns:
        (M, K), rows sum to 1.
    """
    side = masks.shape[-1]
    pooled = roi_align(probs, [each.tensor for each in boxes], side, sampling_ratio=1, aligned=True)
    weights = masks.to(pooled) + _EPS  # a mask without a pixel takes its whole box
    means = (pooled * weights).sum(dim=(2, 3)) / weights.sum(dim=(2, 3))
    return means / means.sum(dim=1, keepdim=True).clamp(min=_EPS)


def evidence_logits(probs: Tensor, form: str) -> Tensor:
    """Grades (M, K) as logits of an ordinal form, (M, K - 1) or (M, K), see ``damage_head``."""
    if form == "cross_entropy":
        return probs.clamp(min=_EPS).log()
    exceeds = 1 - probs.cumsum(dim=1)[:, :-1]
    if form == "corn":
        reached = torch.cat([torch.ones_like(exceeds[:, :1]), exceeds[:, :-1]], dim=1)
        exceeds = exceeds / reached.clamp(min=_EPS)
    return torch.logit(exceeds.clamp(0, 1), eps=_EPS)
