"""From the model's arrays to pixels and COCO results."""

import numpy as np
import pytest
from pycocotools import mask as run_lengths

from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.postprocessing.tile_prediction import TilePrediction


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
