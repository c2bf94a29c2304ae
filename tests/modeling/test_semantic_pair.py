from typing import Any

import pytest
import torch
from tiny_model import CONFIGS
from torch import nn

from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.modeling.semantic_pair import DECODERS, pixel_probabilities

TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "",
    "MODEL.BACKBONE.NAME": "tu-test_efficientnet",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
}
ARCHITECTURES = ("SemanticPair", "SpecialisedSemanticPair")


def semantic_model(**changes: Any) -> nn.Module:
    torch.manual_seed(0)
    merged = TINY | {f"MODEL.{key.replace('__', '.')}": value for key, value in changes.items()}
    overrides = [str(item) for pair in merged.items() for item in pair]
    return build_pair_model(load_config(CONFIGS / "semantic" / "unet_lite0.yaml", overrides))


def semantic_input(height: int = 64, width: int = 64, values: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> dict:
    """Noise whose targets are columns of the values."""
    generator = torch.Generator().manual_seed(height + width)
    columns = torch.tensor(values, dtype=torch.uint8).repeat(-(-width // len(values)))[:width]
    return {
        "image": torch.randint(0, 256, (6, height, width), generator=generator, dtype=torch.uint8),
        "sem_seg": columns.expand(height, width).clone(),
        "seams": torch.randint(0, 2, (height, width), generator=generator, dtype=torch.uint8),
    }


@pytest.mark.parametrize(
    ("form", "architecture"),
    [*((form, "SemanticPair") for form in DECODERS), ("Unet", "SpecialisedSemanticPair")],
)
def test_every_decoder_gives_probabilities_of_every_pixel_and_learns(form: str, architecture: str) -> None:
    model = semantic_model(SEM_SEG_HEAD__NAME=form, META_ARCHITECTURE=architecture)
    losses = model([semantic_input(), semantic_input(50, 40)])
    sum(losses.values()).backward()
    assert set(losses) == {
        "loss_building_bce",
        "loss_building_dice",
        "loss_damage_cross_entropy",
        "loss_damage_dice",
    }
    trained = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert trained
    assert [name for name, gradient in trained.items() if gradient is None] == []
    with torch.no_grad():
        outputs = model.eval()([semantic_input(50, 71), semantic_input(64, 33)])
    for output, shape in zip(outputs, [(50, 71), (64, 33)], strict=True):
        probs = output["pixel_probs"]
        assert (probs.shape, probs.dtype) == ((5, *shape), torch.float32)
        assert probs.min() >= 0
        assert probs.max() <= 1
        torch.testing.assert_close(probs[1:].sum(dim=0), torch.ones(shape), atol=1e-5, rtol=0)
        assert probs[0].std() > 0


def test_building_probability_reads_the_pre_image_and_damage_reads_both() -> None:
    for architecture in ARCHITECTURES:
        model = semantic_model(META_ARCHITECTURE=architecture).eval()
        pair, other = semantic_input(), semantic_input()
        other["image"] = torch.cat([pair["image"][:3], 255 - pair["image"][3:]])
        swapped = {"image": torch.cat([pair["image"][3:], pair["image"][:3]])}
        with torch.no_grad():
            beside_a_smaller_one = model([pair, semantic_input(64, 32)])[0]["pixel_probs"]
            first, changed, turned = (model([each])[0]["pixel_probs"] for each in (pair, other, swapped))
        torch.testing.assert_close(beside_a_smaller_one, first, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(first[0], changed[0], atol=1e-6, rtol=0)
        assert (first[1:] - changed[1:]).abs().max() > 1e-4
        assert (first[0] - turned[0]).abs().max() > 1e-4


@pytest.mark.parametrize("classes", [4, 5])
@pytest.mark.parametrize("values", [(0,), (5,), (3,)], ids=["background", "un-classified", "major"])
def test_uniform_tiles_give_finite_losses(classes: int, values: tuple[int, ...]) -> None:
    model = semantic_model(SEM_SEG_HEAD__NUM_CLASSES=classes)
    pair = semantic_input(values=values)
    pair["image"].zero_()
    losses = model([pair])
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(value.grad.isfinite().all() for value in model.parameters() if value.requires_grad)
    no_damage = values == (5,) or (values == (0,) and classes == 4)
    assert (losses["loss_damage_cross_entropy"] == 0) == no_damage
    with torch.no_grad():
        (output,) = model.eval()([pair])
    assert output["pixel_probs"].isfinite().all()


def test_padding_of_smaller_images_teaches_nothing() -> None:
    model = semantic_model()
    model.losses.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    seen: list[dict] = []
    model([semantic_input(), semantic_input(40, 48)])
    (targets,) = seen
    for target in targets.values():
        assert (target[1, 40:] == 255).all()
        assert (target[1, :, 48:] == 255).all()
    assert (targets["building"][1, :40, :48] != 255).all()


def test_background_class_is_left_out_of_damage_given_a_building() -> None:
    logits = {"building": torch.zeros(1, 1, 1, 1), "damage": torch.tensor([9.0, 0, 0, 0, 0]).view(1, 5, 1, 1)}
    expected = [0.5, 0.25, 0.25, 0.25, 0.25]
    assert pixel_probabilities(logits).flatten().tolist() == pytest.approx(expected)
    logits["damage"] = logits["damage"][:, 1:]
    assert pixel_probabilities(logits).flatten().tolist() == pytest.approx(expected)


def test_two_networks_share_no_parameter() -> None:
    model = semantic_model(META_ARCHITECTURE="SpecialisedSemanticPair")
    pair = semantic_input()
    sum(value for name, value in model([pair, pair]).items() if "building" in name).backward()
    touched = {name.split(".")[0] for name, value in model.named_parameters() if value.grad is not None}
    assert touched == {"building_encoder", "building_decoder"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"SEM_SEG_HEAD__NAME": "SegNet"}, "MODEL.SEM_SEG_HEAD.NAME: expected one of Unet, "),
        ({"SEM_SEG_HEAD__NUM_CLASSES": 54}, "MODEL.SEM_SEG_HEAD.NUM_CLASSES: expected 4 .* found 54"),
        ({"SEM_SEG_HEAD__CONVS_DIM": 100}, "MODEL.SEM_SEG_HEAD.CONVS_DIM: expected a multiple of 32"),
        ({"SEM_SEG_HEAD__CONVS_DIM": 32_000}, "MODEL.SEM_SEG_HEAD.CONVS_DIM: expected a multiple of 32"),
        ({"SEM_SEG_HEAD__LOSSES": "[['seam','bce',1.0]]"}, "MODEL.SEM_SEG_HEAD.LOSSES: expected"),
        ({"SEM_SEG_HEAD__LOSSES": "[['building','bce',1.0]]"}, "found none of damage"),
        ({"DAMAGE_HEAD__CLASS_WEIGHTS": "[1.0]"}, "MODEL.DAMAGE_HEAD.CLASS_WEIGHTS"),
    ],
)
def test_wrong_settings_are_refused(change: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        semantic_model(**change)
