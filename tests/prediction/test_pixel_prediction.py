import numpy as np
import pytest
from pycocotools import mask as run_lengths

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.pixel_prediction import PixelPrediction

SHAPE = (20, 32)
RULE = DecisionRule(pixel_threshold=0.5)
Rectangle = tuple[int, int, int, int]


def prediction(*buildings: tuple[Rectangle, float, tuple[float, ...]]) -> PixelPrediction:
    """Buildings, each a rectangle (x0, y0, x1, y1), its probability, and four of damage."""
    probs = np.zeros((5, *SHAPE), np.float32)
    probs[1:] = 0.25
    for (x0, y0, x1, y1), probability, damage in buildings:
        probs[:, y0:y1, x0:x1] = np.array([probability, *damage], np.float32)[:, None, None]
    return PixelPrediction.from_pixel_probs(probs)


MINOR, MAJOR = (0.1, 0.6, 0.2, 0.1), (0.1, 0.2, 0.6, 0.1)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (np.zeros((4, 3, 3), np.float32), r"\(5, H, W\)"),
        (np.zeros((5, 3), np.float32), r"\(5, H, W\)"),
        (np.full((5, 3, 3), np.nan, np.float32), "finite"),
    ],
)
def test_other_arrays_are_refused(probs: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelPrediction.from_pixel_probs(probs)


def test_pixels_from_the_threshold_on_are_painted_with_their_own_class() -> None:
    found = prediction(((2, 2, 6, 6), 0.9, MINOR), ((6, 2, 8, 6), 0.6, MAJOR), ((20, 2, 25, 6), 0.4, MINOR))
    localization, damage = found.rasterize(RULE)
    assert damage[3, :10].tolist() == [0, 0, 2, 2, 2, 2, 3, 3, 0, 0]
    np.testing.assert_array_equal(localization, damage > 0)
    assert localization.sum() == 24
    assert localization.dtype == damage.dtype == np.uint8
    assert found.rasterize(DecisionRule(pixel_threshold=0.3))[0].sum() == 44


def test_weights_and_temperature_decide_the_class() -> None:
    found = prediction(((2, 2, 6, 6), 0.9, (0.6, 0.3, 0.05, 0.05)))
    weighted = DecisionRule(damage_weights=(1.0, 3.0, 1.0, 1.0))
    assert found.rasterize(weighted)[1][3, 3] == 2
    # At temperature 0.5 the odds of 2 become 4, which a weight of 3 does not reach.
    sharp = DecisionRule(damage_weights=(1.0, 3.0, 1.0, 1.0), temperature=0.5)
    assert found.rasterize(sharp)[1][3, 3] == 1
    (result,) = found.decided(sharp).coco_results("storm_00000001", 1, "a.png")
    assert result["damage_probs"][0] == pytest.approx(0.36 / 0.455, abs=0.01)


def test_smaller_components_are_left_out_of_both_outputs() -> None:
    found = prediction(((2, 2, 4, 4), 0.9, MINOR), ((10, 2, 13, 5), 0.9, MINOR))
    rule = DecisionRule(min_area=5)
    assert found.rasterize(rule)[0].sum() == 9
    assert found.rasterize(DecisionRule(pixel_threshold=0, min_area=5))[0].sum() == 9
    assert [one["bbox"] for one in found.decided(rule).coco_results("a", 1, "a")] == [[10, 2, 3, 3]]


@pytest.mark.parametrize(("presence", "area"), [(0.7, 25), (0.9, 0)])
def test_a_tile_where_no_building_is_sure_enough_is_empty(presence: float, area: int) -> None:
    found = prediction(((2, 2, 5, 5), 0.8, MINOR), ((10, 2, 14, 6), 0.6, MINOR))
    rule = DecisionRule(presence_threshold=presence)
    assert found.rasterize(rule)[0].sum() == area
    assert len(found.decided(rule).coco_results("a", 1, "a")) == (2 if area else 0)


@pytest.mark.parametrize("rule", [RULE, DecisionRule(pixel_threshold=0, min_area=3, presence_threshold=0.1)])
def test_a_tile_without_buildings_gives_zero_images_and_no_results(rule: DecisionRule) -> None:
    empty = prediction()
    assert not any(image.any() for image in empty.rasterize(rule))
    assert empty.decided(rule).coco_results("a", 1, "a") == []


def test_a_building_of_one_pixel_is_a_result() -> None:
    found = prediction(((7, 3, 8, 4), 0.9, MAJOR))
    assert found.rasterize(RULE)[1].sum() == 3
    (result,) = found.decided(RULE).coco_results("a", 1, "a")
    assert result["bbox"] == [7, 3, 1, 1]
    assert run_lengths.area(result["segmentation"]) == 1


def test_results_are_connected_components_best_first() -> None:
    found = prediction(
        ((2, 2, 6, 6), 0.6, MINOR),
        ((6, 6, 9, 9), 0.8, MAJOR),  # touches the first at a corner
        ((20, 3, 26, 9), 0.95, MINOR),
    ).decided(RULE)
    best, other = found.coco_results("storm_00000001", 7, "a.png")
    assert (best["uid"], other["uid"]) == ("storm_00000001-0001", "storm_00000001-0002")
    assert (best["bbox"], other["bbox"]) == ([20, 3, 6, 6], [2, 2, 7, 7])
    assert best["score"] == pytest.approx(0.95, abs=0.002)
    assert other["score"] == pytest.approx((16 * 0.6 + 9 * 0.8) / 25, abs=0.002)
    assert (best["damage"], other["damage"]) == (1, 1)
    assert other["damage_probs"] == pytest.approx([0.1, (16 * 0.6 + 9 * 0.2) / 25, 0.344, 0.1], abs=0.003)
    expected = np.zeros(SHAPE, bool)
    expected[2:6, 2:6] = expected[6:9, 6:9] = True
    np.testing.assert_array_equal(run_lengths.decode(other["segmentation"]), expected)
    assert (best["image_id"], best["file_name"], best["category_id"]) == (7, "a.png", 1)


def test_the_class_of_most_pixels_is_the_buildings_even_where_means_say_otherwise() -> None:
    found = prediction(((2, 2, 5, 4), 0.9, (0.51, 0.49, 0, 0)), ((5, 2, 7, 4), 0.9, (0, 1.0, 0, 0)))
    (result,) = found.decided(RULE).coco_results("a", 1, "a")
    assert result["damage"] == 0
    assert np.argmax(result["damage_probs"]) == 1


def test_deciding_again_by_the_same_rule_changes_nothing_and_by_another_is_refused() -> None:
    decided = prediction(((2, 2, 6, 6), 0.9, MINOR)).decided(RULE)
    assert decided.decided(RULE) is decided
    with pytest.raises(ValueError, match="expected the rule that this was decided by"):
        decided.rasterize(DecisionRule(pixel_threshold=0.1))


@pytest.mark.parametrize("temperature", [1, 1.3])
def test_pixels_and_results_show_the_same_buildings(temperature: float) -> None:
    rng = np.random.default_rng(0)
    probs = rng.random((5, 64, 90), np.float32) ** 2
    rule = DecisionRule(pixel_threshold=0.5, min_area=4, presence_threshold=0.2, temperature=temperature)
    decided = PixelPrediction.from_pixel_probs(probs).decided(rule)
    shown = np.zeros((64, 90), np.uint8)
    for result in decided.coco_results("a", 1, "a"):
        shown += run_lengths.decode(result["segmentation"])
        assert sum(result["damage_probs"]) == pytest.approx(1, abs=1e-4)
    assert shown.sum() > 300
    np.testing.assert_array_equal(decided.rasterize(rule)[0], shown)
