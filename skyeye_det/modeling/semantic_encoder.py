"""Encoders of segmentation-models-pytorch by name, never with a download."""

from collections.abc import Sequence

import segmentation_models_pytorch as smp
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn

from skyeye_det.errors import InputError, shown

_UNIVERSAL = "tu-"
_PROBE_SIDE = 64  # px, twice the coarsest stride


def build_encoder(
    name: str, output_stride: int = 32, freeze_at: int = 0, norm: str = "FrozenBN"
) -> nn.Module:
    """An encoder with random weights that maps (N, 3, H, W) to six feature maps, the image first.

    Args:
        name: such as ``resnet34`` or ``efficientnet-b7``, or ``tu-`` and timm's name of a network.
        output_stride: stride of the coarsest features; 8 and 16 dilate the last stages instead.
        freeze_at: parameters behind the features of stride 2^freeze_at stay as they are; 0: none.
        norm: ``"FrozenBN"`` fixes BatchNorm statistics and weights, ``"BN"`` trains them.

    Returns:
        The encoder, whose ``out_channels`` tells the channels of the six. Parameters that no feature map
        needs, such as those left of a classifier, do not train.

    Raises:
        InputError: there is no such encoder, it cannot give these features, or ``freeze_at`` or ``norm`` is
            unknown.
    """
    if norm not in ("FrozenBN", "BN"):
        raise InputError(f"MODEL.TIMM.NORM: expected FrozenBN or BN, found {shown(norm)}")
    _check_name(name)
    try:
        encoder = smp.encoders.get_encoder(name, depth=5, weights=None, output_stride=output_stride)
        if norm == "FrozenBN":
            encoder = freeze_batch_norm_2d(encoder)
        _fix_parameters(encoder, freeze_at, output_stride)
    except _UNFIT as error:
        raise InputError(
            f"MODEL.BACKBONE.NAME: expected an encoder for images of any size with five feature maps, the "
            f"last at stride {output_stride}, found {name!r} ({type(error).__name__}: {error})"
        ) from error
    return encoder


# What encoders raise that have no such stages, no dilation, or a fixed size of images.
_UNFIT = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def _check_name(name: str) -> None:
    known = name in smp.encoders.get_encoder_names()
    # is_model also keeps names away that timm would fetch from a hub.
    if not known and not (name.startswith(_UNIVERSAL) and timm.is_model(name.removeprefix(_UNIVERSAL))):
        raise InputError(
            f"MODEL.BACKBONE.NAME: expected an encoder of segmentation-models-pytorch {smp.__version__} "
            f"(resnet34, efficientnet-b7, ...) or tu- and a network of timm, found {shown(name)}; python -c "
            "'import segmentation_models_pytorch as s; print(s.encoders.get_encoder_names())' lists them"
        )


def _fix_parameters(encoder: nn.Module, freeze_at: int, output_stride: int) -> None:
    """Fixes what lies behind the features of stage ``freeze_at``, and what lies behind none.

    The graph of one small image tells which parameters those are, whatever the encoder's layers are called.
    """
    was_training = encoder.training
    encoder.eval()  # statistics stay as they are
    features = encoder(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE))[1:]
    strides = [_PROBE_SIDE // feature.shape[-1] for feature in features]
    if strides != [min(2**stage, output_stride) for stage in range(1, 6)]:
        raise ValueError(f"its strides are {strides}")
    if not 0 <= freeze_at <= len(features):
        raise InputError(
            f"MODEL.BACKBONE.FREEZE_AT: expected 0..{len(features)}, the stages of the encoder, "
            f"found {freeze_at}"
        )
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    needed = _reached(features, parameters)
    frozen = _reached(features[freeze_at - 1 : freeze_at], parameters)
    for parameter, is_needed, is_frozen in zip(parameters, needed, frozen, strict=True):
        parameter.requires_grad_(is_needed and not is_frozen)
    encoder.train(was_training)


def _reached(features: Sequence[Tensor], parameters: list[nn.Parameter]) -> list[bool]:
    grown = [feature.sum() for feature in features if feature.requires_grad]
    if not grown:
        return [False] * len(parameters)
    gradients = torch.autograd.grad(
        torch.stack(grown).sum(), parameters, retain_graph=True, allow_unused=True
    )
    return [gradient is not None for gradient in gradients]
