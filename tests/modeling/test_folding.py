"""BatchNorms folded into convolutions: the same features, none left."""

import pytest
import torch
from tiny_model import CONFIGS, tiny_config
from torch import nn

from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.modeling.folding import fold_batch_norms, folded_network

PAIRS = torch.randn(2, 6, 64, 128, generator=torch.Generator().manual_seed(1))
SEMANTIC = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.BACKBONE.NAME", "tu-test_efficientnet"]
SEMANTIC += ["MODEL.BACKBONE.FREEZE_AT", "0"]
ENCODERS = ("backbone", "encoder", "building_encoder", "damage_encoder")


class OneMap(nn.Module):
    """Convolution and norm in a chosen order of use; both are listed in the same order."""

    def __init__(self, norm: nn.Module, norm_first: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 1)
        self.norm = norm
        self.norm_first = norm_first

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"p2": self.conv(self.norm(x)) if self.norm_first else self.norm(self.conv(x))}


def norms(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if hasattr(module, "running_mean")]


def lively(network: nn.Module) -> nn.Module:
    """Statistics and weights as training would leave them."""
    torch.manual_seed(0)
    for norm in norms(network):
        for name, low, high in (("running_mean", -0.2, 0.2), ("running_var", 0.5, 2), ("weight", 0.5, 1.5)):
            getattr(norm, name).data.uniform_(low, high)
        norm.bias.data.uniform_(-0.2, 0.2)
    return network.eval()


RESNET = {
    "MODEL__BACKBONE__NAME": "build_siamese_resnet_fpn_backbone",
    "MODEL__RESNETS__DEPTH": 50,
    "MODEL__RESNETS__OUT_FEATURES": "('res2','res3','res4','res5')",
}


@pytest.mark.parametrize(
    "changes",
    [{}, {"MODEL__TIMM__NORM": "BN"}, {"MODEL__TIMM__NAME": "test_resnet"}, RESNET, None],
    ids=["frozen", "live in evaluation", "another network", "detectron2's ResNet", "convolution with a bias"],
)
def test_folded_backbone_gives_the_same_features_without_norms(changes: dict | None) -> None:
    plain = (
        OneMap(nn.BatchNorm2d(6)) if changes is None else build_pair_model(tiny_config(**changes)).backbone
    )
    backbone = lively(plain)
    before = len(norms(backbone))
    folded = folded_network(backbone, PAIRS)
    assert (len(norms(folded)), len(norms(backbone))) == (0, before)
    with torch.no_grad():
        ours, theirs = backbone(PAIRS), folded(PAIRS)
    assert list(ours) == list(theirs)
    for name, features in ours.items():
        scale = features.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(theirs[name], features, atol=1e-4 * scale, rtol=0)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (OneMap(nn.BatchNorm2d(6), norm_first=True), "cannot be folded in this backbone: its output p2"),
        (OneMap(nn.Identity()), "no BatchNorm"),
    ],
    ids=["norm used elsewhere", "no norm"],
)
def test_backbone_that_cannot_be_folded_is_refused(network: OneMap, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        folded_network(lively(network), PAIRS)


@pytest.mark.parametrize("kind", ["damage map", "fpn_lite0", "unet_lite0_two_networks"])
def test_every_encoder_of_a_model_is_folded(kind: str) -> None:
    cfg = (
        tiny_config(MODEL__DAMAGE_HEAD__DENSE_EVIDENCE=True)
        if kind == "damage map"
        else load_config(CONFIGS / "semantic" / f"{kind}.yaml", SEMANTIC)
    )
    model = lively(build_pair_model(cfg))
    image = {"image": PAIRS[0].mul(40).add(120).clamp(0, 255), "height": 64, "width": 128}
    encoders = [each for name, each in model.named_modules() if name.rpartition(".")[2] in ENCODERS]
    with torch.no_grad():
        before = model([image])[0]
        fold_batch_norms(model)
        after = model([image])[0]
    assert any(norms(each) for each in encoders)
    assert not [
        name for name, each in model.named_modules() if name.rpartition(".")[2] in ENCODERS and norms(each)
    ]
    name = "building_map" if kind == "damage map" else "pixel_probs"
    torch.testing.assert_close(after[name], before[name], atol=1e-4, rtol=1e-3)
