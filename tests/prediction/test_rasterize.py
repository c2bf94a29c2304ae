import time
import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from skyeye_det.prediction.rasterize import (
    encode_crop,
    encode_instances,
    instance_crops,
    rasterize_instances,
)

FULL = np.ones((1, 28, 28), np.float32)


def paint(
    boxes: list[list[float]], scores: list[float], damage: list[int], shape: tuple[int, int] = (20, 30)
):
    masks = np.repeat(FULL, len(boxes), axis=0)
    return rasterize_instances(
        np.array(boxes, np.float32).reshape(-1, 4), masks, np.array(scores), np.array(damage, int), shape
    )


def test_full_mask_on_whole_pixels_fills_its_box() -> None:
    localization, damage = paint([[3, 2, 9, 7]], [0.9], [2])
    expected = np.zeros((20, 30), np.uint8)
    expected[2:7, 3:9] = 1
    np.testing.assert_array_equal(localization, expected)
    np.testing.assert_array_equal(damage, expected * 3)
    assert localization.dtype == damage.dtype == np.uint8


def test_no_instances_give_zero_images() -> None:
    localization, damage = paint([], [], [])
    assert localization.shape == damage.shape == (20, 30)
    assert not localization.any()
    assert not damage.any()
    assert encode_instances(np.zeros((0, 4), np.float32), np.zeros((0, 28, 28), np.float32), (20, 30)) == []


def test_higher_score_wins_an_overlap_whatever_the_order() -> None:
    boxes = [[2, 2, 12, 12], [6, 6, 16, 16]]
    one = paint(boxes, [0.4, 0.8], [0, 3])[1]
    other = paint(boxes[::-1], [0.8, 0.4], [3, 0])[1]
    assert one[8, 8] == 4
    assert one[3, 3] == 1
    np.testing.assert_array_equal(one, other)


def test_of_equal_scores_the_first_listed_wins() -> None:
    assert paint([[2, 2, 12, 12]] * 2, [0.5, 0.5], [1, 3])[1][8, 8] == 2
    many = paint([[2, 2, 12, 12]] * 60, [0.5, 0.7] * 30, [0, 3] + [1, 2] * 29)[1]
    assert many[8, 8] == 4


def test_small_building_under_a_large_one_of_lower_score_stays_visible() -> None:
    damage = paint([[0, 0, 30, 20], [5, 5, 7, 7]], [0.2, 0.3], [0, 1])[1]
    assert (damage == 2).sum() == 4
    assert (damage == 1).sum() == 596


@pytest.mark.parametrize(
    "box",
    [[-10, -10, -2, -2], [40, 3, 50, 9], [5, 5, 5, 9], [9, 5, 5, 9], [-400, -400, -300, 900]],
    ids=["above left", "right of it", "no width", "turned round", "far left"],
)
def test_box_without_area_or_outside_paints_nothing(box: list[float]) -> None:
    localization, _ = paint([box], [0.9], [0])
    assert not localization.any()
    empty = encode_instances(np.array([box], np.float32), FULL, (20, 30))
    assert coco_mask.area(empty[0]) == 0


def test_box_across_the_border_is_clipped() -> None:
    localization, _ = paint([[-5, -5, 4, 3]], [0.9], [0])
    assert localization.sum() == 12
    assert localization[:3, :4].all()


def test_one_pixel_instance() -> None:
    assert paint([[4, 4, 5, 5]], [0.9], [0])[0].sum() == 1


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (512, 1300)])
def test_image_of_any_size(shape: tuple[int, int]) -> None:
    localization, _ = paint([[0, 0, shape[1], shape[0]]], [0.9], [0], shape)
    assert localization.shape == shape
    assert localization[:, shape[1] // 2].all()
    assert localization[shape[0] // 2].all()


def test_mask_threshold_is_reached_by_an_equal_probability() -> None:
    box, half = np.array([[2, 2, 16, 16]], np.float32), FULL / 2  # two cells a px: nothing is rounded
    score, damage = np.ones(1), np.zeros(1, int)
    assert rasterize_instances(box, half, score, damage, (20, 30))[0].sum() == 196
    assert rasterize_instances(box, half, score, damage, (20, 30), mask_threshold=0.6)[0].sum() == 0


@pytest.mark.parametrize(
    ("boxes", "masks", "scores", "damage", "message"),
    [
        (np.zeros((2, 4)), np.zeros((1, 28, 28)), np.zeros(2), np.zeros(2, int), "expected boxes"),
        (np.zeros((1, 4)), np.full((1, 28, 28), np.nan), np.zeros(1), np.zeros(1, int), "finite boxes"),
        (np.full((1, 4), np.inf), np.zeros((1, 28, 28)), np.zeros(1), np.zeros(1, int), "finite boxes"),
        (np.zeros((1, 4)), np.zeros((1, 28, 28)), np.full(1, np.nan), np.zeros(1, int), "finite scores"),
        (np.zeros((1, 4)), np.zeros((1, 28, 28)), np.zeros(1), np.array([4]), r"damage 0\.\.3"),
        (np.zeros((1, 4)), np.zeros((1, 28, 28)), np.zeros(1), np.array([-1]), r"damage 0\.\.3"),
        (np.zeros((1, 4)), np.zeros((1, 28, 28)), np.zeros(2), np.zeros(1, int), "expected scores"),
    ],
)
def test_arrays_without_meaning_are_refused(boxes, masks, scores, damage, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rasterize_instances(boxes, masks, scores, damage, (20, 30))


@pytest.mark.parametrize(
    ("corner", "size"),
    [
        ((3, 4), (5, 6)),
        ((0, 0), (20, 30)),
        ((0, 0), (1, 1)),
        ((29, 19), (1, 1)),
        ((7, 0), (20, 3)),
        ((2, 2), (0, 0)),
    ],
    ids=["inside", "whole image", "first pixel", "last pixel", "whole columns", "empty"],
)
def test_run_lengths_equal_those_of_the_whole_image(corner: tuple[int, int], size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for crop in (np.ones(size, bool), rng.random(size) < 0.7, np.zeros(size, bool)):
        whole = np.zeros((20, 30), np.uint8, order="F")
        whole[corner[1] : corner[1] + size[0], corner[0] : corner[0] + size[1]] = crop
        expected = coco_mask.encode(whole)
        assert encode_crop(corner, crop, (20, 30)) == {
            "size": [20, 30],
            "counts": expected["counts"].decode(),
        }


def test_encoded_instances_keep_the_order_given() -> None:
    boxes = np.array([[0, 0, 20, 20], [3, 3, 5, 5], [1, 1, 11, 11]], np.float32)
    encoded = encode_instances(boxes, np.repeat(FULL, 3, axis=0), (20, 30))
    assert [int(coco_mask.area(one)) for one in encoded] == [400, 4, 100]


def dense_tile(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    centre = rng.uniform(0, 1024, (count, 2))
    half = np.exp(rng.normal(np.log(17), 0.5, (count, 2)))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    masks = rng.random((count, 28, 28), np.float32)
    return boxes, masks, rng.random(count), rng.integers(0, 4, count)


def test_a_thousand_instances_cost_their_boxes_in_time_and_memory() -> None:
    tile = dense_tile(1000)
    tracemalloc.start()
    start = time.process_time()
    rasterize_instances(*tile, (1024, 1024))
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < 1.0  # 0.05 without tracing; a mask image for each instance takes 1.8
    assert peak < 16 * 1024**2


def test_memory_stays_the_images_when_every_box_is_the_image() -> None:
    boxes = np.tile(np.array([[0, 0, 1024, 1024]], np.float32), (12, 1))
    masks = np.repeat(FULL, 12, axis=0)
    tracemalloc.start()
    rasterize_instances(boxes, masks, np.arange(12), np.zeros(12, int), (1024, 1024))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 * 1024**2


def test_more_instances_than_sixteen_bits_can_rank_are_painted_by_score() -> None:
    count = 9000
    boxes = np.tile(np.array([[2, 2, 12, 12]], np.float32), (count, 1))
    masks = np.broadcast_to(FULL, (count, 28, 28))
    scores, damage = np.arange(count) / count, np.full(count, 1)
    damage[-1] = 3
    localization, painted = rasterize_instances(boxes, masks, scores, damage, (20, 30))
    assert localization.sum() == 100
    assert (painted == 4).sum() == 100


def test_a_mask_without_cells_fills_nothing() -> None:
    nothing = np.zeros((1, 0, 0), np.float32)
    localization, _ = rasterize_instances(
        np.array([[2, 2, 12, 12]], np.float32), nothing, np.ones(1), np.zeros(1, int), (20, 30)
    )
    assert not localization.any()


def test_crops_stay_inside_the_image() -> None:
    boxes, masks, _, _ = dense_tile(300)
    for _, (x0, y0), crop in instance_crops(boxes, masks, (1024, 1024)):
        assert 0 <= x0 < x0 + crop.shape[1] <= 1024
        assert 0 <= y0 < y0 + crop.shape[0] <= 1024
