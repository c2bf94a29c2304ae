"""Decoders of segmentation-models-pytorch over an encoder's features, or those of two images side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from segmentation_models_pytorch.base.heads import SegmentationHead
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder
from segmentation_models_pytorch.decoders.linknet.decoder import LinknetDecoder
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from segmentation_models_pytorch.decoders.unetplusplus.decoder import UnetPlusPlusDecoder
from torch import Tensor, nn

from skyeye_det.errors import InputError, shown

_WIDTHS = range(32, 1025, 32)  # multiples of the 32 groups of the FPN's GroupNorm


class SemanticDecoder(nn.Module):
    """A decoder and the convolution that turns its output into logits, with the library's initial weights.

    Args:
        form: key of ``DECODERS``.
        encoder_channels: channels of the six feature maps, that of the image first.
        num_classes: channels of the logits.
        width: ``MODEL.SEM_SEG_HEAD.CONVS_DIM``; 128 gives the library's own channels, other multiples of 32,
            up to 1024, scale them.

    Raises:
        InputError: form or width are not among these.
    """

    def __init__(self, form: str, encoder_channels: Sequence[int], num_classes: int, width: int = 128):
        super().__init__()
        if width not in _WIDTHS:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.CONVS_DIM: expected a multiple of 32 up to {_WIDTHS[-1]}, found "
                f"{shown(width)}"
            )
        self.num_classes = num_classes
        make = decoder_form(form)
        self.decoder, channels = make.decoder(list(encoder_channels), width)
        self.head = SegmentationHead(channels, num_classes, make.head_kernel, upsampling=make.upsampling)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Maps six feature maps of (N, C_i, H_i, W_i) to logits (N, num_classes, H, W)."""
        logits: Tensor = self.head(self.decoder(features))
        return logits


@dataclass(frozen=True)
class DecoderForm:
    """How one decoder is made, and what its encoder must give."""

    decoder: Callable[[list[int], int], tuple[nn.Module, int]]
    """(channels of the encoder, width) -> (decoder, its output channels)."""
    head_kernel: int
    upsampling: int
    """From the decoder's output to the image."""
    output_stride: int = 32
    """Of the encoder's last features."""


def decoder_form(name: str) -> DecoderForm:
    """The form of that name.

    Raises:
        InputError: there is none.
    """
    if name not in DECODERS:
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.NAME: expected one of {', '.join(DECODERS)}, found {shown(name)}"
        )
    return DECODERS[name]


def _unet(channels: list[int], width: int) -> tuple[nn.Module, int]:
    return UnetDecoder(channels, _halved(width)), width // 8


def _unet_plus_plus(channels: list[int], width: int) -> tuple[nn.Module, int]:
    return UnetPlusPlusDecoder(channels, _halved(width)), width // 8


def _halved(width: int) -> tuple[int, ...]:
    return tuple(2 * width // 2**step for step in range(5))


def _linknet(channels: list[int], width: int) -> tuple[nn.Module, int]:
    return LinknetDecoder(channels, prefinal_channels=width // 4), width // 4


def _fpn(channels: list[int], width: int) -> tuple[nn.Module, int]:
    return FPNDecoder(channels, pyramid_channels=2 * width, segmentation_channels=width), width


def _pspnet(channels: list[int], width: int) -> tuple[nn.Module, int]:
    return PSPDecoder(channels, out_channels=4 * width), 4 * width


DECODERS = {
    "Unet": DecoderForm(_unet, head_kernel=3, upsampling=1),
    "UnetPlusPlus": DecoderForm(_unet_plus_plus, head_kernel=3, upsampling=1),
    "Linknet": DecoderForm(_linknet, head_kernel=1, upsampling=1),
    "FPN": DecoderForm(_fpn, head_kernel=1, upsampling=4),
    # Dilated to stride 8 as Zhao et al. 2017 have it, not cut off there as the library's default: every
    # decoder then reads the same encoder with the same weights.
    "PSPNet": DecoderForm(_pspnet, head_kernel=3, upsampling=8, output_stride=8),
}
"""``MODEL.SEM_SEG_HEAD.NAME``: U-Net (Ronneberger et al. 2015), U-Net++ (Zhou et al. 2018), LinkNet
(Chaurasia and Culurciello 2017), semantic FPN (Kirillov et al. 2019), PSPNet (Zhao et al. 2017)."""
