import pytest
import torch
from torch import nn

from skyeye_det.errors import InputError
from skyeye_det.modeling.backbones import TimmBackbone
from skyeye_det.modeling.semantic_encoder import build_encoder


@pytest.mark.parametrize("name", ["tu-test_efficientnet", "tu-test_convnext", "resnet18", "efficientnet-b0"])
def test_features_have_the_channels_and_strides_they_say(name: str) -> None:
    encoder = build_encoder(name).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(2, 3, 64, 96))
    assert [feature.shape[1] for feature in features] == list(encoder.out_channels)
    assert [tuple(feature.shape[2:]) for feature in features] == [
        (64 >> step, 96 >> step) for step in range(6)
    ]


def test_output_stride_dilates_the_last_stages() -> None:
    encoder = build_encoder("tu-test_efficientnet", output_stride=8).eval()
    with torch.no_grad():
        features = encoder(torch.zeros(1, 3, 64, 64))
    assert [64 // feature.shape[-1] for feature in features] == [1, 2, 4, 8, 8, 8]
    assert list(encoder.state_dict()) == list(build_encoder("tu-test_efficientnet").state_dict())


def fixed(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if not parameter.requires_grad]


@pytest.mark.parametrize("freeze_at", [0, 1, 3, 5])
@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_freeze_at_fixes_what_the_instance_models_backbone_fixes(freeze_at: int, norm: str) -> None:
    encoder = build_encoder("tu-test_efficientnet", freeze_at=freeze_at, norm=norm)
    backbone = TimmBackbone("test_efficientnet", freeze_at, norm)
    assert fixed(encoder.model) == fixed(backbone.network)
    assert encoder.training


def test_freeze_at_counts_strides_in_other_encoders() -> None:
    stages = ("conv1.", "bn1.", "layer1.")
    assert fixed(build_encoder("resnet18", norm="BN")) == []
    found = fixed(build_encoder("resnet18", freeze_at=2, norm="BN"))
    assert found == [
        name for name, _ in build_encoder("resnet18", norm="BN").named_parameters() if name.startswith(stages)
    ]


def test_layers_left_of_a_classifier_do_not_train() -> None:
    assert fixed(build_encoder("efficientnet-b0", norm="BN")) == [
        "_conv_head.weight",
        "_bn1.weight",
        "_bn1.bias",
    ]


def test_frozen_norm_keeps_its_statistics() -> None:
    encoder = build_encoder("resnet18")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in encoder.modules())
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    encoder.train()(torch.randn(2, 3, 64, 64))
    assert all(torch.equal(before[key], value) for key, value in encoder.state_dict().items())


def test_building_changes_no_live_statistics() -> None:
    encoder = build_encoder("resnet18", norm="BN")
    assert encoder.bn1.running_mean.abs().max() == 0
    assert encoder.bn1.num_batches_tracked == 0


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
def test_wrong_arguments_are_told(arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        build_encoder(**arguments)
