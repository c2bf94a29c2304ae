"""Tensors of the models, taken over as arrays."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.instance_prediction import TilePrediction
from skyeye_det.prediction.model_output import graded, prediction_from_output
from skyeye_det.prediction.pixel_prediction import PixelPrediction


def instances(count: int) -> Instances:
    """As ``PairRCNN`` gives them, in an image of 32 x 64 px."""
    found = Instances((32, 64))
    found.pred_boxes = Boxes(torch.tensor([[2.0, 2, 12, 12]]).repeat(count, 1))
    found.pred_masks, found.scores = torch.ones(count, 1, 28, 28), torch.full((count,), 0.9)
    found.pred_damage_probs = torch.tensor([[0.1, 0.2, 0.6, 0.1]]).repeat(count, 1)
    found.pred_damage = torch.full((count,), 2)
    return found


@pytest.mark.parametrize("count", [0, 1])
def test_a_map_of_the_model_is_kept_as_bytes(count: int):
    found = TilePrediction.from_instances(instances(count), torch.full((32, 64), 0.5, requires_grad=True))
    assert found.building_map is not None
    assert (found.building_map == 128).all()
    assert found.building_map.dtype == np.uint8
    assert found.rasterize(DecisionRule(0.5, 0.6, map_weight=0.5))[0].sum() == 100 * count
    assert TilePrediction.from_instances(instances(count)).building_map is None


@pytest.mark.parametrize(
    ("building_map", "message"), [(torch.zeros(31, 64), "map"), (torch.full((32, 64), torch.nan), "finite")]
)
def test_a_map_that_does_not_fit_is_refused(building_map: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        TilePrediction.from_instances(instances(1), building_map)


def test_a_tensor_of_probabilities_is_kept_as_bytes() -> None:
    probs = torch.tensor([0.0, 0.5, 1.0, 1.2, 0.25]).reshape(5, 1, 1).expand(5, 32, 64)
    found = PixelPrediction.from_pixel_probs(probs.requires_grad_())
    assert found.building_map.shape == (32, 64) == found.shape
    assert found.damage_map.shape == (4, 32, 64)
    assert found.building_map.dtype == found.damage_map.dtype == np.uint8
    assert found.damage_map[:, 3, 4].tolist() == [128, 255, 255, 64]


def pixel_probs(building: float) -> torch.Tensor:
    """One square of 10 px at this probability, of major damage with 0.6."""
    probs = torch.tensor([0, 0.1, 0.2, 0.6, 0.1]).reshape(5, 1, 1).repeat(1, 32, 64)
    probs[0, 2:12, 2:12] = building
    return probs


def test_an_output_with_pixels_is_that_of_a_semantic_model() -> None:
    found = prediction_from_output({"pixel_probs": pixel_probs(1.0)})
    assert isinstance(found, PixelPrediction)
    assert found.rule is None
    assert (found.building_map > 0).sum() == 100


@pytest.mark.parametrize("count", [0, 2])
def test_an_output_with_instances_takes_its_map_where_it_has_one(count: int) -> None:
    output = {"instances": instances(count), "proposals": Instances((32, 64))}
    plain = prediction_from_output(output)
    hybrid = prediction_from_output(output | {"building_map": torch.ones(32, 64)})
    assert isinstance(plain, TilePrediction)
    assert isinstance(hybrid, TilePrediction)
    assert plain.building_map is None
    assert hybrid.building_map is not None
    assert hybrid.building_map.min() == 255
    assert plain.boxes.shape == hybrid.boxes.shape == (count, 4)
    assert plain.masks.shape == (count, 28, 28)


def test_what_a_rule_leaves_out_by_area_or_presence_is_no_result() -> None:
    before = prediction_from_output({"instances": instances(2)})
    assert isinstance(before, TilePrediction)
    before.scores[:], before.boxes[1] = (0.5, 0.3), (20, 2, 24, 6)  # 100 px and 16 px
    for rule, listed, painted in (
        (DecisionRule(0.4, min_area=16), 2, 1),
        (DecisionRule(0.4, min_area=17), 1, 1),
        (DecisionRule(0.6, presence_threshold=0.4), 2, 0),
        (DecisionRule(0.4, presence_threshold=0.6), 0, 0),
        (DecisionRule(0.2, min_area=101), 0, 0),
    ):
        assert len(graded(before, rule).coco_results("tile", 1, "tile.png")) == listed
        assert len(before.decided(rule).scores) == painted


@pytest.mark.parametrize("count", [0, 2])
def test_grading_keeps_faint_instances_and_takes_the_rules_class(count: int) -> None:
    rule = DecisionRule(
        score_threshold=1.0,
        damage_weights=(1, 9, 1, 1),
        temperature=2.0,
    )
    before = prediction_from_output({"instances": instances(count)})
    found = graded(before, rule)
    assert isinstance(found, TilePrediction)
    assert found.scores.tolist() == before.scores.tolist()
    assert found.damage.tolist() == [1] * count
    np.testing.assert_allclose(found.damage_probs, rule.calibrated(before.damage_probs))
    np.testing.assert_allclose(found.damage_probs.sum(axis=1), 1, rtol=1e-5)
    assert before.damage.tolist() == [2] * count
    assert len(found.coco_results("scene", 1, "a.png")) == count


@pytest.mark.parametrize(("building", "count"), [(0.0, 0), (0.45, 0), (0.55, 1), (1.0, 1)])
def test_buildings_of_pixels_come_to_be_by_the_rule(building: float, count: int) -> None:
    rule = DecisionRule(pixel_threshold=0.5, damage_weights=(1, 9, 1, 1))
    found = graded(prediction_from_output({"pixel_probs": pixel_probs(building)}), rule)
    assert found.rule == rule
    results = found.coco_results("scene", 1, "a.png")
    assert [result["damage"] for result in results] == [1] * count
    assert [result["bbox"] for result in results] == [[2, 2, 10, 10]] * count
