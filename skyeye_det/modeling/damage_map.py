"""Dense evidence of damage: a grade for every pixel of a pair, and its mean over a building.

Every pixel of a building teaches the map, where the damage head learns from one label a building. The head
then begins from the map's answer and learns what is to be changed in it.

Shapes: N pairs of H x W px, M buildings, K = 4 damage classes.
"""

from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from detectron2.structures import Boxes
from torch import Tensor, nn
from torchvision.ops import roi_align  # type: ignore[import-untyped]

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError
from skyeye_det.modeling.backbones import POST_SUFFIX
from skyeye_det.modeling.encoders import build_encoder
from skyeye_det.modeling.pixel_losses import PixelLosses
from skyeye_det.modeling.semantic_pair import SemanticDecoder, side_by_side, stacked

DAMAGE_MAP = "damage_map"
"""Key of the map's probabilities (N, K, H, W) among the features that the ROI heads read."""

TRUNKS = ("none", "shared", "own")
"""``MODEL.DAMAGE_HEAD.EVIDENCE``: no map, one on the backbone's features, or one with its own encoder."""

_WIDTH = 128
_LOSSES = (("damage", "cross_entropy", 1.0), ("damage", "dice", 0.5))
_EPS = 1e-3


class SharedDamageMap(nn.Module):
    """Panoptic FPN's head (Kirillov et al. 2019) over the pre and post features side by side."""

    def __init__(self, names: list[str], shapes: dict[str, ShapeSpec]):
        super().__init__()
        self.names = names
        doubled = {
            name: ShapeSpec(channels=2 * shapes[name].channels, stride=shapes[name].stride) for name in names
        }
        self.decoder = SemSegFPNHead(
            doubled, num_classes=NUM_DAMAGE_CLASSES, conv_dims=_WIDTH, common_stride=4, norm="GN"
        )

    def forward(self, images: Tensor, features: dict[str, Tensor]) -> Tensor:
        """Logits (N, K, H, W) float32 of images (N, 6, H, W) and the backbone's features of them."""
        both = {name: torch.cat([features[name], features[name + POST_SUFFIX]], dim=1) for name in self.names}
        logits = self.decoder.layers(both).float()
        return F.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=False)


class OwnDamageMap(nn.Module):
    """The damage half of the semantic FPN: an encoder that sees both images, and its decoder."""

    def __init__(self, name: str, freeze_at: int, norm: str):
        super().__init__()
        self.encoder: Any = build_encoder(f"tu-{name}", freeze_at=freeze_at, norm=norm)
        doubled = [2 * count for count in self.encoder.out_channels]
        self.decoder = SemanticDecoder("FPN", doubled, NUM_DAMAGE_CLASSES, _WIDTH)

    def forward(self, images: Tensor, features: dict[str, Tensor]) -> Tensor:
        """As ``SharedDamageMap``; the features are not read."""
        del features
        return self.decoder(side_by_side(self.encoder(stacked(images)))).float()


def build_damage_map(cfg: CfgNode, shapes: dict[str, ShapeSpec]) -> nn.Module | None:
    """The map of ``MODEL.DAMAGE_HEAD.EVIDENCE``; InputError where there is no such."""
    trunk = cfg.MODEL.DAMAGE_HEAD.EVIDENCE
    if trunk not in TRUNKS:
        raise InputError(f"MODEL.DAMAGE_HEAD.EVIDENCE: expected one of {TRUNKS}, found {trunk!r}")
    if trunk == "shared":
        return SharedDamageMap(list(cfg.MODEL.ROI_HEADS.IN_FEATURES), shapes)
    if trunk == "own":
        return OwnDamageMap(cfg.MODEL.TIMM.NAME, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.TIMM.NORM)
    return None


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
