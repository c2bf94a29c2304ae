"""Folds BatchNorm with fixed statistics into the convolution before it: the same network, fewer passes."""

import copy
from itertools import pairwise
from typing import Any

import torch
from detectron2.layers import FrozenBatchNorm2d
from timm.layers.norm_act import BatchNormAct2d, FrozenBatchNormAct2d
from timm.layers.norm_act import FrozenBatchNorm2d as PlainFrozenBatchNorm2d
from torch import Tensor, nn

from skyeye_det.errors import InputError

_NORMS = (
    FrozenBatchNorm2d,
    PlainFrozenBatchNorm2d,
    FrozenBatchNormAct2d,
    BatchNormAct2d,
    nn.BatchNorm2d,
)
_TOLERANCE = 1e-3
"""Largest difference of a feature map, as a share of its own largest value."""


def folded_network(network: nn.Module, images: Tensor) -> nn.Module:
    """A copy of a backbone, for inference alone, whose BatchNorms lie in the weights of its convolutions.

    Args:
        network: backbone in evaluation mode that maps images to a dict of features; left as it is.
        images: (N, C, H, W) float, as the network takes them; on them both must agree.

    Returns:
        The copy.

    Raises:
        InputError: there is no such BatchNorm, or the network uses one in another way than after the
            convolution that is listed before it.
    """
    folded = copy.deepcopy(network)
    count = sum(_fold_children(module) for module in list(folded.modules()))
    if not count:
        raise InputError("the backbone has no BatchNorm behind a convolution that could be folded")
    # TensorFloat-32 alone would differ by more than is allowed here.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        before, after = network(images), folded(images)
    for name, features in before.items():
        if (features - after[name]).abs().max() > _TOLERANCE * features.abs().max():
            raise InputError(f"BatchNorm cannot be folded in this backbone: its output {name} would change")
    return folded


def _fold_children(module: Any) -> int:
    """Folds what stands directly in a module; how many that were."""
    count = 0
    if isinstance(module, nn.Conv2d) and isinstance(getattr(module, "norm", None), _NORMS):
        _fold(module, module.norm)
        setattr(module, "norm", None)  # noqa: B010 - nn.Module's type knows no such attribute
        count += 1
    children: list[tuple[str, Any]] = list(module.named_children())
    for (_, before), (name, norm) in pairwise(children):
        # A deep stem is a sequence that ends in a convolution.
        convolution = before[-1] if isinstance(before, nn.Sequential) and len(before) else before
        fits = isinstance(convolution, nn.Conv2d) and isinstance(norm, _NORMS)
        if fits and convolution.out_channels == len(norm.running_mean):
            _fold(convolution, norm)
            setattr(module, name, getattr(norm, "act", nn.Identity()))
            count += 1
    return count


def _fold(convolution: Any, norm: Any) -> None:
    with torch.no_grad():
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        bias = norm.bias - norm.running_mean * scale
        if convolution.bias is not None:
            bias = bias + convolution.bias * scale
        convolution.weight.mul_(scale[:, None, None, None])
        convolution.bias = nn.Parameter(bias)
