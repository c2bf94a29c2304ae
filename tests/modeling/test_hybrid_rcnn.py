from typing import Any

import pytest
import torch
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from tiny_model import CONFIGS, tiny_config, tiny_overrides, training_input
from torch import Tensor, nn

from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.modeling.hybrid_rcnn import HybridRCNN

LOSSES = {
    "loss_cls",
    "loss_box_reg",
    "loss_mask",
    "loss_damage",
    "loss_rpn_cls",
    "loss_rpn_loc",
    "loss_building_bce",
    "loss_building_dice",
    "loss_seam_bce",
}
BOX = (10, 12, 34, 30)
OTHER = (44, 40, 60, 56)
NO_DETECTIONS = {"MODEL__ROI_HEADS__SCORE_THRESH_TEST": 1.0}
Box = tuple[int, int, int, int]


class FixedMap(nn.Module):
    """Says building in the boxes of each image, whatever it shows."""

    def __init__(self, *boxes: list[Box], logit: float = 3.0):
        super().__init__()
        self.boxes, self.logit = boxes, logit

    def forward(self, features: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        logits = features["p2"].new_full((len(features["p2"]), 2, *size), -9.0)
        for image, boxes in zip(logits, self.boxes, strict=True):
            for x0, y0, x1, y1 in boxes:
                image[0, y0:y1, x0:x1] = self.logit
        return logits


def hybrid(**changes: Any) -> HybridRCNN:
    torch.manual_seed(0)
    model = build_pair_model(tiny_config(**changes))
    assert isinstance(model, HybridRCNN)
    return model


def with_map(*boxes: list[Box], logit: float = 3.0, **changes: Any) -> HybridRCNN:
    model = hybrid(**changes).eval()
    model.building_map_head = FixedMap(*boxes, logit=logit)
    return model


def outputs_of(model: HybridRCNN, *pairs: dict) -> list[dict]:
    with torch.no_grad():
        return model.eval()(list(pairs))


@pytest.mark.parametrize("damage", [[], [-1], [0, 1, -1]], ids=["none", "un-classified", "three"])
def test_losses_are_finite_and_reach_every_trained_parameter(damage: list[int]) -> None:
    model = hybrid()
    with EventStorage():
        losses = model([training_input(damage)])
    assert set(losses) == LOSSES
    assert all(loss.isfinite() for loss in losses.values()), losses
    sum(losses.values()).backward()
    trained = {name: value.grad for name, value in model.named_parameters() if value.requires_grad}
    assert trained
    assert [name for name, gradient in trained.items() if gradient is None] == []
    assert all(gradient.isfinite().all() for gradient in trained.values())
    assert all(value.any() for name, value in trained.items() if name.startswith("building_map_head."))
    assert (losses["loss_damage"] > 0) == any(grade >= 0 for grade in damage)
    assert (losses["loss_seam_bce"] > 0) == bool(damage)


def test_pairs_of_different_sizes_train_together() -> None:
    model = hybrid()
    seen: list[tuple[Tensor, Tensor]] = []
    whole = model.building_map_head.losses
    model.building_map_head.losses = lambda logits, *targets: (seen.append(targets), whole(logits, *targets))[
        1
    ]
    with EventStorage():
        losses = model([training_input([0, 3]), training_input([1], side=41)])
    assert all(loss.isfinite() for loss in losses.values())
    for target in seen[0]:
        assert target.shape == (2, 64, 64)
        assert (target[1, 41:] == 255).all()
        assert (target[1, :, 41:] == 255).all()
        assert (target[1, :41, :41] != 255).all()


@pytest.mark.parametrize("shape", [(50, 71), (33, 96)])
def test_black_tile_of_any_size_passes(shape: tuple[int, int]) -> None:
    model = hybrid()
    pairs = [{"image": torch.zeros(6, *size, dtype=torch.uint8)} for size in (shape, (64, 64))]
    for output, size in zip(outputs_of(model, *pairs), (shape, (64, 64)), strict=True):
        building = output["building_map"]
        assert (building.shape, building.dtype) == (size, torch.float32)
        assert 0 <= building.min() <= building.max() <= 1
        found = output["instances"]
        assert found.image_size == size
        assert found.pred_masks.shape == (len(found), 1, 28, 28)
        torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(len(found)))


def test_buildings_are_classified_beside_their_own_kind() -> None:
    model = with_map([BOX, OTHER], MODEL__DAMAGE_HEAD__OBJECT_CONTEXT=True)
    nn.init.normal_(model.roi_heads.damage_head.object_context.output.weight)
    pair = training_input([])
    (output,) = outputs_of(model, pair)
    found = output["instances"]
    assert found.pred_is_component.tolist() == [False] * (len(found) - 2) + [True] * 2
    assert found.pred_features.shape == (len(found), 16)
    with torch.no_grad():
        features = model.backbone(model.preprocess_image([pair]).tensor)
        own = found[found.pred_is_component]
        (together,) = model.roi_heads.classify(features, [Instances(own.image_size, **own.get_fields())])
        (alone,) = model.roi_heads.classify(features, [own[-1:]])
    torch.testing.assert_close(own.pred_damage_probs, together.pred_damage_probs)
    assert not torch.allclose(alone.pred_damage_probs, together.pred_damage_probs[-1:])


@pytest.mark.parametrize("alignment", ["correlation", "none"])
def test_building_that_the_heads_miss_becomes_an_instance_with_damage(alignment: str) -> None:
    model = with_map([BOX], [], [OTHER, BOX], MODEL__DAMAGE_HEAD__ALIGNMENT=alignment, **NO_DETECTIONS)
    outputs = outputs_of(model, *(training_input([], seed=seed) for seed in range(3)))
    assert [len(output["instances"]) for output in outputs] == [1, 0, 2]
    for output, expected in zip(outputs, ([BOX], [], [BOX, OTHER]), strict=True):
        found = output["instances"]
        assert sorted(found.pred_boxes.tensor.tolist()) == [list(map(float, box)) for box in expected]
        torch.testing.assert_close(found.scores, torch.full((len(expected),), 3.0).sigmoid())
        torch.testing.assert_close(found.pred_masks, torch.full_like(found.pred_masks, 3.0).sigmoid())
        assert not found.pred_classes.any()
        torch.testing.assert_close(found.pred_damage_probs.sum(dim=1), torch.ones(len(expected)))
        assert torch.equal(found.pred_damage, found.pred_damage_probs.argmax(dim=1))


def test_components_are_classified_on_their_own_tile() -> None:
    pairs = [training_input([], seed=seed) for seed in range(2)]
    pairs[1]["image"][3:] //= 8
    together = outputs_of(with_map([BOX], [BOX], **NO_DETECTIONS), *pairs)
    alone = [outputs_of(with_map([BOX], **NO_DETECTIONS), pair)[0] for pair in pairs]
    first, second = (each["instances"].pred_damage_probs for each in alone)
    assert (first - second).abs().max() > 1e-4
    for output, expected in zip(together, (first, second), strict=True):
        torch.testing.assert_close(output["instances"].pred_damage_probs, expected, atol=1e-6, rtol=1e-5)


def test_components_join_what_the_heads_found() -> None:
    """Random heads are unsure of everything, so they cover nothing of the map."""
    model = with_map([BOX])
    model.roi_heads.box_predictor.cls_score.bias.data[:] = torch.tensor([-2.0, 0.0])
    (output,) = outputs_of(model, training_input([]))
    found = output["instances"]
    assert len(found) > 1
    assert found[:-1].scores.max() < 0.3
    assert found[-1:].pred_boxes.tensor.tolist() == [list(map(float, BOX))]
    assert found[-1:].scores.item() == pytest.approx(torch.tensor(3.0).sigmoid().item())


def test_components_are_proposals_beside_those_of_the_rpn() -> None:
    model = with_map([BOX, OTHER])
    (output,) = outputs_of(model, training_input([]))
    offered = output["proposals"].proposal_boxes.tensor
    assert sorted(offered[:2].tolist()) == sorted([list(map(float, BOX)), list(map(float, OTHER))])
    assert output["proposals"].objectness_logits[:2].tolist() == pytest.approx([3.0, 3.0], abs=1e-3)
    assert (output["proposals"].objectness_logits.diff() <= 0).all()
    (without,) = outputs_of(with_map([]), training_input([]))
    of_rpn = {tuple(box) for box in without["proposals"].proposal_boxes.tensor.tolist()}
    assert {tuple(box) for box in offered[2:].tolist()} <= of_rpn


@pytest.mark.parametrize("limit", [4, 12])
def test_proposals_are_never_more_than_the_config_allows(limit: int) -> None:
    many = [(20 * x + 2, 20 * y + 2, 20 * x + 14, 20 * y + 14) for x in range(3) for y in range(3)]
    model = with_map(many, MODEL__RPN__POST_NMS_TOPK_TEST=limit, **NO_DETECTIONS)
    (output,) = outputs_of(model, training_input([]))
    assert len(output["proposals"]) == limit
    of_map = {tuple(map(float, box)) for box in many}
    offered = [tuple(box) for box in output["proposals"].proposal_boxes.tensor.tolist()]
    assert len(of_map.intersection(offered)) == min(limit, len(many))
    assert len(output["instances"]) == len(many)


def test_weights_of_the_plain_model_fit_the_common_parts() -> None:
    torch.manual_seed(5)
    plain = build_pair_model(tiny_config(MODEL__META_ARCHITECTURE="PairRCNN"))
    model = hybrid()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert missing
    assert all(name.startswith("building_map_head.") for name in missing)
    plain.eval()
    with torch.no_grad():
        (expected,) = plain([training_input([])])
    model.building_map_head.finer[-1].bias.data[:] = -20  # no component
    (output,) = outputs_of(model, training_input([]))
    for field in ("scores", "pred_masks", "pred_damage_probs"):
        torch.testing.assert_close(output["instances"].get(field), expected["instances"].get(field))


def test_published_plain_config_differs_in_the_damage_head_alone() -> None:
    plain = build_pair_model(load_config(CONFIGS / "xbd_mrcnn_plain.yaml", tiny_overrides()))
    own, theirs = hybrid().state_dict(), plain.state_dict()
    unfit = {name for name in own if name not in theirs or own[name].shape != theirs[name].shape}
    assert unfit
    assert all(name.startswith(("building_map_head.", "roi_heads.damage_head.")) for name in unfit)
