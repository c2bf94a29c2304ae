from pathlib import Path

import pytest
import torch
from test_semantic_pair import semantic_model
from tiny_model import tiny_config
from torch import Tensor

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError
from skyeye_det.modeling import packaged_weights
from skyeye_det.modeling.packaged_weights import load_packaged_weights
from skyeye_det.modeling.semantic_encoder import build_encoder
from skyeye_det.modeling.semantic_weights import encoder_weights

ENCODERS = {"SemanticPair": ["encoder"], "SpecialisedSemanticPair": ["building_encoder", "damage_encoder"]}


@pytest.mark.parametrize("architecture", ENCODERS)
@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_packaged_weights_reach_every_encoder(architecture: str, norm: str) -> None:
    model = semantic_model(
        META_ARCHITECTURE=architecture, BACKBONE__NAME="tu-tf_efficientnet_lite0", TIMM__NORM=norm
    )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    SkyeyeCheckpointer(model).load("packaged://efficientnet-lite0")
    package = torch.load(packaged_weights._weights_file("efficientnet-lite0"), weights_only=True)
    after = model.state_dict()
    for encoder in ENCODERS[architecture]:
        for ours, theirs in {
            "conv_stem.weight": "_conv_stem.weight",
            "bn1.running_var": "_bn0.running_var",
            "blocks.1.0.conv_pw.weight": "_blocks.1._expand_conv.weight",
            "blocks.6.0.bn3.bias": "_blocks.15._bn2.bias",
        }.items():
            assert torch.equal(after[f"{encoder}.model.{ours}"], package[theirs])
        mean = [name for name in after if name.startswith(encoder) and name.endswith("running_mean")]
        assert not any(torch.equal(before[name], after[name]) for name in mean)
    decoders = [name for name in after if "decoder" in name]
    assert all(torch.equal(before[name], after[name]) for name in decoders)


def test_packaged_weights_fit_a_dilated_encoder() -> None:
    changes = {"BACKBONE__NAME": "tu-tf_efficientnet_lite0", "SEM_SEG_HEAD__NAME": "PSPNet"}
    keys = semantic_model(**changes).state_dict()
    fitted = load_packaged_weights("efficientnet-lite0", keys)
    assert set(fitted) == {key for key in keys if key.startswith("encoder.")}


@pytest.mark.parametrize("name", ["tu-test_efficientnet", "tu-tf_efficientnet_lite1", "resnet18"])
def test_packaged_weights_of_another_encoder_are_refused(name: str) -> None:
    keys = semantic_model(BACKBONE__NAME=name).state_dict()
    with pytest.raises(InputError, match="set MODEL.BACKBONE.NAME tu-tf_efficientnet_lite0"):
        load_packaged_weights("efficientnet-lite0", keys)


def file_of(encoder: str, prefix: str) -> dict[str, Tensor]:
    """An encoder's tensors, numbered so that none equals another, with what else such a file holds."""
    state = build_encoder(encoder, norm="BN").state_dict()
    numbered = {
        f"{prefix}{name}": torch.full_like(value, 2 + at) for at, (name, value) in enumerate(state.items())
    }
    extras = {f"{prefix}fc.weight": torch.zeros(3), "module.decoder.blocks.0.conv1.0.weight": torch.zeros(3)}
    return numbered | extras


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        ("", None),
        ("encoder.", None),
        ("module.", None),
        ("module.encoder.", None),
        ("model.encoder.", "state_dict"),
        ("module.encoder.", "model"),
    ],
)
@pytest.mark.parametrize("architecture", ENCODERS)
def test_names_of_other_projects_are_understood(prefix: str, wrapper: str | None, architecture: str) -> None:
    tensors = file_of("resnet18", prefix)
    keys = semantic_model(META_ARCHITECTURE=architecture, BACKBONE__NAME="resnet18").state_dict()
    found = encoder_weights({wrapper: tensors, "epoch": 7} if wrapper else tensors, keys)
    assert set(found) == {key for key in keys if key.split(".")[0] in ENCODERS[architecture]}
    for encoder in ENCODERS[architecture]:
        for name in ("conv1.weight", "layer1.0.conv1.weight", "layer4.1.bn2.running_var"):
            assert found[f"{encoder}.{name}"] is tensors[f"{prefix}{name}"]


@pytest.mark.parametrize("prefix", ["", "model.", "encoder.model.", "module.encoder.model."])
def test_timms_own_names_are_understood(prefix: str) -> None:
    tensors = {
        name.replace("model.", prefix, 1): value
        for name, value in file_of("tu-test_efficientnet", "").items()
    }
    found = encoder_weights(tensors, semantic_model().state_dict())
    assert torch.equal(found["encoder.model.conv_stem.weight"], tensors[f"{prefix}conv_stem.weight"])


def test_files_without_counts_of_batches_fit_live_norms() -> None:
    tensors = {name: value for name, value in file_of("resnet18", "").items() if "num_batches" not in name}
    assert encoder_weights(tensors, semantic_model(BACKBONE__NAME="resnet18", TIMM__NORM="BN").state_dict())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            lambda state: state.pop("layer1.0.conv1.weight"),
            "found 99 .* none for layer1.0.conv1.weight",
        ),
        (
            lambda state: state.update({"conv1.weight": torch.zeros(64, 6, 7, 7)}),
            "found 99 .* none for conv1",
        ),
        (lambda state: state.update({"conv1.weight": "a string"}), "found 99 .* none for conv1"),
        (lambda state: state.clear(), "found 0 of that name and shape among 0"),
    ],
    ids=["missing", "six channels", "no tensor", "empty"],
)
def test_file_that_lacks_a_tensor_is_refused_with_counts(change: object, found: str) -> None:
    tensors = file_of("resnet18", "")
    change(tensors)
    with pytest.raises(InputError, match=f"^weights space.pth: expected the 100 tensors .*{found}"):
        encoder_weights(tensors, semantic_model(BACKBONE__NAME="resnet18").state_dict(), "space.pth")


def test_checkpoints_of_whole_models_stay_as_they_are(tmp_path: Path) -> None:
    state = semantic_model().state_dict()
    assert encoder_weights({"model": state, "iteration": 7}, state) == dict(state)
    wrapped = {f"module.{name}": value for name, value in state.items()}
    assert encoder_weights(wrapped, state) == wrapped
    instance_model = build_pair_model(tiny_config()).state_dict()
    assert encoder_weights(instance_model, instance_model) == dict(instance_model)
