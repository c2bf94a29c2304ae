"""Weights of any timm network, which timm itself reads: from the hub, its cache, or a file.

``MODEL.WEIGHTS`` names them as timm does, with their tag: ``timm://convnext_tiny.fb_in22k_ft_in1k``, or a
file of that name, ``convnext_tiny.fb_in22k_ft_in1k.safetensors``.
"""

import logging
import textwrap
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import try_to_load_from_cache
from torch import Tensor, nn

from skyeye_det.errors import InputError, shown

_ADDRESS, _FILE = "timm://", ".safetensors"


def names_timm_weights(weights: str) -> bool:
    """Whether ``MODEL.WEIGHTS`` names weights of timm, not a whole model's."""
    name = Path(weights).name
    return weights.startswith(_ADDRESS) or (name.endswith(_FILE) and timm.is_model(name.partition(".")[0]))


def timm_normalization(weights: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of red, green and blue, 0..255, that the weights were trained with.

    Raises:
        InputError: timm has no such weights.
    """
    known = _known(weights)
    mean, std = ([255.0 * value for value in values] for values in (known.mean, known.std))
    return mean, std


def timm_weights(weights: str, model: nn.Module) -> dict[str, Tensor]:
    """Weights for every timm network in a model.

    Args:
        weights: as in the module.
        model: with a backbone of ``build_siamese_timm_fpn_backbone``, or with ``tu-`` encoders.

    Returns:
        State dict of these networks alone, by the model's names.

    Raises:
        InputError: timm has no such weights, the model's network is another, or they cannot be had.
    """
    known = _known(weights)
    networks = {name: part for name, part in model.named_modules() if hasattr(part, "pretrained_cfg")}
    others = {each.pretrained_cfg.get("architecture") for each in networks.values()} - {known.architecture}
    if others or not networks:
        raise InputError(
            f"MODEL.WEIGHTS {weights}: expected a model of the timm network {known.architecture}, found "
            f"{', '.join(sorted(map(str, others))) or 'none'}; set MODEL.TIMM.NAME {known.architecture}, or "
            f"for a semantic model MODEL.BACKBONE.NAME tu-{known.architecture}"
        )
    source = _read(weights, known)
    return {
        f"{name}.{key}": source[key]
        for name, part in networks.items()
        for key in part.state_dict()
        if key in source
    }


def _known(weights: str) -> Any:
    """What timm knows of the weights."""
    name = weights.removeprefix(_ADDRESS)
    name = Path(name).name.removesuffix(_FILE) if name.endswith(_FILE) else name
    architecture, _, tag = name.partition(".")
    tags = timm.list_pretrained(architecture) if timm.is_model(architecture) else []
    known = timm.get_pretrained_cfg(name) if tag and name in tags else None
    if known is None:
        raise InputError(
            f"MODEL.WEIGHTS {shown(weights)}: expected a name of timm {timm.__version__} with the tag of its "
            "weights, such as timm://convnext_tiny.fb_in22k_ft_in1k; python -c 'import timm; "
            "print(timm.list_models(pretrained=True))' lists them"
        )
    return known


def _read(weights: str, known: Any) -> dict[str, Tensor]:
    name = f"{known.architecture}.{known.tag}"
    place = weights if weights.endswith(_FILE) else _cached(known)
    if weights.endswith(_FILE) and not Path(weights).is_file():
        raise InputError(f"MODEL.WEIGHTS {weights}: no such file")
    overlay = {"pretrained_cfg_overlay": {"file": place}} if place else {}
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # tells of every try to reach the hub
    try:
        return timm.create_model(name, features_only=True, pretrained=True, **overlay).state_dict()
    except Exception as error:
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        raise InputError(
            f"MODEL.WEIGHTS {weights}: cannot be had ({type(error).__name__}: {reason}); without internet, "
            f"fetch model.safetensors of {known.hf_hub_id} elsewhere, call it {name}{_FILE} and name that "
            "file"
        ) from error


def _cached(known: Any) -> str | None:
    """Place of the weights in the hub's cache, asked first: without internet the hub takes a minute."""
    place = try_to_load_from_cache(known.hf_hub_id, "model.safetensors") if known.hf_hub_id else None
    return place if isinstance(place, str) else None
