import pytest
import torch
from detectron2.modeling import FPN
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from timm.layers import FrozenBatchNormAct2d
from tiny_model import tiny_config
from torch import nn

from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError
from skyeye_det.modeling.backbones import SiameseFPN, TimmBackbone

NETWORK = "test_efficientnet"
LEVELS = ["p2", "p3", "p4", "p5", "p6"]
PAIRS = torch.randn(2, 6, 64, 128, generator=torch.Generator().manual_seed(1))


def fpn(kind: type[FPN]) -> FPN:
    torch.manual_seed(0)
    features = ["res2", "res3", "res4", "res5"]
    return kind(TimmBackbone(NETWORK), features, 16, top_block=LastLevelMaxPool()).eval()


def test_each_image_gives_what_a_plain_fpn_gives_for_it_alone() -> None:
    siamese, plain = fpn(SiameseFPN), fpn(FPN)
    assert list(siamese.state_dict()) == list(plain.state_dict())
    with torch.no_grad():
        both, pre, post = siamese(PAIRS), plain(PAIRS[:, :3]), plain(PAIRS[:, 3:])
    assert list(both) == list(siamese.output_shape()) == [*LEVELS, *(f"{level}_post" for level in LEVELS)]
    for name, shape in siamese.output_shape().items():
        assert shape.stride == 2 ** int(name[1])
        assert both[name].shape == (2, shape.channels, 64 // shape.stride, 128 // shape.stride)
    for level in LEVELS:
        torch.testing.assert_close(both[level], pre[level], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(both[f"{level}_post"], post[level], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(both["p2"], both["p2_post"])


def trained(backbone: TimmBackbone) -> list[str]:
    return [name for name, parameter in backbone.network.named_parameters() if parameter.requires_grad]


@pytest.mark.parametrize(("name", "last"), [("test_convnext", "stages_0."), ("test_resnet", "bn1.")])
def test_freeze_at_fixes_the_first_stage_whatever_its_layers_are_called(name: str, last: str) -> None:
    built = list(TimmBackbone(name, freeze_at=1, norm="BN").named_parameters())
    end = max(at for at, (layer, _) in enumerate(built) if layer.startswith(f"network.{last}"))
    assert [layer for layer, each in built if not each.requires_grad] == [
        layer for layer, _ in built[: end + 1]
    ]


def test_freeze_at_fixes_stages_from_the_stem_on() -> None:
    stages = ["blocks.0.", "blocks.1.", "blocks.2.", "blocks.3.", "blocks.4."]
    everything = trained(TimmBackbone(NETWORK, freeze_at=0))
    assert any(name.startswith("conv_stem") for name in everything)
    for freeze_at in (1, 3, 5):
        expected = [name for name in everything if name.startswith(tuple(stages[freeze_at:]))]
        assert trained(TimmBackbone(NETWORK, freeze_at=freeze_at)) == expected


def test_frozen_norm_learns_nothing_and_keeps_its_activations() -> None:
    frozen, live = TimmBackbone(NETWORK, norm="FrozenBN"), TimmBackbone(NETWORK, norm="BN")
    assert any(isinstance(module, FrozenBatchNormAct2d) for module in frozen.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in live.modules())
    frozen.network.load_state_dict(
        {key: value for key, value in live.network.state_dict().items() if "num_batches" not in key}
    )
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    with torch.no_grad():
        found = frozen.eval()(PAIRS[:, :3])
        for name, expected in live.eval()(PAIRS[:, :3]).items():
            torch.testing.assert_close(found[name], expected, atol=1e-5, rtol=1e-4)
        frozen.train()(PAIRS[:, :3])
    assert all(torch.equal(before[key], value) for key, value in frozen.state_dict().items())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "efficientnet_light"}, "MODEL.TIMM.NAME: expected a network of timm"),
        ({"name": "test_vit"}, "MODEL.TIMM.NAME: expected a network"),
        ({"name": NETWORK, "norm": "GN"}, "MODEL.TIMM.NORM: expected FrozenBN or BN, found 'GN'"),
        ({"name": NETWORK, "freeze_at": 6}, "MODEL.BACKBONE.FREEZE_AT: expected 0..5"),
        ({"name": NETWORK, "freeze_at": -1}, "MODEL.BACKBONE.FREEZE_AT: expected 0..5"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        TimmBackbone(**arguments)


@pytest.mark.parametrize("key", ["MODEL.BACKBONE.NAME", "MODEL.META_ARCHITECTURE", "MODEL.ROI_HEADS.NAME"])
def test_unknown_part_in_the_config_is_named(key: str) -> None:
    with pytest.raises(InputError, match="NoSuchPart"):
        build_pair_model(tiny_config(**{key.replace(".", "__"): "NoSuchPart"}))
