import math

import pytest
import torch
from torch import Tensor

from skyeye_det.errors import InputError
from skyeye_det.modeling.pixel_losses import IGNORE_PIXEL, PixelLosses, pixel_targets

ALL = ("building", "seam", "damage")
BINARY_KINDS = ("bce", "dice", "focal", "jaccard")
DAMAGE_KINDS = ("cross_entropy", "dice", "focal", "jaccard")
EVERY_LOSS = [[target, kind, 1.0] for target in ("building", "seam") for kind in BINARY_KINDS]
EVERY_LOSS += [["damage", kind, 1.0] for kind in DAMAGE_KINDS]
LN3 = math.log(3.0)


def loss_of(target: str, kind: str, logits: Tensor, wanted: Tensor, *class_weights: list[float]) -> float:
    losses = PixelLosses([[target, kind, 0.5]], ALL, *class_weights)({target: logits}, {target: wanted})
    assert list(losses) == [f"loss_{target}_{kind}"]
    return 2 * losses[f"loss_{target}_{kind}"].item()


# Probabilities 1/2 of a pixel that is 1, 3/4 of one that is 0, and an ignored one.
@pytest.mark.parametrize("target", ["building", "seam"])
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("bce", (math.log(2) + math.log(4)) / 2),
        ("focal", (0.5**2 * math.log(2) + 0.75**2 * math.log(4)) / 2),
        ("dice", 1 - 2 * 0.5 / (0.5 + 0.75 + 1)),
        ("jaccard", 1 - 0.5 / (0.5 + 0.75 + 1 - 0.5)),
    ],
)
def test_binary_losses_by_hand(target: str, kind: str, expected: float) -> None:
    logits = torch.tensor([0.0, LN3, 9.0]).view(1, 1, 1, 3)
    wanted = torch.tensor([1.0, 0.0, IGNORE_PIXEL]).view(1, 1, 3)
    assert loss_of(target, kind, logits, wanted) == pytest.approx(expected, abs=1e-6)


# A pixel of class 0 with probabilities (1/4, 1/4, 1/4, 1/4), one of class 1 with (1/2, 1/6, 1/6, 1/6), an
# ignored one.
DAMAGE_LOGITS = torch.tensor([[0.0, 0, 0, 0], [LN3, 0, 0, 0], [9, 0, 0, 5]]).T.reshape(1, 4, 1, 3)
DAMAGE_WANTED = torch.tensor([0, 1, IGNORE_PIXEL]).view(1, 1, 3)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cross_entropy", (math.log(4) + math.log(6)) / 2),
        ("focal", (0.75**2 * math.log(4) + (5 / 6) ** 2 * math.log(6)) / 2),
        ("dice", ((1 - 0.5 / 1.75) + (1 - (1 / 3) / (5 / 12 + 1))) / 4),
        ("jaccard", ((1 - 0.25 / 1.5) + (1 - (1 / 6) / 1.25)) / 4),
    ],
)
def test_damage_losses_by_hand(kind: str, expected: float) -> None:
    assert loss_of("damage", kind, DAMAGE_LOGITS, DAMAGE_WANTED) == pytest.approx(expected, abs=1e-6)


def test_class_weights_weigh_pixels_by_their_true_damage() -> None:
    # With background as a class of damage, it counts 1 and the others move up by one.
    with_background = torch.cat([torch.full((1, 1, 1, 3), -99.0), DAMAGE_LOGITS], dim=1)
    shifted = torch.where(DAMAGE_WANTED == IGNORE_PIXEL, IGNORE_PIXEL, DAMAGE_WANTED + 1)
    for logits, wanted in ((DAMAGE_LOGITS, DAMAGE_WANTED), (with_background, shifted)):
        found = loss_of("damage", "cross_entropy", logits, wanted, [1.0, 3.0, 1.0, 1.0])
        assert found == pytest.approx((math.log(4) + 3 * math.log(6)) / 4, abs=1e-6)


def test_targets_of_every_kind_of_pixel() -> None:
    sem_seg = torch.tensor([[[0, 1, 2, 3, 4, 5, 255]]], dtype=torch.uint8)
    seams = torch.tensor([[[1, 1, 0, 0, 0, 1, 1]]], dtype=torch.uint8)
    found = pixel_targets(sem_seg, seams)
    assert found["building"].tolist() == [[[0, 1, 1, 1, 1, 1, 255]]]
    assert found["seam"].tolist() == [[[255, 1, 0, 0, 0, 1, 255]]]
    assert found["damage"].tolist() == [[[255, 0, 1, 2, 3, 255, 255]]]
    assert [value.dtype for value in found.values()] == [torch.float32, torch.float32, torch.int64]
    assert pixel_targets(sem_seg, seams, 5)["damage"].tolist() == [[[0, 1, 2, 3, 4, 255, 255]]]


@pytest.mark.parametrize("value", [0, 1, 5, IGNORE_PIXEL])
@pytest.mark.parametrize("classes", [4, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_uniform_pixels_give_finite_losses_and_gradients(
    value: int, classes: int, dtype: torch.dtype
) -> None:
    sem_seg = torch.full((2, 4, 4), value, dtype=torch.uint8)
    targets = pixel_targets(sem_seg, torch.zeros_like(sem_seg), classes)
    generator = torch.Generator().manual_seed(0)
    logits = {
        name: (60 * torch.randn(2, channels, 4, 4, generator=generator)).to(dtype).requires_grad_()
        for name, channels in (("building", 1), ("seam", 1), ("damage", classes))
    }
    losses = PixelLosses(EVERY_LOSS, ALL)(logits, targets)
    sum(losses.values()).backward()
    assert len(losses) == len(EVERY_LOSS)
    assert all(loss.isfinite() and loss >= 0 and loss.dtype == torch.float32 for loss in losses.values())
    assert all(values.grad.isfinite().all() for values in logits.values())
    nothing_to_grade = value in (5, IGNORE_PIXEL) or (value == 0 and classes == 4)
    graded = sum(losses[f"loss_damage_{kind}"] for kind in DAMAGE_KINDS)
    assert (graded == 0) == nothing_to_grade
    assert (logits["damage"].grad.abs().max() == 0) == nothing_to_grade


def test_perfect_logits_cost_nothing_and_each_loss_teaches() -> None:
    sem_seg = torch.tensor([[[0, 1, 2], [3, 4, 5]]], dtype=torch.uint8)
    targets = pixel_targets(sem_seg, torch.tensor([[[0, 1, 0], [0, 1, 1]]]))
    wanted = targets["damage"].where(targets["damage"] != IGNORE_PIXEL, 0)
    right = {
        "building": 80 * targets["building"][:, None] - 40,
        "seam": 80 * (targets["seam"][:, None] == 1).float() - 40,
        "damage": 80 * torch.nn.functional.one_hot(wanted, 4).permute(0, 3, 1, 2).float(),
    }
    losses = PixelLosses(EVERY_LOSS, ALL)
    assert all(loss < 1e-6 for loss in losses(right, targets).values())
    for entry in EVERY_LOSS:
        logits = {name: torch.zeros_like(value).requires_grad_() for name, value in right.items()}
        (loss,) = PixelLosses([entry], ALL)(logits, targets).values()
        loss.backward()
        target = entry[0]
        step = {target: logits[target] - 0.1 * logits[target].grad}
        assert PixelLosses([entry], ALL)(step, targets)[f"loss_{target}_{entry[1]}"] < loss


@pytest.mark.parametrize(
    "losses",
    [
        *([[target, kind, 1.0]] for target, kind in (("roof", "bce"), ("building", "cross_entropy"))),
        *([["building", "bce", weight]] for weight in (-1.0, math.nan, 10**400, True)),
        [["building", "bce"]],
        [[["building"], "bce", 1.0]],
        ["building"],
        [["building", "bce", 1.0], ["building", "bce", 2.0]],
        *([], "building", None),
    ],
    ids=str,
)
def test_malformed_losses_are_refused_with_what_is_allowed(losses: object) -> None:
    with pytest.raises(InputError, match="MODEL.SEM_SEG_HEAD.LOSSES: expected .*bce, focal, dice, jaccard"):
        PixelLosses(losses, ALL)


def test_only_maps_that_the_model_has_can_have_a_loss() -> None:
    assert PixelLosses([["building", "bce", 1], ["seam", "bce", 0]], ALL).targets == {"building"}
    with pytest.raises(InputError, match=r"\(building: .*; seam: .*\), found .*damage"):
        PixelLosses([["damage", "dice", 1.0]], ("building", "seam"))
