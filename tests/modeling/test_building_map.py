import pytest
import torch
from detectron2.layers import ShapeSpec
from tiny_model import tiny_config

from skyeye_det.errors import InputError
from skyeye_det.modeling.building_map import BuildingMapHead
from skyeye_det.modeling.pixel_losses import IGNORE_PIXEL

CHANNELS = 16
STRIDES = {"p2": 4, "p3": 8, "p4": 16, "p5": 32}
LOSSES = {"loss_building_bce", "loss_building_dice", "loss_seam_bce"}


def head_of(**changes: object) -> BuildingMapHead:
    torch.manual_seed(0)
    shapes = {name: ShapeSpec(channels=CHANNELS, stride=stride) for name, stride in STRIDES.items()}
    keys = {f"MODEL__SEM_SEG_HEAD__{key}": value for key, value in changes.items()}
    return BuildingMapHead(tiny_config(**keys), shapes)


def features_of(count: int, side: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(count, CHANNELS, side // stride, side // stride, generator=generator)
        for name, stride in STRIDES.items()
    }


def targets_of(count: int, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """A building of every class and one without."""
    sem_seg = torch.zeros(count, side, side, dtype=torch.uint8)
    for value in range(1, 6):
        sem_seg[:, 4:20, 12 * value - 10 : 12 * value] = value
    seams = torch.zeros_like(sem_seg)
    seams[:, 4:6] = sem_seg[:, 4:6] > 0
    return sem_seg, seams


@pytest.mark.parametrize("size", [(64, 64), (50, 61)])
@pytest.mark.parametrize("count", [0, 1, 2])
@pytest.mark.parametrize("half", [False, True])
def test_map_has_two_channels_and_an_untrained_one_few_buildings(
    count: int, size: tuple[int, int], half: bool
) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        logits = head_of()(features_of(count), size)
    probabilities = logits.sigmoid()
    for each in (logits, probabilities):
        assert (each.shape, each.dtype) == ((count, 2, *size), torch.float32)
    if count:
        assert 0 <= probabilities.min() <= probabilities.max() <= 1
        assert 0.02 < probabilities.mean() < 0.3
        assert probabilities.std() > 0


@pytest.mark.parametrize(("stride", "inputs"), [(4, "['p2','p3','p4','p5']"), (8, "['p3','p5']")])
@pytest.mark.parametrize("norm", ["GN", ""])
def test_losses_reach_every_parameter(norm: str, stride: int, inputs: str) -> None:
    head = head_of(NORM=norm, COMMON_STRIDE=stride, IN_FEATURES=inputs)
    losses = head.losses(head(features_of(2), (64, 64)), *targets_of(2))
    assert set(losses) == LOSSES
    sum(losses.values()).backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in head.parameters())


def test_right_logits_cost_little_and_wrong_ones_much() -> None:
    sem_seg, seams = targets_of(1)
    right = torch.stack([(sem_seg > 0).float(), seams.float()], dim=1) * 20 - 10
    head = head_of()
    assert all(loss < 0.01 for loss in head.losses(right, sem_seg, seams).values())
    assert all(loss > 0.5 for loss in head.losses(-right, sem_seg, seams).values())


@pytest.mark.parametrize("value", [0, 5, IGNORE_PIXEL], ids=["background", "un-classified", "padding"])
def test_uniform_targets_give_finite_losses(value: int) -> None:
    head = head_of()
    sem_seg = torch.full((1, 64, 64), value, dtype=torch.uint8)
    losses = head.losses(head(features_of(1), (64, 64)), sem_seg, torch.zeros_like(sem_seg))
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    assert (losses["loss_building_bce"] > 0) == (value != IGNORE_PIXEL)
    assert (losses["loss_seam_bce"] > 0) == (value == 5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"LOSSES": "[['damage','cross_entropy',1.0]]"}, r"MODEL\.SEM_SEG_HEAD\.LOSSES: expected"),
        ({"COMMON_STRIDE": 8}, "IN_FEATURES: expected features of COMMON_STRIDE or coarser"),
        ({"CONVS_DIM": 40}, "CONVS_DIM: expected a multiple of 32 with NORM GN, found 40"),
    ],
)
def test_wrong_settings_are_refused(changes: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        head_of(**changes)
