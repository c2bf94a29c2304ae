import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from tiny_model import tiny_config, training_input

from skyeye_det.engine.setup import build_pair_model
from skyeye_det.modeling.fusion import FUSIONS
from skyeye_det.modeling.ordinal import ORDINAL_FORMS
from skyeye_det.modeling.roi_heads import enlarge_boxes

BATCHES = {
    "regular": [[0, 1, 2, 3], [3, 0]],
    "half-empty": [[0, 3], []],
    "empty": [[], []],
    "un-classified": [[-1, -1], [-1]],
}
LOSSES = {"loss_cls", "loss_box_reg", "loss_mask", "loss_damage", "loss_rpn_cls", "loss_rpn_loc"}


def build(**changes: object) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_pair_model(tiny_config(**changes))


def losses_of(model: torch.nn.Module, batch: list[list[int]]) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    with EventStorage():
        return model([training_input(damage, seed=number) for number, damage in enumerate(batch)])


@pytest.mark.parametrize("ordinal", ORDINAL_FORMS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_losses_are_finite_and_reach_every_parameter(fusion: str, ordinal: str) -> None:
    model = build(MODEL__DAMAGE_HEAD__FUSION=fusion, MODEL__DAMAGE_HEAD__ORDINAL=ordinal)
    for name, batch in BATCHES.items():
        model.zero_grad()
        losses = losses_of(model, batch)
        assert set(losses) == LOSSES
        assert all(torch.isfinite(loss) for loss in losses.values()), (name, losses)
        sum(losses.values()).backward()
        unreached = [key for key, p in model.named_parameters() if p.requires_grad and p.grad is None]
        assert not unreached, (name, unreached)
        has_grades = name in ("regular", "half-empty")
        reached = any(p.grad.any() for p in model.roi_heads.damage_head.parameters())
        assert (losses["loss_damage"].item() > 0) == reached == has_grades, name


@pytest.mark.parametrize("ordinal", ORDINAL_FORMS)
@pytest.mark.parametrize("fusion", FUSIONS)
def test_inference_grades_every_instance(fusion: str, ordinal: str) -> None:
    model = build(MODEL__DAMAGE_HEAD__FUSION=fusion, MODEL__DAMAGE_HEAD__ORDINAL=ordinal).eval()
    inputs = [{"image": torch.zeros(6, 64, 64, dtype=torch.uint8)}, training_input([])]
    with torch.no_grad():
        outputs = model(inputs)
    for output in outputs:
        found = output["instances"]
        assert len(found) > 0
        assert found.pred_damage_probs.shape == (len(found), 4)
        torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(len(found)))
        assert torch.equal(found.pred_damage, found.pred_damage_probs.argmax(dim=1))


def test_unclassified_building_trains_box_and_mask_and_no_grade() -> None:
    model = build()
    graded, ignored = losses_of(model, [[0, 1]]), losses_of(model, [[0, -1]])
    assert ignored["loss_mask"].item() == graded["loss_mask"].item() > 0
    assert ignored["loss_box_reg"].item() == graded["loss_box_reg"].item()
    assert ignored["loss_damage"].item() != graded["loss_damage"].item()
    assert losses_of(model, [[-1, -1]])["loss_damage"].item() == 0


def test_post_image_moves_damage_and_nothing_else() -> None:
    model = build().eval()
    pair = training_input([0])
    other = {**pair, "image": pair["image"].clone()}
    other["image"][3:] = 255 - other["image"][3:]
    with torch.no_grad():
        first, second = (model([each])[0]["instances"] for each in (pair, other))
    torch.testing.assert_close(first.pred_boxes.tensor, second.pred_boxes.tensor, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(first.pred_masks, second.pred_masks, atol=1e-4, rtol=1e-3)
    assert (first.pred_damage_probs - second.pred_damage_probs).abs().max() > 1e-6


def test_boxes_are_enlarged_around_their_centres() -> None:
    found = enlarge_boxes(Boxes(torch.tensor([[10.0, 20.0, 20.0, 40.0]])), 1.4)
    torch.testing.assert_close(found.tensor, torch.tensor([[8.0, 16.0, 22.0, 44.0]]))
    assert len(enlarge_boxes(Boxes(torch.zeros(0, 4)), 1.4)) == 0
