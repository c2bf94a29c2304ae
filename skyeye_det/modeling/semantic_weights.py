"""Weights of an encoder alone, as other projects' files hold them (SpaceNet, smp, torchvision, timm)."""

from collections.abc import Mapping

from torch import Tensor

from skyeye_det.errors import InputError

_ENCODERS = ("encoder.", "building_encoder.", "damage_encoder.")
_DECODER = "building_decoder."
_WRAPPERS = ("model", "state_dict")
# What training code puts before the names: Lightning model., DataParallel module., smp encoder.
_PREFIXES = tuple(
    outer + inner for outer in ("", "module.", "model.") for inner in ("", "encoder.", "module.encoder.")
)
_TIMM = "model."  # stands before the names of a tu- encoder, not in timm's own files


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
    state = _unwrapped(state)
    prefixes = [prefix for prefix in _ENCODERS if any(key.startswith(prefix) for key in model_keys)]
    if not prefixes or any(_DECODER in str(key) for key in state):
        return dict(state)
    fitted: dict[str, object] = {}
    for prefix in prefixes:
        wanted = {
            key.removeprefix(prefix): value for key, value in model_keys.items() if key.startswith(prefix)
        }
        fitted |= {f"{prefix}{name}": value for name, value in _renamed(state, wanted, source).items()}
    return fitted


def _unwrapped(state: Mapping[str, object]) -> Mapping[str, object]:
    for _ in _WRAPPERS:
        for wrapper in _WRAPPERS:
            inner = state.get(wrapper)
            if isinstance(inner, Mapping):
                state = inner
    return state


def _renamed(state: Mapping[str, object], wanted: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    candidates = [
        _matching(state, wanted, prefix, dropped) for prefix in _PREFIXES for dropped in ("", _TIMM)
    ]
    best = max(candidates, key=len)
    needed = [name for name in wanted if not name.endswith("num_batches_tracked")]  # older files lack them
    missing = [name for name in needed if name not in best]
    if missing:
        raise InputError(
            f"weights {source}: expected the {len(needed)} tensors of the encoder MODEL.BACKBONE.NAME, found "
            f"{len(needed) - len(missing)} of that name and shape among {len(state)}, none for {missing[0]}; "
            "give the weights of that encoder, or append MODEL.BACKBONE.NAME and the encoder of the file"
        )
    return best


def _matching(
    state: Mapping[str, object], wanted: dict[str, Tensor], prefix: str, dropped: str
) -> dict[str, Tensor]:
    found = {name: state.get(prefix + name.removeprefix(dropped)) for name in wanted}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, Tensor) and value.shape == wanted[name].shape
    }
