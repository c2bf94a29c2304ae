"""Which instances become buildings, and what is in the two images."""

import numpy as np
import pytest
import shapely
import shapely.geometry
from made_up import map_of, square_prediction

from skyeye_det.decision.decide import decide, decide_footprints
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.masks import overlap
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction

HOUSE = (10, 10, 40, 40)


def test_no_two_buildings_share_more_than_half_of_the_smaller() -> None:
    rng = np.random.default_rng(5)
    corners = rng.integers(0, 70, (60, 2))
    boxes = np.concatenate([corners, corners + rng.integers(8, 40, (60, 2))], axis=1)
    found = decide(
        square_prediction([tuple(box) for box in boxes], rng.random(60), components=rng.random(60) < 0.4),
        DecisionRule(score_threshold=0.3),
    )
    areas = [np.count_nonzero(mask) for _, mask in found.masks]
    assert len(found) > 5
    for one in range(len(found)):
        for other in range(one):
            shared = overlap(found.masks[one], found.masks[other])
            assert shared <= 0.5 * min(areas[one], areas[other])


def test_a_component_keeps_what_instances_leave_of_it() -> None:
    both = square_prediction([HOUSE, (30, 10, 90, 40)], [0.9, 0.8], components=[False, True])
    found = decide(both, DecisionRule())
    assert [int(np.count_nonzero(mask)) for _, mask in found.masks] == [900, 1500]
    covered = square_prediction([(10, 10, 70, 40), (30, 10, 90, 40)], [0.9, 0.8], components=[False, True])
    assert list(decide(covered, DecisionRule()).sources) == ["instance"]


@pytest.mark.parametrize(
    ("rule", "count"),
    [
        (DecisionRule(score_threshold=0.5), 2),
        (DecisionRule(score_threshold=0.8), 1),
        (DecisionRule(score_threshold=0.5, min_area=500), 1),
        (DecisionRule(score_threshold=0.5, presence_threshold=0.95), 0),
    ],
)
def test_thresholds_of_a_rule(rule: DecisionRule, count: int) -> None:
    seen = square_prediction([HOUSE, (60, 60, 80, 80)], [0.9, 0.6])
    found = decide(seen, rule)
    assert len(found) == count
    localization, damage = found.rasterize()
    assert localization.any() == damage.any() == bool(count)


@pytest.mark.parametrize("kind", ["instances", "map", "pixels"])
def test_a_window_without_anything_is_decided(kind: str) -> None:
    shape = (40, 50)
    empty = np.zeros(shape, np.uint8)
    seen: InstancePrediction | PixelPrediction = square_prediction([], [], shape=shape)
    if kind == "map":
        seen = square_prediction([], [], shape=shape, building_map=empty)
    if kind == "pixels":
        seen = PixelPrediction(empty, np.zeros((4, *shape), np.uint8), shape)
    found = decide(seen, DecisionRule())
    assert len(found) == 0
    assert found.to_coco() == found.to_geojson()["features"] == []
    assert not np.any(found.rasterize())
    assert "0 buildings" in found._repr_html_()


@pytest.mark.parametrize("kind", ["mask", "simplified", "right-angled"])
@pytest.mark.parametrize("box", [(7, 9, 8, 10), (7, 9, 8, 20), (7, 9, 27, 24)])
def test_geojson_runs_along_the_outer_edges_of_the_pixels(kind: str, box: tuple[int, int, int, int]) -> None:
    found = decide(square_prediction([box], [0.9]), DecisionRule())
    (feature,) = found.to_geojson(kind, transform=(0.5, 0, 100, 0, -0.5, 50))["features"]
    shape = shapely.geometry.shape(feature["geometry"])
    x0, y0, x1, y1 = box
    assert shape.bounds == (100 + x0 / 2, 50 - y1 / 2, 100 + x1 / 2, 50 - y0 / 2)
    assert shape.area == (x1 - x0) * (y1 - y0) / 4
    assert shape.is_valid


def test_a_building_of_one_pixel_is_one() -> None:
    found = decide(square_prediction([(7, 9, 8, 10)], [0.9]), DecisionRule())
    assert found.boxes.tolist() == [[7, 9, 8, 10]]
    assert found.rasterize()[1][9, 7] == 1
    assert found.to_geojson()["features"][0]["geometry"]["coordinates"]


def test_the_map_paints_beyond_a_mask_but_only_beside_a_building() -> None:
    seen = square_prediction(
        [HOUSE], [0.9], damage=[3], building_map=map_of([(10, 10, 50, 40), (80, 60, 100, 80)], 1.0)
    )
    damage = decide(seen, DecisionRule(pixel_threshold=0.4)).rasterize()[1]
    assert (damage[10:40, 10:50] == 4).all()
    assert np.count_nonzero(damage) == 30 * 40


def test_pixels_have_their_own_grade_and_a_building_that_of_most() -> None:
    shape = (20, 30)
    building, grades = map_of([(5, 5, 15, 15)], 0.9, shape), np.zeros((4, *shape), np.uint8)
    grades[1, :, :8], grades[3, :, 8:] = 255, 255
    seen = PixelPrediction(building, grades, shape)
    found = decide(seen, DecisionRule())
    assert found.damage.tolist() == [3]
    assert np.unique(found.rasterize()[1]).tolist() == [0, 2, 4]
    assert found.damage_probs[0].tolist() == pytest.approx([0, 0.3, 0, 0.7], abs=1e-6)
    assert np.unique(decide(seen, DecisionRule(fill="majority")).rasterize()[1]).tolist() == [0, 4]


def test_footprints_stand_whatever_the_thresholds() -> None:
    crops = [((3, 4), np.ones((6, 5), bool)), ((20, 4), np.ones((1, 1), bool))]
    probs = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]], np.float32)
    found = decide_footprints(crops, probs, (30, 40), DecisionRule(score_threshold=1.0, min_area=1e6))
    assert found.damage.tolist() == [3, 0]
    assert np.count_nonzero(found.rasterize()[0]) == 31
