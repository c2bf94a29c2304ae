"""The semantic peer: every pixel of a pair gets a building probability and a damage class; no objects.

Shapes: N pairs of H x W px. ``image`` is (6, H, W), pre-disaster channels first.
"""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import ImageList
from torch import Tensor, nn

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError, shown
from skyeye_det.modeling.pixel_losses import IGNORE_PIXEL, PixelLosses, pixel_targets
from skyeye_det.modeling.semantic_decoder import SemanticDecoder, decoder_form
from skyeye_det.modeling.semantic_encoder import build_encoder

_TARGETS = ("building", "damage")
_DIVISIBILITY = 32  # px, the coarsest stride


class _SemanticNetwork(nn.Module):
    """What both semantic meta-architectures share: pixels in, losses or probabilities out.

    Args:
        building_decoder: reads features of the pre image, gives 1 channel.
        damage_decoder: reads features of both images, gives 4 channels, or 5 with background first.
        losses: of building and damage.
        pixel_mean: of the six channels, 0..255.
        pixel_std: of the six channels.

    Raises:
        InputError: building or damage have no loss.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        building_decoder: SemanticDecoder,
        damage_decoder: SemanticDecoder,
        losses: PixelLosses,
        pixel_mean: list[float],
        pixel_std: list[float],
    ):
        super().__init__()
        missing = [target for target in _TARGETS if target not in losses.targets]
        if missing:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.LOSSES: expected a loss of {' and of '.join(_TARGETS)} with a weight "
                f"above 0, found none of {' and of '.join(missing)}; a map without one would stay random"
            )
        self.building_decoder = building_decoder
        self.damage_decoder = damage_decoder
        self.losses = losses
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(-1, 1, 1), persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses in training, probabilities else.

        Args:
            batched_inputs: a dict a pair: ``image`` (6, H, W), 0..255; in training also ``sem_seg`` and
                ``seams`` (H, W), see ``pixel_targets``.

        Returns:
            In training ``loss_<target>_<kind>``, scalars. Else a dict a pair with ``pixel_probs``, float32
            (5, H, W): first the probability of building, then those of the four damage classes given a
            building, which add up to 1.
        """
        images = self._normalized(batched_inputs)
        logits = self.logits(images.tensor)
        if self.training:
            return self.losses(logits, self._targets(batched_inputs))
        probs = pixel_probabilities(logits)
        return [
            {"pixel_probs": pair[:, :height, :width]}
            for pair, (height, width) in zip(probs, images.image_sizes, strict=True)
        ]

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Maps (N, 6, H, W) to ``building`` (N, 1, H, W) and ``damage`` (N, 4 or 5, H, W)."""
        raise NotImplementedError

    def _normalized(self, batched_inputs: list[dict[str, Any]]) -> ImageList:
        images = [
            (item["image"].to(self.device) - self.pixel_mean) / self.pixel_std for item in batched_inputs
        ]
        return ImageList.from_tensors(images, _DIVISIBILITY)

    def _targets(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        sem_seg, seams = (
            ImageList.from_tensors(
                [item[key].to(self.device) for item in batched_inputs], _DIVISIBILITY, value
            )
            for key, value in (("sem_seg", IGNORE_PIXEL), ("seams", 0))
        )
        return pixel_targets(sem_seg.tensor, seams.tensor, self.damage_decoder.num_classes)


def pixel_probabilities(logits: dict[str, Tensor]) -> Tensor:
    """Maps logits of building (N, 1, H, W) and damage (N, 4 or 5, H, W) to ``pixel_probs`` (N, 5, H, W).

    Of five damage classes the first, background, is left out: the others are given a building.
    """
    building = logits["building"].float().sigmoid()
    damage = logits["damage"][:, -NUM_DAMAGE_CLASSES:].float().softmax(dim=1)
    return torch.cat([building, damage], dim=1)


def _side_by_side(features: list[Tensor]) -> list[Tensor]:
    """Feature maps of pre images, then post images (2N, C, H, W), as channels of pairs (N, 2C, H, W)."""
    return [torch.cat(both.chunk(2), dim=1) for both in features]


def _both(images: Tensor) -> Tensor:
    return torch.cat(images.chunk(2, dim=1))


@META_ARCH_REGISTRY.register()
class SemanticPair(_SemanticNetwork):
    """One network for both tasks: an encoder with shared weights that sees pre and post image as one batch.

    Args:
        encoder: of ``build_encoder``.
        parts: see the base class.
    """

    @configurable
    def __init__(self, *, encoder: nn.Module, **parts: Any):
        super().__init__(**parts)
        self.encoder = encoder

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Translates ``MODEL.BACKBONE``, ``MODEL.TIMM.NORM`` and ``MODEL.SEM_SEG_HEAD``."""
        encoder = _encoder(cfg)
        return {"encoder": encoder, **_parts(cfg, encoder)}

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """See the base class."""
        features = self.encoder(_both(images))
        return {
            "building": self.building_decoder([both.chunk(2)[0] for both in features]),
            "damage": self.damage_decoder(_side_by_side(features)),
        }


@META_ARCH_REGISTRY.register()
class SpecialisedSemanticPair(_SemanticNetwork):
    """Two networks, each with its own encoder: buildings from the pre image alone, damage from the pair.

    Args:
        building_encoder: of ``build_encoder``.
        damage_encoder: another one.
        parts: see the base class.
    """

    @configurable
    def __init__(self, *, building_encoder: nn.Module, damage_encoder: nn.Module, **parts: Any):
        super().__init__(**parts)
        self.building_encoder = building_encoder
        self.damage_encoder = damage_encoder

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Translates ``MODEL.BACKBONE``, ``MODEL.TIMM.NORM`` and ``MODEL.SEM_SEG_HEAD``."""
        encoder = _encoder(cfg)
        return {"building_encoder": encoder, "damage_encoder": _encoder(cfg), **_parts(cfg, encoder)}

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """See the base class."""
        return {
            "building": self.building_decoder(self.building_encoder(images.chunk(2, dim=1)[0])),
            "damage": self.damage_decoder(_side_by_side(self.damage_encoder(_both(images)))),
        }


def _encoder(cfg: CfgNode) -> nn.Module:
    model = cfg.MODEL
    output_stride = decoder_form(model.SEM_SEG_HEAD.NAME).output_stride
    return build_encoder(model.BACKBONE.NAME, output_stride, model.BACKBONE.FREEZE_AT, model.TIMM.NORM)


def _parts(cfg: CfgNode, encoder: Any) -> dict[str, Any]:
    head = cfg.MODEL.SEM_SEG_HEAD
    if head.NUM_CLASSES not in (NUM_DAMAGE_CLASSES, NUM_DAMAGE_CLASSES + 1):
        raise InputError(
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES: expected 4 (damage of building pixels alone) or 5 (background "
            f"is a class too), found {shown(head.NUM_CLASSES)}"
        )
    channels = encoder.out_channels
    doubled = [2 * count for count in channels]
    return {
        "building_decoder": SemanticDecoder(head.NAME, channels, 1, head.CONVS_DIM),
        "damage_decoder": SemanticDecoder(head.NAME, doubled, head.NUM_CLASSES, head.CONVS_DIM),
        "losses": PixelLosses(head.LOSSES, _TARGETS, cfg.MODEL.DAMAGE_HEAD.CLASS_WEIGHTS),
        "pixel_mean": cfg.MODEL.PIXEL_MEAN,
        "pixel_std": cfg.MODEL.PIXEL_STD,
    }
