"""Ways to run inference that may be faster than plain float32. Needs torch."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from skyeye_det.engine.pair_predictor import PRECISIONS, autocast
from skyeye_det.modeling.backbones import folded_network

_FORMATS = {"channels-last": torch.channels_last, "contiguous": torch.contiguous_format}
_PROBE_SIDE = 128
"""px of the image on which a folded backbone must agree with the one it was folded from."""

Precision = Callable[[], AbstractContextManager]


def optioned(model: nn.Module, choice: str, device: torch.device) -> tuple[nn.Module, Precision]:
    """A copy of a model that runs as asked.

    Args:
        model: in evaluation mode on ``device``; left as it is.
        choice: some of ``OPTIONS``, joined by ``+``.
        device: where it runs.

    Returns:
        (the copy, what makes the context in which it is to be called).

    Raises:
        InputError: the option cannot be had for this model or on this device.
    """
    names = choice.split("+")
    changed: Any = copy.deepcopy(model)
    if "fuse-bn" in names:
        changed.backbone = folded_network(changed.backbone, _probe(changed, device))
    for name in set(names) & set(_FORMATS):
        changed = changed.to(memory_format=_FORMATS[name])
    if "compile" in names:
        changed.backbone = torch.compile(changed.backbone)
    return changed, precision(choice, device)


def precision(choice: str, device: torch.device) -> Precision:
    """What makes autocast's context for a choice that names a type; else one that changes nothing.

    Raises:
        InputError: fp16 on a CPU.
    """
    named = [name for name in choice.split("+") if name in PRECISIONS]
    return autocast(named[0] if named else "fp32", device)


def _probe(model: Any, device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    channels = len(model.pixel_mean)
    return torch.randn(1, channels, _PROBE_SIDE, _PROBE_SIDE, generator=generator).to(device)
