from typing import Any

import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny_model import tiny_config, training_input
from torch import Tensor, nn

from skyeye_det.engine.setup import build_pair_model
from skyeye_det.modeling.footprint_rcnn import FootprintRCNN, as_proposals

HEAD = "roi_heads.damage_head."


def footprint_model(**changes: Any) -> FootprintRCNN:
    torch.manual_seed(0)
    model = build_pair_model(tiny_config(MODEL__META_ARCHITECTURE="FootprintRCNN", **changes))
    assert isinstance(model, FootprintRCNN)
    return model


def loss_of(model: nn.Module, *batch: list[int]) -> Tensor:
    torch.manual_seed(1)
    with EventStorage():
        losses = model([training_input(damage, seed=number) for number, damage in enumerate(batch)])
    assert set(losses) == {"loss_damage"}
    return losses["loss_damage"]


def test_the_damage_head_alone_is_trained() -> None:
    trained = {name for name, value in footprint_model().named_parameters() if value.requires_grad}
    assert trained
    assert trained == {name for name, _ in footprint_model().named_parameters() if name.startswith(HEAD)}


@pytest.mark.parametrize("norm", ["FrozenBN", "BN"])
def test_a_step_changes_the_damage_head_and_nothing_else(norm: str) -> None:
    model = footprint_model(MODEL__TIMM__NORM=norm).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    loss_of(model, [0, 1, 2, 3], [3, -1]).backward()
    unreached = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert unreached == []
    assert {name for name, value in model.named_parameters() if value.requires_grad} >= changed
    assert f"{HEAD}layers.0.weight" in changed
    assert any(name.startswith(f"{HEAD}predictor.") for name in changed)


@pytest.mark.parametrize("batch", [[[], []], [[-1, -1]], [[], [-1]]], ids=str)
@pytest.mark.parametrize("masks", [True, False])
def test_crops_without_a_grade_give_zero_with_a_gradient(masks: bool, batch: list[list[int]]) -> None:
    model = footprint_model(MODEL__DAMAGE_HEAD__MASK_POOLING=masks)
    loss = loss_of(model, *batch)
    assert loss.item() == 0
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    assert gradients
    assert all(gradient is not None and not gradient.any() for gradient in gradients)


def test_empty_crop_beside_another_costs_nothing() -> None:
    model = footprint_model()
    assert loss_of(model, [0, 2], []).item() == pytest.approx(loss_of(model, [0, 2]).item(), rel=1e-4)


def test_boxes_are_moved_a_little_and_keep_their_area() -> None:
    truth = training_input([0, 1, 2, -1])["instances"]
    truth.gt_boxes.tensor[0] = torch.tensor([5.0, 5.0, 6.0, 6.0])
    torch.manual_seed(0)
    boxes = torch.stack([as_proposals(truth).proposal_boxes.tensor for _ in range(400)])
    assert (boxes[..., 2:] - boxes[..., :2]).min() >= 1
    spread = (boxes - truth.gt_boxes.tensor).std(dim=0)[1:]
    torch.testing.assert_close(spread, torch.full_like(spread, 0.08 * 14), atol=0.15, rtol=0)
    torch.testing.assert_close(boxes.mean(dim=0)[1:], truth.gt_boxes.tensor[1:], atol=0.3, rtol=0)


def test_proposals_carry_the_truth_and_may_be_none() -> None:
    for grades in ([2, -1], []):
        truth = training_input(grades)["instances"]
        proposals = as_proposals(truth)
        assert proposals.proposal_boxes.tensor.shape == (len(grades), 4)
        assert proposals.gt_damage.tolist() == grades
        assert torch.equal(proposals.gt_masks.tensor, truth.gt_masks.tensor)
        assert not hasattr(truth, "proposal_boxes")


def test_a_few_steps_fit_the_grades_of_one_pair() -> None:
    model = footprint_model()
    optimizer = torch.optim.AdamW([each for each in model.parameters() if each.requires_grad], lr=1e-2)
    course = []
    for _ in range(15):
        loss = loss_of(model, [0, 3, 1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        course.append(loss.item())
    assert course[-1] < 0.6 * course[0]


def test_in_inference_it_is_the_hybrid() -> None:
    model = footprint_model().eval()
    hybrid = build_pair_model(tiny_config()).eval()
    hybrid.load_state_dict(model.state_dict())
    with torch.no_grad():
        (found,), (expected,) = (each([training_input([])]) for each in (model, hybrid))
    assert len(found["instances"]) > 0
    for field in ("scores", "pred_masks", "pred_damage_probs"):
        torch.testing.assert_close(found["instances"].get(field), expected["instances"].get(field))
    torch.testing.assert_close(found["building_map"], expected["building_map"])
