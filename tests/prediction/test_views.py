"""A pair seen turned, flipped and scaled: what is found comes back to where it is in the tile.

The predictions here look at the image: bright blocks are buildings, the post image's value is their damage.
"""

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from skyeye_det.errors import InputError
from skyeye_det.prediction.merging import merge_predictions
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction, Prediction
from skyeye_det.prediction.views import View, parse_views, predict_views

SIDE = 4
EIGHT = parse_views("d4")
TILES = pytest.mark.parametrize("shape", [(48, 64), (72, 40), (48, 48)], ids=["wide", "high", "square"])
VIEWS = pytest.mark.parametrize("view", EIGHT, ids=str)


def made_up_pair(shape: tuple[int, int], is_black: bool = False) -> np.ndarray:
    """Two buildings of unlike corners, sizes and damage, in two corners of the tile."""
    image = np.zeros((6, *shape), np.uint8)
    if not is_black:
        for (x, y, width, height), bright, damage in (((4, 8, 16, 8), 200, 3), ((24, 28, 12, 16), 240, 1)):
            image[:3, y : y + height, x : x + width] = bright
            image[:3, y : y + height // 2, x : x + width // 4] = 160
            image[3:, y : y + height, x : x + width] = 60 * (damage + 1)
    return image


def damage_planes(post: np.ndarray) -> np.ndarray:
    """Uint8 (4, H, W), 255 in the plane of a pixel's damage."""
    grades = np.clip(np.rint(post / 60) - 1, 0, 3)
    return ((np.arange(4)[:, None, None] == grades) & (post > 30)).astype(np.uint8) * 255


def find_blocks(pair: np.ndarray) -> InstancePrediction:
    """Instances of bright blocks; boxes to whole pixels, masks by area, score and damage by value."""
    pre, post = pair[0], pair[5]
    _, _, stats, _ = cv2.connectedComponentsWithStats((pre >= 80).astype(np.uint8))
    boxes = [(x, y, x + width, y + height) for x, y, width, height, _ in stats[1:].tolist()]
    crops = [pre[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes]
    masks = [
        cv2.resize(crop.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA) for crop in crops
    ]
    damage_probs = np.array(
        [damage_planes(post)[:, y0:y1, x0:x1].mean(axis=(1, 2)) / 255 for x0, y0, x1, y1 in boxes], np.float32
    ).reshape(-1, 4)
    return InstancePrediction(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        masks=np.rint(np.array(masks).reshape(-1, SIDE, SIDE)).astype(np.uint8),
        scores=np.array([crop.max() / 255 for crop in crops], np.float32),
        damage_probs=damage_probs,
        is_component=np.zeros(len(boxes), bool),
        features=np.zeros((len(boxes), 0), np.float16),
        shape=pre.shape,
        building_map=pre.copy(),
    )


def find_pixels(pair: np.ndarray) -> PixelPrediction:
    pre, post = pair[0], pair[5]
    return PixelPrediction(building_map=pre.copy(), damage_map=damage_planes(post), shape=pre.shape)


def seen(view: View, pair: np.ndarray, predict: Any) -> Any:
    return view.restore(predict(view.apply(pair)), pair.shape[1:])


def best_first(found: InstancePrediction) -> dict[str, np.ndarray]:
    order = np.argsort(-found.scores)
    values = {name: getattr(found, name)[order] for name in ("boxes", "scores", "damage_probs")}
    return values | {"masks": found.masks[order] / 255, "damage": values["damage_probs"].argmax(axis=1)}


@TILES
@VIEWS
def test_instances_and_maps_of_a_turned_view_are_restored_exactly(shape, view: View) -> None:
    pair = made_up_pair(shape)
    expected, restored = find_blocks(pair), seen(view, pair, find_blocks)
    assert len(expected.scores) == 2
    assert len({mask.tobytes() for mask in expected.masks}) == 2
    for name, values in best_first(restored).items():
        np.testing.assert_allclose(values, best_first(expected)[name], atol=3e-3, err_msg=name)
    np.testing.assert_array_equal(restored.building_map, expected.building_map)
    pixels, restored_pixels = find_pixels(pair), seen(view, pair, find_pixels)
    np.testing.assert_array_equal(restored_pixels.building_map, pixels.building_map)
    np.testing.assert_array_equal(restored_pixels.damage_map, pixels.damage_map)
    assert restored.shape == restored_pixels.shape == shape


def test_boxes_between_pixels_are_restored_too() -> None:
    view, shape = View(turns=1, mirrored=True), (48, 64)
    prediction = find_blocks(made_up_pair((64, 48)))  # taken as made in the view
    prediction.boxes[0] = [4.25, 8.5, 20.125, 16.75]
    # The turned view's x is the tile's y; its y runs against the mirrored x, and so along the tile's.
    np.testing.assert_array_equal(view.restore(prediction, shape).boxes[0], [8.5, 4.25, 16.75, 20.125])


@pytest.mark.parametrize("scale", [1.3, 0.8])
@TILES
@VIEWS
def test_what_a_scaled_view_finds_is_restored_within_a_pixel(shape, view: View, scale: float) -> None:
    pair = made_up_pair(shape)
    scaled = View(view.turns, view.mirrored, scale)
    expected, restored = best_first(find_blocks(pair)), seen(scaled, pair, find_blocks)
    values = best_first(restored)
    np.testing.assert_allclose(values["boxes"], expected["boxes"], atol=1)
    np.testing.assert_allclose(values["masks"], expected["masks"], atol=0.25)
    np.testing.assert_array_equal(values["damage"], expected["damage"])
    truth = find_pixels(pair)
    pixels = seen(scaled, pair, find_pixels)
    for here, there in ((restored, truth), (pixels, truth)):
        assert here.building_map.shape == here.shape == shape
        assert np.abs(here.building_map.astype(float) - there.building_map).mean() < 6
    assert pixels.damage_map.shape == (4, *shape)
    assert pixels.damage_map.dtype == np.uint8
    assert np.abs(pixels.damage_map.astype(float) - truth.damage_map).mean() < 6


def of_one(
    predict: Callable[[np.ndarray], Prediction], pair: np.ndarray, views: Sequence[View]
) -> Prediction:
    """What is seen of the first pair of a batch of two."""
    return predict_views(lambda images: [predict(each) for each in images], [pair, pair[::-1]], views)[0]


def test_the_eight_views_are_eight_and_begin_with_the_tile_itself() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    views = [view.apply(image) for view in EIGHT]
    assert np.array_equal(views[0], image)
    assert len({(view.shape, view.tobytes()) for view in views}) == 8
    assert View(turns=1).apply(image)[0].tolist() == [[2, 5], [1, 4], [0, 3]]
    assert View(mirrored=True).apply(image)[0].tolist() == [[2, 1, 0], [5, 4, 3]]


def test_a_scaled_view_has_the_nearest_whole_size_and_keeps_values() -> None:
    image = np.full((6, 50, 31), 255, np.uint8)
    scaled = View(turns=3, scale=1.25).apply(image)
    assert scaled.shape == (6, 39, 62)
    assert scaled.dtype == np.uint8
    assert (scaled == 255).all()
    assert View(scale=0.25).apply(image[:, :1, :1]).shape == (6, 1, 1)


@pytest.mark.parametrize(
    ("text", "count", "scales"),
    [
        ("none", 1, {1.0}),
        ("flips", 4, {1.0}),
        ("d4", 8, {1.0}),
        ("d4@1.0,1.25", 16, {1.0, 1.25}),
        ("none@0.8,1,1.25", 3, {0.8, 1.0, 1.25}),
    ],
)
def test_views_are_read_from_a_word_and_scales(text: str, count: int, scales: set[float]) -> None:
    views = parse_views(text)
    assert len(set(views)) == len(views) == count
    assert {view.scale for view in views} == scales
    flipped = {(view.turns, view.mirrored) for view in views}
    assert (0, False) in flipped
    assert text != "flips" or flipped == {(0, False), (0, True), (2, True), (2, False)}


@pytest.mark.parametrize(
    "text",
    ["", "D4", "d5", "d4@", "d4@,1", "d4@1,1.0", "d4@0", "d4@9", "d4@nan", "d4@-1", "d4@1e0", "d4@1@1", "@1"],
)
def test_views_that_mean_nothing_are_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"--tta: expected none, flips, d4.*found"):
        parse_views(text)


@pytest.mark.parametrize("predict", [find_blocks, find_pixels])
def test_views_that_see_the_same_merge_into_what_one_sees(predict: Any) -> None:
    pair = made_up_pair((48, 64))
    before = pair.copy()
    alone, merged = predict(pair), of_one(predict, pair, EIGHT)
    assert type(merged) is type(alone)
    np.testing.assert_array_equal(merged.building_map, alone.building_map)
    if isinstance(alone, InstancePrediction):
        for name, values in best_first(merged).items():
            slack = 4e-3 if name in ("damage_probs", "masks") else 1e-5  # the pool's floor
            np.testing.assert_allclose(values, best_first(alone)[name], atol=slack, err_msg=name)
    else:
        np.testing.assert_array_equal(merged.damage_map, alone.damage_map)
    assert np.array_equal(pair, before)


def test_scaled_views_meet_in_the_same_buildings() -> None:
    pair = made_up_pair((72, 40))
    merged = of_one(find_blocks, pair, parse_views("d4@1.0,1.25"))
    assert len(merged.scores) == 2
    np.testing.assert_allclose(best_first(merged)["boxes"], best_first(find_blocks(pair))["boxes"], atol=1)


def test_a_view_that_imagines_something_is_outvoted() -> None:
    pair, calls = made_up_pair((48, 64)), []

    def imagines_once(there: np.ndarray) -> InstancePrediction:
        calls.append(there)
        if len(calls) == 3:
            there = there.copy()
            there[0, 2:6, 2:6] = 255
        return find_blocks(there)

    merged = of_one(imagines_once, pair, EIGHT)
    assert len(calls) == 16
    np.testing.assert_allclose(merged.scores, [240 / 255, 200 / 255, 1 / 8], rtol=1e-5)


def test_a_black_tile_and_a_tile_without_finds_stay_empty() -> None:
    pair = made_up_pair((48, 64), is_black=True)
    merged = of_one(find_blocks, pair, parse_views("d4@1.0,1.25"))
    assert merged.boxes.shape == (0, 4)
    assert merged.masks.shape == (0, SIDE, SIDE)
    assert not merged.building_map.any()
    assert not of_one(find_pixels, pair, EIGHT).damage_map.any()


def test_instances_and_pixels_of_several_views_make_one_ensemble() -> None:
    pair = made_up_pair((48, 64))
    models = [of_one(predict, pair, EIGHT) for predict in (find_blocks, find_pixels)]
    merged = merge_predictions(models)
    assert isinstance(merged, InstancePrediction)
    np.testing.assert_array_equal(merged.building_map, pair[0])
    assert best_first(merged)["damage"].tolist() == [1, 3]
    np.testing.assert_allclose(best_first(merged)["scores"], [240 / 255, 200 / 255], rtol=1e-5)
