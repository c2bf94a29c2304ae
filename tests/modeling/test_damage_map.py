"""The map of damage: what it learns from, and how its opinion joins that of the damage head."""

from pathlib import Path

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny_model import tiny_config, training_input
from torch import Tensor

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError
from skyeye_det.modeling.damage_map import DamageMapHead

SHAPES = {"p2": ShapeSpec(channels=4, stride=4), "p3": ShapeSpec(channels=4, stride=8)}
UNSURE = (0.25, 0.25, 0.25, 0.25)


def features_of(pairs: int = 1, cells: int = 16) -> dict[str, Tensor]:
    torch.manual_seed(3)
    sizes = {"p2": cells, "p3": cells // 2}
    return {
        name + suffix: torch.randn(pairs, 4, size, size)
        for name, size in sizes.items()
        for suffix in ("", "_post")
    }


def head_that_says(*classes: int) -> DamageMapHead:
    """Cells of the left half are of the first class, those of the right half of the second."""
    head = DamageMapHead(SHAPES, 8)
    logits = torch.zeros(1, 4, 16, 16)
    logits[0, classes[0], :, :8] = 20
    logits[0, classes[1], :, 8:] = 20
    head.forward = lambda features: logits  # type: ignore[method-assign]
    return head


def graded(*rows: tuple[tuple[float, ...], tuple[float, ...]], mask: float = 1.0) -> Instances:
    """Instances of (box, damage probabilities)."""
    found = Instances((64, 64))
    found.pred_boxes = Boxes(torch.tensor([box for box, _ in rows]).reshape(-1, 4))
    found.pred_damage_probs = torch.tensor([probs for _, probs in rows]).reshape(-1, 4)
    found.pred_damage = found.pred_damage_probs.argmax(dim=1)
    found.pred_masks = torch.full((len(rows), 1, 28, 28), mask)
    return found


@pytest.mark.parametrize("pairs", [1, 3])
def test_logits_have_the_stride_of_the_finest_feature(pairs: int) -> None:
    logits = DamageMapHead(SHAPES, 16)(features_of(pairs))
    assert (logits.shape, logits.dtype) == ((pairs, 4, 16, 16), torch.float32)


def test_every_part_of_both_images_is_read_and_every_weight_learns() -> None:
    head, features = DamageMapHead(SHAPES, 16), features_of()
    for each in features.values():
        each.requires_grad_(True)
    sem_seg = torch.randint(0, 6, (1, 64, 64))
    losses = head.losses(features, sem_seg, torch.zeros(1, 64, 64))
    assert set(losses) == {"loss_damage_cross_entropy", "loss_damage_dice"}
    sum(losses.values()).backward()
    assert all(each.grad is not None and each.grad.any() for each in features.values())
    assert all(each.grad is not None and each.grad.any() for each in head.parameters())


@pytest.mark.parametrize("value", [0, 5, 255], ids=["no buildings", "un-classified", "padding"])
def test_pixels_without_a_grade_teach_nothing(value: int) -> None:
    head = DamageMapHead(SHAPES, 8)
    losses = head.losses(features_of(), torch.full((1, 64, 64), value), torch.zeros(1, 64, 64))
    assert sum(losses.values()).item() == 0
    sum(losses.values()).backward()
    assert all(not each.grad.any() for each in head.parameters() if each.grad is not None)


def test_an_unsure_building_takes_the_opinion_of_the_map_at_its_place() -> None:
    found = graded(((4, 4, 24, 24), UNSURE), ((40, 4, 60, 24), UNSURE))
    head_that_says(2, 3).advise({}, [found])
    assert found.pred_damage.tolist() == [2, 3]
    torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(2))


def test_opinions_are_pooled_by_their_logarithms() -> None:
    own = (0.7, 0.1, 0.1, 0.1)
    found = graded(((4, 4, 24, 24), own))
    head_that_says(2, 2).advise({}, [found])
    product = torch.tensor([0.7 * 1e-3, 0.1 * 1e-3, 0.1 * 1.0, 0.1 * 1e-3]).sqrt()
    torch.testing.assert_close(found.pred_damage_probs[0], product / product.sum(), rtol=1e-4, atol=1e-5)


def test_pixels_off_the_mask_have_no_say() -> None:
    found = graded(((16, 16, 48, 48), UNSURE))
    found.pred_masks[:, :, :, 12:] = 0  # the right half, and what is interpolated across the middle
    head_that_says(1, 3).advise({}, [found])
    assert found.pred_damage.tolist() == [1]
    assert found.pred_damage_probs[0, 3] < 0.05


def test_a_building_without_a_mask_keeps_its_own_opinion() -> None:
    own = (0.4, 0.3, 0.2, 0.1)
    found = graded(((4, 4, 24, 24), own), mask=0.0)
    head_that_says(2, 2).advise({}, [found])
    torch.testing.assert_close(found.pred_damage_probs, torch.tensor([own]))


def test_no_buildings_are_advised_of_nothing() -> None:
    found = graded()
    head_that_says(2, 2).advise({}, [found])
    assert found.pred_damage_probs.shape == (0, 4)
    assert found.pred_damage.shape == (0,)


@pytest.mark.parametrize("dim", [-8, 4, 12])
def test_a_width_that_does_not_fit_is_told(dim: int) -> None:
    with pytest.raises(InputError, match=r"MAP_DIM: expected 0 \(no map\) or a multiple of 8"):
        build_pair_model(hybrid_config(dim))


def hybrid_config(dim: int, meta: str = "HybridRCNN"):
    return tiny_config(
        MODEL__META_ARCHITECTURE=meta,
        MODEL__DAMAGE_HEAD__MAP_DIM=dim,
        MODEL__SEM_SEG_HEAD__CONVS_DIM=32,
        MODEL__FPN__OUT_CHANNELS=32,
    )


@pytest.mark.parametrize("meta", ["HybridRCNN", "FootprintRCNN"])
@pytest.mark.parametrize("batch", [[[0, 3], [1]], [[], [2]], [[], []], [[-1], [-1]]])
def test_a_hybrid_learns_it_and_grades_by_it(meta: str, batch: list[list[int]]) -> None:
    torch.manual_seed(0)
    model = build_pair_model(hybrid_config(16, meta))
    with EventStorage():
        losses = model([training_input(grades, seed=number) for number, grades in enumerate(batch)])
    assert {"loss_damage", "loss_damage_cross_entropy", "loss_damage_dice"} <= set(losses)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    learns = any(p.grad is not None and p.grad.any() for p in model.damage_map_head.parameters())
    assert learns == any(grade >= 0 for grades in batch for grade in grades)
    model.eval()
    pairs = [training_input([0]), {"image": torch.zeros(6, 50, 71, dtype=torch.uint8)}]
    with torch.no_grad():
        outputs = model(pairs)
        model.damage_map_head = None
        alone = model(pairs)
    for output, without in zip(outputs, alone, strict=True):
        found = output["instances"]
        torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(len(found)))
        assert torch.equal(found.pred_boxes.tensor, without["instances"].pred_boxes.tensor)
        assert not torch.equal(found.pred_damage_probs, without["instances"].pred_damage_probs)


def test_given_footprints_are_advised_too() -> None:
    torch.manual_seed(0)
    model = build_pair_model(hybrid_config(16)).eval()
    given = graded(((4, 4, 24, 24), UNSURE))
    given.remove("pred_damage_probs")
    given.remove("pred_damage")
    with torch.no_grad():
        (found,) = model.grade([training_input([])], [given])
        own = found.pred_damage_probs.clone()
        model.damage_map_head = None
        (found,) = model.grade([training_input([])], [given])
    assert not torch.equal(own, found.pred_damage_probs)


def test_the_second_step_begins_from_a_hybrid_without_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = build_pair_model(hybrid_config(0))
    SkyeyeCheckpointer(first, str(tmp_path)).save("first")
    second = build_pair_model(hybrid_config(16, "FootprintRCNN"))
    SkyeyeCheckpointer(second).load(str(tmp_path / "first.pth"))
    trained = {name for name, parameter in second.named_parameters() if parameter.requires_grad}
    assert trained == {
        name
        for name, _ in second.named_parameters()
        if name.startswith(("roi_heads.damage_head.", "damage_map_head."))
    }
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
