"""Geometry of the pair: images, coordinates and masks move together, to the pixel."""

import numpy as np
import pytest
from detectron2.data import transforms

from skyeye_det.data.augmentation import (
    DamageAwareCrop,
    PairAugInput,
    QuarterTurnTransform,
    RandomQuarterTurn,
    RandomShift,
    ShiftTransform,
    WindowTransform,
)
from skyeye_det.data.photometric import PhotometricTransform, RandomPhotometric

SHAPE = (40, 64)
RECTANGLE = np.array([[5.0, 7.0], [21.0, 7.0], [21.0, 30.0], [5.0, 30.0]])


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 - detectron2 draws from it


def _picture(shape=SHAPE):
    return np.random.default_rng(1).integers(1, 256, (*shape, 3), dtype=np.uint8)


def _moved(transform, points):
    return transform.apply_coords(points + 0.5) - 0.5


@pytest.mark.parametrize(
    "transform",
    [
        transforms.HFlipTransform(64),
        transforms.VFlipTransform(40),
        *(QuarterTurnTransform(40, 64, turns) for turns in range(5)),
        WindowTransform(3, 5, 32, 32),
        WindowTransform(-20, -30, 100, 100),
    ],
)
def test_pixels_and_coordinates_move_alike(transform):
    picture = _picture()
    ys, xs = np.mgrid[8:30, 6:30]
    points = np.stack([xs.ravel(), ys.ravel()], axis=1)
    moved = _moved(transform, points.astype(float))
    assert np.array_equal(moved, np.round(moved))
    x, y = moved.astype(int).T
    assert np.array_equal(transform.apply_image(picture)[y, x], picture[ys.ravel(), xs.ravel()])


def test_a_turn_of_many_images_is_the_turn_of_each():
    stack = np.stack([_picture(), _picture()[::-1]])
    for turns in range(4):
        turn = QuarterTurnTransform(*SHAPE, turns)
        assert np.array_equal(turn.apply_image(stack), np.stack([turn.apply_image(each) for each in stack]))


@pytest.mark.parametrize(("side", "size"), [(20, 40), (32, 16), (30, 45)])
def test_a_scaled_window_shows_a_block_where_its_coordinates_lead(side, size):
    picture = np.zeros((*SHAPE, 3), np.uint8)
    picture[10:18, 12:22] = 255
    window = WindowTransform(8, 6, side, size)
    x0, y0, x1, y1 = window.apply_box(np.array([[12.0, 10.0, 22.0, 18.0]]))[0]
    shown = window.apply_image(picture)
    assert shown.shape == (size, size, 3)
    rows, columns = np.nonzero(shown[..., 0] > 127)
    assert np.allclose(
        (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1), (x0, y0, x1, y1), atol=0.5
    )


def test_a_window_beyond_the_tile_is_black_there():
    shown = WindowTransform(-10, -4, 80, 80).apply_image(_picture())
    assert np.array_equal(shown[4:44, 10:74], _picture())
    assert not shown[:4].any()
    assert not shown[44:].any()
    assert not shown[:, :10].any()
    assert not shown[:, 74:].any()


def test_both_images_of_a_pair_move_by_one_draw():
    crop = DamageAwareCrop(32, (0.5, 2.0), 0.5)
    for _ in range(50):
        pair = PairAugInput(_picture(), _picture(), boxes=np.array([[5.0, 7, 22, 31]]), damage=np.array([1]))
        pair.apply_augmentations([crop, transforms.RandomFlip(), RandomQuarterTurn()])
        assert pair.image.shape == (32, 32, 3)
        assert np.array_equal(pair.image, pair.post_image)


def test_a_crop_for_a_building_holds_it_whole_where_it_fits():
    crop = DamageAwareCrop(32, (0.8, 1.25), 1.0)
    box = np.array([40.0, 20.0, 60.0, 36.0])
    for _ in range(200):
        window = crop.get_transform(_picture((100, 120)), box[None], np.array([0]))
        x0, y0, x1, y1 = window.apply_box(box[None])[0]
        assert x0 >= -1
        assert y0 >= -1
        assert x1 <= 33
        assert y1 <= 33


def test_crops_show_rare_grades_as_often_as_common_ones():
    crop = DamageAwareCrop(10, (1.0, 1.0), 1.0)
    # 98 undamaged buildings on the left, one minor in the middle, one un-classified on the right.
    boxes = np.array([[0.0, 0, 4, 4]] * 98 + [[50, 0, 54, 4], [90, 0, 94, 4]])
    damage = np.array([0] * 98 + [1, -1])
    starts = np.array([crop.get_transform(_picture((10, 100)), boxes, damage).x0 for _ in range(400)])
    assert 0.4 < np.mean((starts > 30) & (starts < 60)) < 0.6
    assert not np.any(starts > 80)


def test_a_tile_of_unclassified_buildings_alone_has_its_crops_on_them():
    crop = DamageAwareCrop(10, (1.0, 1.0), 1.0)
    starts = [
        crop.get_transform(_picture((10, 100)), np.array([[90.0, 0, 94, 4]]), np.array([-1])).x0
        for _ in range(20)
    ]
    assert min(starts) > 80


def test_crops_of_a_tile_without_buildings_fall_anywhere_inside_it():
    crop = DamageAwareCrop(10, (1.0, 1.0), 1.0)
    nothing = np.zeros((0, 4)), np.zeros(0, int)
    starts = {crop.get_transform(_picture((10, 15)), *nothing).x0 for _ in range(200)}
    assert starts == {0, 1, 2, 3, 4, 5}


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (-5, 4), (0, 0), (0, 7)])
def test_a_shift_moves_the_picture_and_mirrors_at_the_edge(dx, dy):
    picture = _picture()
    shifted = ShiftTransform(dx, dy).apply_image(picture)
    assert shifted.shape == picture.shape
    assert np.array_equal(shifted[10 + dy : 30 + dy, 10 + dx : 50 + dx], picture[10:30, 10:50])
    assert shifted.min() > 0
    assert np.array_equal(ShiftTransform(dx, dy).apply_coords(np.zeros((1, 2))), [[dx, dy]])


def test_a_shift_larger_than_the_image_leaves_an_image():
    assert ShiftTransform(100, -100).apply_image(_picture((3, 2))).shape == (3, 2, 3)


def test_shifts_cover_their_range_and_zero_means_none():
    drawn = [RandomShift(2).get_transform() for _ in range(300)]
    assert {shift.dx for shift in drawn} == {shift.dy for shift in drawn} == {-2, -1, 0, 1, 2}
    still = RandomShift(0).get_transform()
    assert (still.dx, still.dy) == (0, 0)


def test_every_orientation_of_a_pair_is_drawn():
    picture = _picture((8, 8))
    seen = set()
    for _ in range(300):
        pair = transforms.AugInput(picture)
        pair.apply_augmentations([transforms.RandomFlip(), RandomQuarterTurn()])
        seen.add(pair.image.tobytes())
    assert len(seen) == 8


def test_light_changes_values_but_neither_size_nor_black_pixels():
    picture = _picture()
    picture[:5] = 0
    for _ in range(30):
        change = RandomPhotometric(1.0).get_transform(picture)
        changed = change.apply_image(picture)
        assert changed.shape == picture.shape
        assert changed.dtype == np.uint8
        assert not changed[:5].any()
        assert not np.array_equal(changed, picture)
        assert np.array_equal(changed, change.apply_image(picture))


def test_strength_zero_changes_nothing():
    picture = _picture()
    assert np.array_equal(RandomPhotometric(0.0).get_transform(picture).apply_image(picture), picture)


def test_without_saturation_red_is_darker_than_green_as_the_eye_sees_it():
    # Of RGB, in which images are read; of BGR red and blue would change places.
    image = np.eye(3, dtype=np.uint8)[None] * 200  # a red, a green and a blue pixel
    same = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    grey = PhotometricTransform(same, 0.0, 0.0, 0.0, 0).apply_image(image)
    assert grey[0].tolist() == [[60] * 3, [117] * 3, [23] * 3]  # 0.299, 0.587, 0.114 of 200
