from types import SimpleNamespace

import numpy as np
import pytest
import shapely

from skyeye_det.data.targets import (
    Parts,
    building_mask,
    fill_polygons,
    parts_from_segmentation,
    scene_targets,
    segmentation_from_parts,
)


def ring(*vertices: tuple[float, float]) -> np.ndarray:
    return np.array(vertices, np.float64)


def box(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return ring((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def building(parts: Parts, damage: int, post_parts: Parts = ()) -> SimpleNamespace:
    return SimpleNamespace(parts=parts, damage=damage, post_parts=post_parts)


def test_edges_are_filled_and_coordinates_rounded_half_up() -> None:
    mask = fill_polygons(((box(2.5, 1.5, 5.4, 3.6),),), (8, 8))
    expected = np.zeros((8, 8), np.uint8)
    expected[2:5, 3:6] = 1
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("vertices", [[(3, 4)], [(3, 4), (3.2, 4.1)], [(3, 4), (3.3, 4), (3, 4.3)]])
def test_one_pixel_outline_fills_one_pixel(vertices: list[tuple[float, float]]) -> None:
    parts = ((ring(*vertices),),)
    mask, offset = building_mask(parts, (9, 9))
    assert (mask.tolist(), offset) == ([[1]], (3, 4))
    assert fill_polygons(parts, (9, 9)).sum() == 1


def test_no_outline_fills_nothing() -> None:
    assert fill_polygons((), (5, 5)).sum() == 0
    assert building_mask((), (5, 5))[0].shape == (0, 0)
    assert building_mask(((np.zeros((0, 2)),),), (5, 5))[0].shape == (0, 0)


def test_outline_outside_the_image_fills_nothing() -> None:
    for outline in (box(-9, -9, -2, -2), box(10, 3, 24, 6), ring((-2, 1), (1, -2), (-2, -2))):
        assert building_mask(((outline,),), (10, 10))[0].shape == (0, 0)
        assert fill_polygons(((outline,),), (10, 10)).sum() == 0


def test_hole_stays_open_up_to_its_own_edge() -> None:
    mask = fill_polygons(((box(0, 0, 8, 8), box(2, 2, 6, 6)),), (9, 9))
    assert mask.sum() == 81 - 9
    assert mask[3:6, 3:6].sum() == 0


def test_overlapping_parts_do_not_cancel_out() -> None:
    mask = fill_polygons(((box(0, 0, 4, 4),), (box(2, 2, 6, 6),)), (9, 9))
    assert mask.sum() == 25 + 25 - 9


def test_later_buildings_cover_earlier_ones_and_unclassified_is_background() -> None:
    buildings = [building(((box(0, 0, 5, 5),),), 3), building(((box(3, 3, 8, 8),),), -1)]
    localization, damage = scene_targets(buildings, (10, 10))
    assert localization.sum() == 36 + 36 - 9
    assert (damage == 4).sum() == 36 - 9
    assert set(np.unique(damage)) == {0, 4}


def test_damage_target_follows_the_post_outlines() -> None:
    moved = building(((box(0, 0, 3, 3),),), 1, post_parts=((box(2, 2, 5, 5),),))
    localization, damage = scene_targets([moved], (10, 10))
    np.testing.assert_array_equal(localization, fill_polygons(moved.parts, (10, 10)))
    np.testing.assert_array_equal(damage, fill_polygons(moved.post_parts, (10, 10), value=2))


def test_targets_of_a_scene_without_buildings_are_zero() -> None:
    localization, damage = scene_targets([], (4, 6))
    assert localization.shape == damage.shape == (4, 6)
    assert localization.sum() == damage.sum() == 0


def outlines_with_holes(count: int) -> list[Parts]:
    random = np.random.default_rng(1)
    outlines: list[Parts] = []
    while len(outlines) < count:
        angles, radii = np.sort(random.uniform(0, 2 * np.pi, 11)), random.uniform(12, 40, 11)
        exterior = 50 + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        free, holes = shapely.Polygon(exterior).buffer(-0.3), []
        for _ in range(4):
            hole = random.uniform(20, 80, 2) + random.uniform(-6, 7, (random.integers(3, 6), 2))
            shape = shapely.Polygon(hole)
            if shape.is_valid and free.contains(shape):
                holes.append(hole)
                free = free.difference(shape.buffer(0.3))
        if len(holes) > 1:
            outlines.append(((exterior, *holes),))
    return outlines


def test_keyholes_fill_as_the_rings_do_with_many_holes() -> None:
    for parts in outlines_with_holes(60):
        segmentation = segmentation_from_parts(parts)
        assert len(segmentation) == 1
        mask = fill_polygons(parts_from_segmentation(segmentation), (101, 101))
        np.testing.assert_array_equal(mask, fill_polygons(parts, (101, 101)))


def test_segmentation_without_holes_returns_the_same_coordinates() -> None:
    outline = box(0.125, 1e-3, 17.3, 9.9)
    (flat,) = segmentation_from_parts(((outline,),))
    np.testing.assert_array_equal(parts_from_segmentation([flat])[0][0], outline)


def test_points_and_lines_become_polygons_of_three_vertices() -> None:
    for vertices in ([(3.0, 4.0)], [(3.0, 4.0), (6.0, 4.0)]):
        parts = ((ring(*vertices),),)
        segmentation = segmentation_from_parts(parts)
        assert len(segmentation[0]) == 6
        mask = fill_polygons(parts_from_segmentation(segmentation), (9, 9))
        np.testing.assert_array_equal(mask, fill_polygons(parts, (9, 9)))
