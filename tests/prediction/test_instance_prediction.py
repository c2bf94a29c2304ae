"""From the model's arrays to pixels and COCO results."""

from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.instance_prediction import TilePrediction


def prediction(scores: list[float], mask: float = 1.0) -> TilePrediction:
    """Buildings of 10 x 10 px side by side, the n-th at x = 20 n + 2, y = 2, with a flat mask."""
    count = len(scores)
    left, top = 20 * np.arange(count) + 2, np.full(count, 2)
    return TilePrediction(
        boxes=np.stack([left, top, left + 10, top + 10], axis=1).astype(np.float32),
        masks=np.full((count, 28, 28), mask, np.float32),
        scores=np.array(scores, np.float32),
        damage_probs=np.tile(np.array([0.1, 0.2, 0.6, 0.1], np.float32), (count, 1)),
        damage=np.full(count, 2),
        shape=(32, 64),
    )


def test_instances_from_the_score_threshold_on_are_painted():
    localization, damage = prediction([0.9, 0.5, 0.4]).rasterize(DecisionRule(0.5, 0.3))
    assert localization[6, [6, 26, 46]].tolist() == [1, 1, 0]
    assert damage[6, [6, 26, 46]].tolist() == [3, 3, 0]


@pytest.mark.parametrize(("pixel_threshold", "painted"), [(0.35, [1, 1]), (0.45, [1, 0]), (0.6, [0, 0])])
def test_a_pixel_is_painted_where_score_times_mask_is_high_enough(pixel_threshold: float, painted: list):
    # 0.8 * 0.7 = 0.56 and 0.6 * 0.7 = 0.42
    localization, _ = prediction([0.8, 0.6], mask=0.7).rasterize(DecisionRule(0.5, pixel_threshold))
    assert localization[6, [6, 26]].tolist() == painted


def test_nothing_found_gives_zero_images_and_no_results():
    empty = prediction([])
    assert not any(image.any() for image in empty.rasterize(DecisionRule(0.5, 0.3)))
    assert empty.coco_results("storm_00000001", 1, "a.png") == []


def test_results_come_best_first_with_uid_damage_and_mask():
    best, other = prediction([0.4, 0.9]).coco_results("storm_00000001", 7, "a.png")
    assert (best["uid"], other["uid"]) == ("storm_00000001-0001", "storm_00000001-0002")
    assert best["bbox"] == [22.0, 2.0, 10.0, 10.0]
    assert (best["score"], best["damage"], best["image_id"]) == (0.9, 2, 7)
    assert run_lengths.decode(best["segmentation"])[2:12, 22:32].all()
    assert run_lengths.area(best["segmentation"]) == 100


def test_results_and_pixels_of_a_decided_prediction_show_the_same_buildings():
    rule = DecisionRule(0.5, 0.3)
    decided = prediction([0.9, 0.4, 0.6]).decided(rule)
    assert decided.rasterize(rule)[0][6, [6, 26, 46]].tolist() == [1, 0, 1]
    assert [one["score"] for one in decided.coco_results("a", 1, "a")] == [0.9, 0.6]


@pytest.mark.parametrize(("min_area", "count"), [(100, 2), (101, 0)])
def test_instances_of_fewer_pixels_than_the_minimum_are_left_out(min_area: float, count: int):
    rule = DecisionRule(0.5, 0.3, min_area=min_area)
    found = prediction([0.9, 0.6])
    assert len(found.decided(rule).coco_results("a", 1, "a")) == count
    assert found.rasterize(rule)[0].sum() == 100 * count


def test_the_part_of_an_instance_outside_the_image_has_no_area():
    found = replace(prediction([0.9]), boxes=np.array([[60, 2, 70, 12]], np.float32))
    assert len(found.decided(DecisionRule(min_area=40)).scores) == 1
    assert len(found.decided(DecisionRule(min_area=41)).scores) == 0


@pytest.mark.parametrize(("presence", "count"), [(0.0, 2), (0.9, 2), (0.95, 0)])
@pytest.mark.parametrize("with_map", [False, True])
def test_a_tile_where_no_score_reaches_presence_is_empty(presence: float, count: int, with_map: bool):
    found = prediction([0.9, 0.7])
    if with_map:
        found = replace(found, building_map=np.full((32, 64), 255, np.uint8))
    rule = DecisionRule(0.5, 0.6, presence_threshold=presence)
    assert len(found.decided(rule).coco_results("a", 1, "a")) == count
    assert found.rasterize(rule)[0].any() == (count > 0)


def test_an_instance_left_out_for_its_area_does_not_vouch_for_the_tile():
    found = prediction([0.95, 0.7])
    found.boxes[0, 2] -= 8
    rule = DecisionRule(0.5, min_area=30, presence_threshold=0.9)
    assert len(found.decided(rule).scores) == 0


def test_damage_is_calibrated_once_however_often_it_is_decided():
    rule = DecisionRule(0.5, 0.3, damage_weights=(1, 1, 1, 4.5), temperature=0.5)
    found = prediction([0.9])
    decided = found.decided(rule)
    assert decided.damage_probs[0] == pytest.approx(np.array([0.01, 0.04, 0.36, 0.01]) / 0.42)
    assert decided.decided(rule) is decided
    # 0.36 against 4.5 * 0.01; uncalibrated probabilities would be 0.6 against 0.45
    assert decided.damage.tolist() == [2]
    assert decided.rasterize(rule)[1].max() == found.rasterize(rule)[1].max() == 3
    assert found.decided(DecisionRule(0.5, damage_weights=(1, 1, 1, 7))).damage.tolist() == [3]


def test_deciding_by_another_rule_afterwards_is_refused():
    decided = prediction([0.9]).decided(DecisionRule(0.5))
    with pytest.raises(ValueError, match="expected the rule that this was decided by"):
        decided.rasterize(DecisionRule(0.6))


def test_with_a_map_pixels_beyond_the_instance_are_painted_with_its_class():
    building_map = np.zeros((32, 64), np.uint8)
    building_map[2:14, 2:16] = 230
    found = replace(prediction([0.9, 0.4]), building_map=building_map)
    localization, damage = found.rasterize(DecisionRule(0.5, 0.3))
    np.testing.assert_array_equal(damage, np.where(building_map, 3, 0))
    np.testing.assert_array_equal(localization, building_map > 0)
