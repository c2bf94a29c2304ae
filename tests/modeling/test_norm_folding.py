import pytest
import torch
from tiny_model import tiny_config
from torch import nn

from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError
from skyeye_det.modeling.norm_folding import folded_network

IMAGES = torch.randn(2, 6, 64, 64, generator=torch.Generator().manual_seed(1))


class OneMap(nn.Module):
    """Convolution and norm in a chosen order of use; both are listed in the same order."""

    def __init__(self, norm: nn.Module, norm_first: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 1)
        self.norm = norm
        self.norm_first = norm_first

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"p2": self.conv(self.norm(x)) if self.norm_first else self.norm(self.conv(x))}


def lively(network: nn.Module) -> nn.Module:
    """Statistics and weights as training would leave them."""
    torch.manual_seed(0)
    for module in network.modules():
        if hasattr(module, "running_mean"):
            for name, low, high in (
                ("running_mean", -0.2, 0.2),
                ("running_var", 0.5, 2.0),
                ("weight", 0.5, 1.5),
                ("bias", -0.2, 0.2),
            ):
                getattr(module, name).data.uniform_(low, high)
    return network.eval()


def norms(network: nn.Module) -> list[str]:
    return [type(module).__name__ for module in network.modules() if hasattr(module, "running_mean")]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"MODEL__TIMM__NORM": "BN"},
        {"MODEL__TIMM__NAME": "test_resnet"},
        {"MODEL__BACKBONE__NAME": "build_siamese_resnet_fpn_backbone", "MODEL__RESNETS__DEPTH": 50},
    ],
    ids=["frozen", "live in evaluation", "another network", "detectron2's ResNet"],
)
def test_folded_backbone_gives_the_same_features_without_norms(changes: dict) -> None:
    if changes.get("MODEL__RESNETS__DEPTH"):
        changes |= {"MODEL__RESNETS__OUT_FEATURES": "('res2','res3','res4','res5')"}
    backbone = lively(build_pair_model(tiny_config(**changes)).backbone)
    before = norms(backbone)
    folded = folded_network(backbone, IMAGES)
    assert before
    assert not norms(folded)
    assert norms(backbone) == before
    with torch.no_grad():
        ours, theirs = backbone(IMAGES), folded(IMAGES)
    assert list(ours) == list(theirs)
    for name, features in ours.items():
        scale = features.abs().max().item()
        assert scale > 0
        torch.testing.assert_close(theirs[name], features, atol=1e-4 * scale, rtol=0)


def test_a_norm_that_is_used_elsewhere_is_not_folded() -> None:
    with pytest.raises(InputError, match="cannot be folded in this backbone: its output p2"):
        folded_network(lively(OneMap(nn.BatchNorm2d(6), norm_first=True)), IMAGES)


def test_a_convolution_keeps_its_own_bias() -> None:
    network = lively(OneMap(nn.BatchNorm2d(6)))
    with torch.no_grad():
        torch.testing.assert_close(
            folded_network(network, IMAGES)(IMAGES)["p2"], network(IMAGES)["p2"], atol=1e-5, rtol=1e-5
        )


def test_a_backbone_without_norms_is_refused() -> None:
    with pytest.raises(InputError, match="no BatchNorm"):
        folded_network(OneMap(nn.Identity()).eval(), IMAGES)
