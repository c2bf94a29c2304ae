"""Weights of an encoder alone, read from a file into a semantic model."""

from pathlib import Path

import pytest
import torch
from tiny_model import CONFIGS
from torch import Tensor, nn

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.modeling.semantic_encoder import build_encoder

SMALL = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.BACKBONE.NAME", "tu-test_efficientnet"]
SMALL += ["MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"]


def semantic_model(*overrides: str) -> nn.Module:
    torch.manual_seed(0)
    return build_pair_model(load_config(CONFIGS / "semantic" / "unet_lite0.yaml", [*SMALL, *overrides]))


@pytest.fixture(scope="module")
def built() -> tuple[nn.Module, dict[str, Tensor]]:
    """A semantic model and its first weights."""
    model = semantic_model()
    return model, {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def model(built: tuple[nn.Module, dict[str, Tensor]]) -> nn.Module:
    model, first = built
    model.load_state_dict(first)
    return model


def encoder_file(prefix: str = "") -> dict[str, Tensor]:
    """Tensors of the encoder, each of a value of its own."""
    state = build_encoder("tu-test_efficientnet", norm="BN").state_dict()
    return {
        f"{prefix}{name}": torch.full_like(value, 2 + at) for at, (name, value) in enumerate(state.items())
    }


def loaded_into(model: nn.Module, content: dict, path: Path) -> dict[str, Tensor]:
    torch.save(content, path)
    SkyeyeCheckpointer(model).load(str(path))
    return model.state_dict()


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "encoder.", "module.encoder."])
def test_an_encoders_file_reaches_the_encoder_and_nothing_else(
    model: nn.Module, prefix: str, wrapper: str | None, tmp_path: Path
) -> None:
    tensors = encoder_file(prefix)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = loaded_into(model, {wrapper: tensors, "epoch": 7} if wrapper else tensors, tmp_path / "space.pth")
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {name for name in after if name.startswith("encoder.")}
    for name in changed:
        assert torch.equal(after[name], tensors[prefix + name.removeprefix("encoder.")])


def test_both_encoders_of_two_networks_begin_with_the_file(tmp_path: Path) -> None:
    model, tensors = semantic_model("MODEL.META_ARCHITECTURE", "SpecialisedSemanticPair"), encoder_file()
    after = loaded_into(model, tensors, tmp_path / "space.pth")
    for name, value in tensors.items():
        if "num_batches" not in name:
            assert torch.equal(after[f"building_encoder.{name}"], value)
            assert torch.equal(after[f"damage_encoder.{name}"], value)


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict"])
def test_a_foreign_file_is_refused_in_a_sentence(
    model: nn.Module, wrapper: str | None, tmp_path: Path
) -> None:
    foreign = {f"encoder.layer{at}.weight": torch.zeros(3, 3) for at in range(4)}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=r"^weights .*space\.pth: expected the \d+ tensors") as told:
        loaded_into(model, {wrapper: foreign} if wrapper else foreign, tmp_path / "space.pth")
    assert "\n" not in str(told.value)
    assert "MODEL.BACKBONE.NAME" in str(told.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_an_encoder_of_another_size_is_refused(model: nn.Module, tmp_path: Path) -> None:
    tensors = encoder_file()
    name = next(name for name, value in tensors.items() if value.dim() == 4)
    tensors[name] = torch.zeros(1, 1, 3, 3)
    with pytest.raises(InputError, match=f"none for {name}"):
        loaded_into(model, tensors, tmp_path / "space.pth")


def test_an_encoders_file_alone_is_refused_for_inference(model: nn.Module, tmp_path: Path) -> None:
    torch.save(encoder_file(), tmp_path / "space.pth")
    with pytest.raises(InputError, match=r"expected those of the whole model .* pass a \.pth that training"):
        SkyeyeCheckpointer(model).load_whole_model(str(tmp_path / "space.pth"))


def test_a_semantic_models_own_checkpoint_is_loaded_whole(model: nn.Module, tmp_path: Path) -> None:
    other = {name: torch.full_like(value, 3) for name, value in model.state_dict().items()}
    torch.save({"model": other, "iteration": 7}, tmp_path / "model_final.pth")
    SkyeyeCheckpointer(model).load_whole_model(str(tmp_path / "model_final.pth"))
    assert all(torch.equal(other[name], value) for name, value in model.state_dict().items())
