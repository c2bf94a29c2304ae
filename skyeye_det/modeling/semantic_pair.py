"""The semantic peer: every pixel of a pair gets a building probability and a damage class; no instances.

Decoders are those of segmentation-models-pytorch.

Shapes: N pairs of H x W px. ``image`` is (6, H, W), pre-disaster channels first.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import ImageList
from segmentation_models_pytorch.base.heads import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from torch import Tensor, nn

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError, shown
from skyeye_det.modeling.encoders import build_encoder
from skyeye_det.modeling.pixel_losses import IGNORE_PIXEL, PixelLosses, pixel_targets

_TARGETS = ("building", "damage")
_DIVISIBILITY = 32  # px, the coarsest stride
_WIDTHS = range(32, 1025, 32)  # multiples of the 32 groups of the FPN's GroupNorm


class _Decoder(NamedTuple):
    make: Callable[[list[int], int], nn.Module]
    """From the encoder's channels and ``MODEL.SEM_SEG_HEAD.CONVS_DIM``, of which 128 gives the library's own
    channels."""
    channels: float
    """Of its output, as a multiple of that width."""
    head_kernel: int
    upsampling: int = 1
    """From its output to the image."""
    output_stride: int = 32
    """Of the encoder's last features."""


def _halved(width: int) -> tuple[int, ...]:
    return tuple(2 * width // 2**step for step in range(5))


DECODERS = {
    "Unet": _Decoder(lambda channels, width: UnetDecoder(channels, _halved(width)), 1 / 8, 3),
    "UnetPlusPlus": _Decoder(lambda channels, width: UnetPlusPlusDecoder(channels, _halved(width)), 1 / 8, 3),
    "Linknet": _Decoder(lambda channels, width: LinknetDecoder(channels, width // 4), 1 / 4, 1),
    "FPN": _Decoder(
        lambda channels, width: FPNDecoder(channels, pyramid_channels=2 * width, segmentation_channels=width),
        1,
        1,
        upsampling=4,
    ),
    # Dilated to stride 8 as Zhao et al. 2017 have it, not cut off there as the library's default: every
    # decoder then reads the same encoder with the same weights.
    "PSPNet": _Decoder(
        lambda channels, width: PSPDecoder(channels, out_channels=4 * width),
        4,
        3,
        upsampling=8,
        output_stride=8,
    ),
}
"""``MODEL.SEM_SEG_HEAD.NAME``: U-Net (Ronneberger et al. 2015), U-Net++ (Zhou et al. 2018), LinkNet
(Chaurasia and Culurciello 2017), semantic FPN (Kirillov et al. 2019), PSPNet (Zhao et al. 2017)."""


class SemanticDecoder(nn.Module):
    """A decoder of ``DECODERS`` and the convolution that turns its output into logits.

    Begins with the library's initial weights; ``width`` is a multiple of 32, up to 1024.
    """

    def __init__(self, name: str, encoder_channels: Sequence[int], num_classes: int, width: int):
        super().__init__()
        form = DECODERS[name]
        self.num_classes = num_classes
        self.decoder = form.make(list(encoder_channels), width)
        self.head = SegmentationHead(
            int(form.channels * width), num_classes, form.head_kernel, upsampling=form.upsampling
        )
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Maps six feature maps of (N, C_i, H_i, W_i) to logits (N, num_classes, H, W)."""
        logits: Tensor = self.head(self.decoder(features))
        return logits


@META_ARCH_REGISTRY.register()
class SemanticPair(nn.Module):
    """One network for both tasks: an encoder with shared weights that sees pre and post image as one batch.

    Its building decoder reads the features of the pre image, its damage decoder those of both.

    Args:
        cfg: reads ``MODEL.BACKBONE``, ``MODEL.TIMM.NORM``, ``MODEL.SEM_SEG_HEAD``, ``MODEL.PIXEL_MEAN`` and
            ``MODEL.PIXEL_STD``, and ``MODEL.DAMAGE_HEAD.CLASS_WEIGHTS``.

    Raises:
        InputError: one of these is not what it should be, or building or damage have no loss.
    """

    ENCODERS: tuple[str, ...] = ("encoder",)
    encoder: nn.Module
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, cfg: CfgNode):
        super().__init__()
        model, head = cfg.MODEL, cfg.MODEL.SEM_SEG_HEAD
        if head.NAME not in DECODERS:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.NAME: expected one of {', '.join(DECODERS)}, found {shown(head.NAME)}"
            )
        if head.CONVS_DIM not in _WIDTHS:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.CONVS_DIM: expected a multiple of 32 up to {_WIDTHS[-1]}, found "
                f"{shown(head.CONVS_DIM)}"
            )
        if head.NUM_CLASSES not in (NUM_DAMAGE_CLASSES, NUM_DAMAGE_CLASSES + 1):
            raise InputError(
                "MODEL.SEM_SEG_HEAD.NUM_CLASSES: expected 4 (damage of building pixels alone) or 5 "
                f"(background is a class too), found {shown(head.NUM_CLASSES)}"
            )
        self.losses = PixelLosses(head.LOSSES, _TARGETS, model.DAMAGE_HEAD.CLASS_WEIGHTS)
        missing = [target for target in _TARGETS if target not in self.losses.targets]
        if missing:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.LOSSES: expected a loss of {' and of '.join(_TARGETS)} with a weight "
                f"above 0, found none of {' and of '.join(missing)}; a map without one would stay random"
            )
        for name in self.ENCODERS:
            stride = DECODERS[head.NAME].output_stride
            encoder: Any = build_encoder(
                model.BACKBONE.NAME, stride, model.BACKBONE.FREEZE_AT, model.TIMM.NORM
            )
            self.add_module(name, encoder)
        channels = encoder.out_channels
        doubled = [2 * count for count in channels]
        self.building_decoder = SemanticDecoder(head.NAME, channels, 1, head.CONVS_DIM)
        self.damage_decoder = SemanticDecoder(head.NAME, doubled, head.NUM_CLASSES, head.CONVS_DIM)
        for name in ("pixel_mean", "pixel_std"):
            self.register_buffer(name, torch.tensor(model[name.upper()]).view(-1, 1, 1), persistent=False)

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
        normalized = [
            (item["image"].to(self.device) - self.pixel_mean) / self.pixel_std for item in batched_inputs
        ]
        images = ImageList.from_tensors(normalized, _DIVISIBILITY)
        logits = self.logits(images.tensor)
        if self.training:
            sem_seg, seams = (
                ImageList.from_tensors(
                    [item[key].to(self.device) for item in batched_inputs], _DIVISIBILITY, padding
                )
                for key, padding in (("sem_seg", IGNORE_PIXEL), ("seams", 0))
            )
            classes = self.damage_decoder.num_classes
            return self.losses(logits, pixel_targets(sem_seg.tensor, seams.tensor, classes))
        return [
            {"pixel_probs": pair[:, :height, :width]}
            for pair, (height, width) in zip(pixel_probabilities(logits), images.image_sizes, strict=True)
        ]

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Maps (N, 6, H, W) to ``building`` (N, 1, H, W) and ``damage`` (N, 4 or 5, H, W)."""
        features = self.encoder(stacked(images))
        return {
            "building": self.building_decoder([both.chunk(2)[0] for both in features]),
            "damage": self.damage_decoder(side_by_side(features)),
        }


@META_ARCH_REGISTRY.register()
class SpecialisedSemanticPair(SemanticPair):
    """Two networks, each with its own encoder: buildings from the pre image alone, damage from the pair."""

    ENCODERS = ("building_encoder", "damage_encoder")
    building_encoder: nn.Module
    damage_encoder: nn.Module

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """See the base class."""
        return {
            "building": self.building_decoder(self.building_encoder(images.chunk(2, dim=1)[0])),
            "damage": self.damage_decoder(side_by_side(self.damage_encoder(stacked(images)))),
        }


def pixel_probabilities(logits: dict[str, Tensor]) -> Tensor:
    """Maps logits of building (N, 1, H, W) and damage (N, 4 or 5, H, W) to ``pixel_probs`` (N, 5, H, W).

    Of five damage classes the first, background, is left out: the others are given a building.
    """
    building = logits["building"].float().sigmoid()
    damage = logits["damage"][:, -NUM_DAMAGE_CLASSES:].float().softmax(dim=1)
    return torch.cat([building, damage], dim=1)


def stacked(images: Tensor) -> Tensor:
    """Pairs (N, 6, H, W) as pre images, then post images (2N, 3, H, W)."""
    return torch.cat(images.chunk(2, dim=1))


def side_by_side(features: list[Tensor]) -> list[Tensor]:
    """Feature maps of pre images, then post images (2N, C, H, W), as channels of pairs (N, 2C, H, W)."""
    return [torch.cat(both.chunk(2), dim=1) for both in features]
