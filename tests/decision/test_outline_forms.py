"""The forms in which found buildings are drawn."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from skyeye_det.data.targets import Parts, fill_polygons
from skyeye_det.decision.outline_forms import (
    ERODED,
    EXACT,
    FILL_RULES,
    MAJORITY,
    OFFICIAL,
    OUTLINES,
    OWN,
    PIXEL_CENTRE,
    PROPORTIONAL,
    RIGHT_ANGLED,
    SIMPLIFIED,
    FoundBuildings,
    count_vertices,
    fill_outlines,
    outline_crops,
    paint_forms,
    proportional_values,
)
from skyeye_det.prediction.instance_prediction import TilePrediction
from skyeye_det.prediction.rasterize import instance_crops, rasterize_instances

SHAPE = (40, 60)
SQUARE: Parts = ((np.array([[10.0, 5], [19, 5], [19, 14], [10, 14]]),),)


def prediction(number: int, seed: int = 0) -> TilePrediction:
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 35, (number, 2))
    return TilePrediction(
        boxes=np.concatenate([corners, corners + rng.uniform(4, 20, (number, 2))], axis=1).astype(np.float32),
        masks=rng.random((number, 28, 28)).astype(np.float32),
        scores=rng.uniform(0.5, 1, number).astype(np.float32),
        damage_probs=rng.dirichlet(np.ones(4), number).astype(np.float32),
        damage=rng.integers(0, 4, number),
        shape=SHAPE,
    )


def drawn_buildings(found: TilePrediction, pixel_threshold: float) -> FoundBuildings:
    likely = found.masks * found.scores[:, None, None]
    crops = [((0, 0), np.zeros((0, 0), bool))] * len(found.boxes)
    for index, corner, crop in instance_crops(found.boxes, likely, found.shape, pixel_threshold):
        crops[index] = corner, crop
    return FoundBuildings(crops, found.scores, found.damage, found.damage_probs, found.shape)


def buildings(*damage: int, probs: np.ndarray | None = None, side: int = 10) -> FoundBuildings:
    """Squares that overlap by half, each of a higher score than the one before."""
    crops = [((side // 2 * number, 3), np.ones((side, side), bool)) for number in range(len(damage))]
    return FoundBuildings(
        crops=crops,
        scores=np.linspace(0.5, 0.9, len(damage)),
        damage=np.array(damage, int),
        damage_probs=np.full((len(damage), 4), 0.25) if probs is None else probs,
        shape=SHAPE,
    )


def image(parts: Parts, rule: str) -> np.ndarray:
    ((x, y), mask), *_ = fill_outlines([parts], rule, SHAPE)
    whole = np.zeros(SHAPE, bool)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    return whole


@pytest.mark.parametrize("number", [0, 1, 30])
def test_raw_masks_are_painted_as_rasterizing_paints_them(number: int):
    found = prediction(number)
    drawn = drawn_buildings(found, pixel_threshold=0.35)
    likely = found.masks * found.scores[:, None, None]
    expected = rasterize_instances(found.boxes, likely, found.scores, found.damage, SHAPE, 0.35)
    for image, other in zip(paint_forms(drawn, drawn.crops, OWN), expected, strict=True):
        assert (image == other).all()


@pytest.mark.parametrize("number", [0, 1, 30])
def test_exact_outlines_by_the_official_rule_are_the_masks(number: int):
    drawn = drawn_buildings(prediction(number, seed=1), 0.35)
    outlines = outline_crops(drawn.crops, EXACT, tolerance=5.0)
    crops = fill_outlines(outlines, OFFICIAL, SHAPE)
    for image, other in zip(
        paint_forms(drawn, crops, OWN), paint_forms(drawn, drawn.crops, OWN), strict=True
    ):
        assert (image == other).all()


def test_simplified_outlines_have_fewer_vertices_than_exact_ones():
    drawn = drawn_buildings(prediction(20, seed=2), 0.2)
    exact, simple, squared = (count_vertices(outline_crops(drawn.crops, o, 1.0)) for o in OUTLINES)
    assert 0 < simple < exact
    assert 0 < squared < exact


def test_the_official_rule_is_that_of_the_targets():
    assert (image(SQUARE, OFFICIAL) == fill_polygons(SQUARE, SHAPE)).all()
    assert image(SQUARE, OFFICIAL)[5:15, 10:20].all()
    assert image(SQUARE, OFFICIAL).sum() == 100


def test_the_pixel_centre_rule_is_cocos_and_a_pixel_smaller():
    assert image(SQUARE, PIXEL_CENTRE).sum() == 81
    ring = np.array([[3.25, 4.125], [30.75, 9.75], [21.0, 33.25], [8.5, 25.0]])
    run_lengths = coco_mask.frPyObjects([ring.ravel().tolist()], *SHAPE)
    assert (image(((ring,),), PIXEL_CENTRE) == coco_mask.decode(run_lengths)[:, :, 0]).all()


def test_eroding_takes_half_a_pixel_from_every_side():
    moved = ((SQUARE[0][0] + 0.25,),)
    # 10.25..19.25 becomes 10.75..18.75, which is rounded to 11..19.
    eroded = image(moved, ERODED)
    assert eroded[6:15, 11:20].all()
    assert eroded.sum() == 81


def test_a_hole_stays_open_by_every_rule():
    outer = np.array([[2.0, 2], [30, 2], [30, 30], [2, 30]])
    inner = np.array([[10.0, 10], [20, 10], [20, 20], [10, 20]])
    for rule in FILL_RULES:
        filled = image(((outer, inner),), rule)
        assert not filled[15, 15], rule
        assert filled[5, 5], rule


@pytest.mark.parametrize("rule", FILL_RULES)
def test_outlines_beyond_the_image_are_cut_and_those_outside_fill_nothing(rule: str):
    assert image(((SQUARE[0][0] + [45, 28],),), rule)[35:, 56:].all()
    assert not image(((SQUARE[0][0] - [200, 100],),), rule).any()
    assert not image(((SQUARE[0][0] + [200, 100],),), rule).any()


@pytest.mark.parametrize("outline", OUTLINES)
def test_a_building_of_one_pixel_is_drawn_by_the_official_rule_alone(outline: str):
    one = FoundBuildings([((59, 39), np.ones((1, 1), bool))], np.ones(1), np.array([3]), np.eye(4)[3:], SHAPE)
    painted = {}
    for rule in FILL_RULES:
        crops = fill_outlines(outline_crops(one.crops, outline, 1.0), rule, SHAPE)
        localization, damage = paint_forms(one, crops, PROPORTIONAL)
        painted[rule] = int(localization.sum())
        assert damage[39, 59] == 4 * painted[rule]
    assert painted == {OFFICIAL: 1, PIXEL_CENTRE: 0, ERODED: 0}


@pytest.mark.parametrize("damage_by", [OWN, MAJORITY, PROPORTIONAL])
@pytest.mark.parametrize("outline", OUTLINES)
def test_no_buildings_and_empty_masks_give_zero_images(damage_by: str, outline: str):
    empty = np.zeros((0, 0), bool), np.zeros((3, 4), bool)
    for crops in ([], [((0, 0), mask) for mask in empty]):
        number = len(crops)
        none = FoundBuildings(crops, np.ones(number), np.ones(number, int), np.ones((number, 4)), SHAPE)
        for drawn in (crops, fill_outlines(outline_crops(crops, outline, 1.0), OFFICIAL, SHAPE)):
            images = paint_forms(none, drawn, damage_by, np.full(SHAPE, 2, np.uint8))
            assert not any(image.any() for image in images)
            assert [image.dtype for image in images] == [np.uint8, np.uint8]


def test_the_higher_score_lies_on_top_and_of_equal_ones_the_first():
    both = buildings(0, 3)
    assert paint_forms(both, both.crops, OWN)[1][5, 2:13:5].tolist() == [1, 4, 4]
    equal = FoundBuildings(both.crops, np.ones(2), both.damage, both.damage_probs, SHAPE)
    assert paint_forms(equal, equal.crops, OWN)[1][5, 2:13:5].tolist() == [1, 1, 4]


def test_majority_takes_the_most_frequent_damage_of_an_earlier_image():
    one = buildings(0)
    earlier = np.zeros(SHAPE, np.uint8)
    earlier[3:6, :10], earlier[6:8, :10] = 4, 2  # 30 and 20 of the 100 pixels; the rest has none
    assert set(paint_forms(one, one.crops, MAJORITY, earlier)[1][3:13, :10].flat) == {4}
    earlier[8, :10] = 2
    assert paint_forms(one, one.crops, MAJORITY, earlier)[1][5, 5] == 2  # as frequent, and the lesser
    other = buildings(2)
    assert paint_forms(other, other.crops, MAJORITY, np.zeros(SHAPE, np.uint8))[1][5, 5] == 3


def test_majority_without_an_earlier_image_counts_what_lies_on_top():
    covered = buildings(0, 3)
    wide = [((0, 3), np.ones((10, 12), bool)), ((3, 3), np.ones((10, 9), bool))]
    assert paint_forms(covered, wide, OWN)[1][5, 0] == 1
    assert paint_forms(covered, wide, MAJORITY)[1][5, 0] == 4


@pytest.mark.parametrize("number", [1, 2, 7, 100, 5000])
def test_proportional_values_follow_the_probabilities(number: int):
    for probs in np.random.default_rng(5).dirichlet(np.ones(4), 20):
        values = proportional_values(probs, number)
        counts = np.bincount(values, minlength=5)
        assert counts[0] == 0
        assert counts.sum() == number
        assert np.abs(counts[1:] - probs * number).max() <= 1


def test_proportional_values_are_spread_and_not_drawn():
    values = proportional_values(np.array([0.5, 0.25, 0.25, 0.0]), 400)
    assert (values == proportional_values(np.array([2.0, 1, 1, 0]), 400)).all()
    for part in values.reshape(10, 40):
        assert np.abs(np.bincount(part, minlength=5)[1:] - [20, 10, 10, 0]).max() <= 2


def test_a_certain_class_fills_the_building_alone():
    one = buildings(1, probs=np.array([[0.0, 0, 1, 0]]))
    localization, damage = paint_forms(one, one.crops, PROPORTIONAL)
    assert set(damage[localization > 0].tolist()) == {3}


def test_right_angles_change_nothing_about_who_is_drawn():
    drawn = drawn_buildings(prediction(10, seed=3), 0.1)
    for outline in (SIMPLIFIED, RIGHT_ANGLED):
        crops = fill_outlines(outline_crops(drawn.crops, outline, 1.0), OFFICIAL, SHAPE)
        assert all(mask.any() == full[1].any() for (_, mask), full in zip(crops, drawn.crops, strict=True))
