"""Precisions in which trained models compute."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch

from skyeye_det.errors import InputError

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

PRECISIONS = ("fp32", *_TYPES)
"""float32; or mixed with bfloat16 or float16, as ``torch.autocast`` does it."""


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """What makes the context in which a model of float32 weights computes in another precision.

    Args:
        precision: one of ``PRECISIONS``.
        device: of the model.

    Raises:
        InputError: no such precision, or float16 on a CPU, which computes it slowly and out of range.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision}")
    if precision == "fp32":
        return nullcontext
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16: expected a CUDA device, found cpu; take bf16")
    return partial(torch.autocast, device.type, _TYPES[precision])
