"""Outlines and panels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from skyeye_det.damage import DAMAGE_COLORS, IGNORE_DAMAGE, SUBTYPE_BY_DAMAGE, DamageClass
from skyeye_det.data.image_reading import read_image
from skyeye_det.data.targets import fill_polygons
from skyeye_det.errors import InputError
from skyeye_det.report.outlines import (
    DrawnBuilding,
    buildings_from_images,
    buildings_from_parts,
    buildings_from_results,
    crop_buildings,
    draw_outlines,
    write_image,
)
from skyeye_det.report.panel import PairPicture, count_damage, cropped, legend, panel, put_text, thumbnails

RED = DAMAGE_COLORS[DamageClass.DESTROYED]
GREEN = DAMAGE_COLORS[DamageClass.NO_DAMAGE]


def parts(*vertices: tuple[float, float]):
    return ((np.array(vertices, np.float64),),)


def square(x0: int, y0: int, x1: int, y1: int):
    return parts((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def black(side: int = 64) -> np.ndarray:
    return np.zeros((side, side, 3), np.uint8)


def marked(picture: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    return (picture == color).all(axis=2)


def drawn(outline, damage: int = DamageClass.DESTROYED, side: int = 64) -> list[DrawnBuilding]:
    return buildings_from_parts([(outline, int(damage))], (side, side))


def pair(**changes) -> PairPicture:
    base = PairPicture("palu-tsunami_00000001", black(), black(), drawn(square(10, 10, 20, 20)), [])
    return replace(base, **changes)


@pytest.mark.parametrize("zoom", [1, 2, 5])
def test_outline_of_a_slanted_building_begins_right_at_its_mask(zoom):
    outline = parts((9.6, 20.2), (31.4, 8.5), (40.7, 33.3), (20.5, 44.1))
    picture = draw_outlines(black(), drawn(outline), zoom=zoom)
    mask = fill_polygons(outline, (64, 64)).repeat(zoom, axis=0).repeat(zoom, axis=1)
    ring = cv2.dilate(mask, np.ones((3, 3), np.uint8)) - mask
    np.testing.assert_array_equal(marked(picture, RED), ring > 0)


def test_building_pixels_stay_visible_beside_line_and_casing():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    outlines = square(10, 10, 20, 20), square(40, 10, 50, 30)
    buildings = [building for outline in outlines for building in drawn(outline)]
    picture = draw_outlines(image, buildings, thickness=2, casing=2)
    inside = sum(fill_polygons(outline, (64, 64)) for outline in outlines) > 0
    np.testing.assert_array_equal(picture[inside], image[inside])
    np.testing.assert_array_equal(picture[60:], image[60:])


def test_touching_buildings_are_told_apart_and_the_worse_is_on_top():
    buildings = drawn(square(10, 10, 19, 19), 3) + drawn(square(20, 10, 29, 19), 0)
    for order in (buildings, buildings[::-1]):
        picture = draw_outlines(black(), order, thickness=2)
        assert marked(picture, RED)[15, 20]
        assert marked(picture, GREEN)[15, 19]
        assert marked(picture, RED)[9, 20]
        assert not picture[12:18, 12:18].any()


def test_one_pixel_building_is_ringed():
    picture = draw_outlines(black(), drawn(parts((30, 30), (30, 30), (30, 30))))
    assert marked(picture, RED).sum() == 8
    assert not picture[30, 30].any()


@pytest.mark.parametrize("corner", [(0, 0), (53, 53), (0, 53), (53, 0)])
def test_outline_at_the_border_stays_on_the_image(corner):
    x, y = corner
    picture = draw_outlines(black(), drawn(square(x - 5, y - 5, x + 15, y + 15)), thickness=3, casing=2)
    assert marked(picture, RED).any()
    assert picture.shape == (64, 64, 3)


def test_building_without_pixels_and_no_buildings_leave_the_image_alone():
    outside = drawn(square(100, 100, 120, 120))
    assert outside[0].mask.size == 0
    image = np.full((64, 64, 3), 77, np.uint8)
    for buildings in (outside, []):
        np.testing.assert_array_equal(draw_outlines(image, buildings, casing=1), image)
    assert draw_outlines(image, []) is not image


def test_red_of_destroyed_is_red_in_the_file(tmp_path):
    write_image(tmp_path / "a.png", draw_outlines(black(), drawn(square(10, 10, 20, 20))))
    red, green, blue = cv2.cvtColor(cv2.imread(str(tmp_path / "a.png")), cv2.COLOR_BGR2RGB)[9, 15].tolist()
    assert (red, green, blue) == RED
    assert red > 2 * max(green, blue)
    assert tuple(read_image(tmp_path / "a.png")[9, 15].tolist()) == RED


def test_components_of_images_are_buildings_of_their_grade():
    localization, damage = np.zeros((2, 40, 40), np.uint8)
    localization[2:8, 2:8] = 1
    damage[2:8, 2:5], damage[2:8, 5:8] = 1, 4
    localization[20:25, 20:25] = 1  # a building whose damage is not told
    damage[30:35, 30:35] = 2  # damage where there is no building
    counts = count_damage(buildings_from_images(localization, damage))
    assert counts == {0: 1, 1: 0, 2: 0, 3: 1, IGNORE_DAMAGE: 1}


def test_run_lengths_give_the_same_buildings_as_the_outlines():
    from pycocotools import mask as coco_mask

    outline = parts((9.6, 20.2), (31.4, 8.5), (40.7, 33.3), (20.5, 44.1))
    code = coco_mask.encode(np.asfortranarray(fill_polygons(outline, (64, 50))))
    rle = {"size": [64, 50], "counts": code["counts"].decode()}
    (found,) = buildings_from_results([{"segmentation": rle, "damage": 2}])
    (expected,) = buildings_from_parts([(outline, 2)], (64, 50))
    assert found.corner == expected.corner
    np.testing.assert_array_equal(found.mask, expected.mask)


def test_crop_moves_clips_and_drops_buildings():
    buildings = drawn(square(10, 10, 20, 20)) + drawn(square(40, 40, 50, 50))
    (kept,) = crop_buildings(buildings, (15, 12, 35, 32))
    assert kept.corner == (0, 0)
    assert kept.mask.shape == (9, 6)


def test_panel_leaves_out_columns_that_are_not_there():
    widths = [
        panel(pair(truth=truth, prediction=prediction)).shape[1]
        for truth, prediction in ((None, None), ([], None), (None, []), ([], []))
    ]
    two, three, also_three, four = widths
    assert two < three == also_three < four


@pytest.mark.parametrize("damage", [IGNORE_DAMAGE, *DamageClass])
def test_panel_shows_every_grade_in_its_colour(damage):
    picture = panel(pair(truth=drawn(square(10, 10, 20, 20), damage)))
    empty = panel(pair(truth=[]))
    color = DAMAGE_COLORS[damage]
    # Four sides of 11 px, enlarged 8 times, and two corners of the line.
    assert marked(picture, color).sum() - marked(empty, color).sum() > 4 * 11 * 8


def test_small_image_is_enlarged_and_a_given_zoom_is_kept():
    assert panel(pair()).shape[1] > 4 * 512
    assert panel(pair(), zoom=1).shape[1] < 4 * 100
    with pytest.raises(InputError, match="zoom"):
        panel(pair(), zoom=0)
    with pytest.raises(InputError, match="zoom"):
        panel(pair(), zoom=1000)


def test_panel_of_one_pixel_draws():
    tiny = np.zeros((1, 1, 3), np.uint8)
    assert panel(PairPicture("x_1", tiny, tiny, [], [])).size
    assert len(thumbnails(PairPicture("x_1", tiny, tiny, [], []), 100)) == 4


def test_pair_of_two_sizes_and_crop_outside_are_refused():
    with pytest.raises(InputError, match="64 x 64, found 32 x 32"):
        pair(post=black(32))
    with pytest.raises(InputError, match="inside 64 x 64"):
        cropped(pair(), (0, 0, 65, 10))
    assert cropped(pair(), (0, 0, 30, 12)).pre.shape == (12, 30, 3)


def test_legend_has_every_colour_and_wraps():
    for width in (1000, 130):
        picture = legend(width, 11, count_damage([]))
        assert picture.shape[1] == width
        for color in DAMAGE_COLORS.values():
            assert marked(picture, color).sum() >= 11 * 11
    assert legend(130, 11).shape[0] > legend(1000, 11).shape[0]
    assert set(count_damage([])) == set(SUBTYPE_BY_DAMAGE)


def test_text_too_long_for_its_place_is_shortened():
    canvas = np.full((30, 60, 3), 255, np.uint8)
    put_text(canvas, "a scene with a long name\n\x00" * 5, 4, 20, 11)
    assert (canvas < 128).any()
    assert (canvas[:, -1] == 255).all()
