"""Outlines of masks: what they fill, how they are simplified, and when they get right angles."""

import time
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
import shapely

from skyeye_det.data.targets import Parts, building_mask, fill_polygons
from skyeye_det.decision import polygonize as outlines
from skyeye_det.decision.polygonize import LEAST_IOU
from skyeye_det.decision.right_angles import main_directions, right_angled_rings

RECTANGLE = np.array([[20.0, 15], [60, 15], [60, 40], [20, 40]])


def polygonize(mask: np.ndarray, corner: tuple[int, int] = (0, 0), *options: Any, **named: Any) -> Parts:
    (parts,) = outlines.polygonize([(corner, mask)], *options, **named)
    return parts


def outline_geometry(parts: Parts) -> shapely.Geometry:
    (geometry,) = outlines.outline_geometries([parts])
    return geometry


def main_direction(ring: np.ndarray) -> float:
    return float(main_directions([ring])[0])


def right_angled_ring(ring: np.ndarray, direction: float, least_step: float = 0.0) -> np.ndarray:
    (found,) = right_angled_rings([ring], np.array([direction]), least_step)
    return found


def blobs(number: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Random masks: noise of every density, and smooth pieces with holes; none is empty."""
    rng = np.random.default_rng(seed)
    made = 0
    while made < number:
        noise = rng.random(rng.integers(1, 40, 2))
        smooth = cv2.GaussianBlur(noise, (0, 0), 1.5) if made % 2 else noise
        mask = smooth > (0.5 if made % 2 else rng.random())
        if mask.any():
            made += 1
            yield mask


def filled(parts: Parts, shape: tuple[int, int]) -> np.ndarray:
    return fill_polygons(parts, shape) > 0


def opened(mask: np.ndarray) -> np.ndarray:
    """The mask where squares of 3 px fit in."""
    return cv2.morphologyEx(np.pad(mask, 3).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3))) > 0


def iou(one: np.ndarray, two: np.ndarray) -> float:
    return (one & two).sum() / (one | two).sum()


def turned(degrees: float, ring: np.ndarray = RECTANGLE) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (ring - ring.mean(axis=0)) @ turn.T + 50


def has_right_angles(ring: np.ndarray) -> bool:
    edges = np.roll(ring, -1, axis=0) - ring
    return bool(np.abs((edges * np.roll(edges, -1, axis=0)).sum(axis=1)).max() < 1e-9)


def test_the_exact_outline_filled_by_the_official_rule_is_the_mask():
    for mask in blobs(300):
        assert (filled(polygonize(mask), mask.shape) == mask).all()


def test_outlines_stand_where_the_corner_says():
    mask = np.ones((5, 8), bool)
    (((ring),),) = polygonize(mask, corner=(30, 12))
    assert sorted(ring.tolist()) == [[30, 12], [30, 16], [37, 12], [37, 16]]
    image, corner = building_mask(polygonize(mask, (30, 12)), (100, 100))
    assert corner == (30, 12)
    assert image.shape == mask.shape


@pytest.mark.parametrize("right_angled", [False, True])
@pytest.mark.parametrize("tolerance", [0.7, 4.0])
def test_a_mask_with_pixels_never_loses_its_outline(tolerance: float, right_angled: bool):
    for mask in blobs(30, seed=1):
        parts = polygonize(mask, (0, 0), tolerance, right_angled)
        assert filled(parts, mask.shape).any()
        geometry = outline_geometry(parts)
        assert geometry.is_valid
        assert geometry.area > 0


@pytest.mark.parametrize("right_angled", [False, True])
def test_simplified_polygons_of_solid_masks_are_valid_and_have_fewer_vertices(right_angled: bool):
    exact = simple = 0
    for mask in blobs(100, seed=2):
        solid = opened(mask)
        parts = polygonize(solid, (0, 0), 1.5, right_angled)
        assert all(shapely.Polygon(polygon[0], polygon[1:]).is_valid for polygon in parts)
        exact += sum(len(ring) for polygon in polygonize(solid) for ring in polygon)
        simple += sum(len(ring) for polygon in parts for ring in polygon)
    assert 0 < simple < 0.6 * exact


def test_the_simplified_outline_keeps_within_the_tolerance():
    compared = 0
    for mask in blobs(60, seed=3):
        solid = opened(mask)
        for polygon in polygonize(solid):
            if not shapely.Polygon(polygon[0], polygon[1:]).is_valid:
                continue
            piece = fill_polygons((polygon,), solid.shape) > 0
            ((simple, *_),) = polygonize(piece, tolerance=2.0)
            border = shapely.LinearRing(simple)
            assert max(border.distance(shapely.Point(vertex)) for vertex in polygon[0]) <= 2.0 + 1e-6
            compared += 1
    assert compared > 50


@pytest.mark.parametrize("right_angled", [False, True])
@pytest.mark.parametrize(
    "mask",
    [np.ones((1, 1)), np.ones((1, 7)), np.ones((7, 1)), np.eye(6), np.ones((2, 2)), np.tri(3)],
    ids=["pixel", "row", "column", "diagonal", "square", "triangle"],
)
def test_masks_without_inside_come_back_as_they_are(mask: np.ndarray, right_angled: bool):
    mask = mask > 0
    parts = polygonize(mask, tolerance=3.0, right_angled=right_angled)
    assert iou(filled(parts, mask.shape), mask) >= LEAST_IOU
    geometry = outline_geometry(parts)
    assert geometry.is_valid
    assert geometry.area >= 1


def test_a_mask_without_pixels_has_no_outline_and_no_geometry():
    assert polygonize(np.zeros((4, 6), bool), tolerance=1.0, right_angled=True) == ()
    assert polygonize(np.zeros((0, 0), bool)) == ()
    assert outline_geometry(()).is_empty


@pytest.mark.parametrize(("min_hole", "rings"), [(0, 3), (9, 3), (10, 2), (25, 2), (26, 1)])
def test_holes_smaller_than_stated_are_closed(min_hole: float, rings: int):
    mask = np.ones((20, 30), bool)
    mask[3:6, 3:6] = False
    mask[8:13, 10:15] = False
    ((polygon),) = polygonize(mask, min_hole=min_hole)
    assert len(polygon) == rings
    assert filled((polygon,), mask.shape).sum() == 600 - {3: 34, 2: 25, 1: 0}[rings]


def test_what_stands_in_a_closed_hole_goes_with_it():
    mask = np.ones((9, 9), bool)
    mask[2:7, 2:7] = False
    mask[4, 4] = True
    assert len(polygonize(mask)) == 2
    assert len(polygonize(mask, min_hole=100)) == 1


@pytest.mark.parametrize("degrees", [0, 30, 45, 88])
def test_a_turned_rectangle_gets_its_four_right_angles_back(degrees: float):
    mask, corner = building_mask(((turned(degrees),),), (100, 100))
    ((ring,),) = polygonize(mask > 0, corner, tolerance=1.5, right_angled=True)
    assert len(ring) == 4
    assert has_right_angles(ring)
    sides = np.sort(np.linalg.norm(np.roll(ring, -1, axis=0) - ring, axis=1))
    assert sides == pytest.approx([25, 25, 40, 40], abs=1.5)
    away = (np.rad2deg(main_direction(ring)) - degrees + 45) % 90 - 45
    assert abs(away) < 3


def test_an_l_keeps_its_six_corners():
    corners = np.array([[0.0, 0], [40, 0], [40, 15], [15, 15], [15, 40], [0, 40]])
    mask, corner = building_mask(((turned(20, corners),),), (120, 120))
    ((ring,),) = polygonize(mask > 0, corner, tolerance=1.5, right_angled=True)
    assert len(ring) == 6
    assert has_right_angles(ring)


def test_a_shape_that_right_angles_do_not_fit_stays_simplified():
    triangle = np.array([[5.0, 5], [75, 5], [5, 45]])
    mask = fill_polygons(((triangle,),), (60, 80)) > 0
    ((ring,),) = polygonize(mask, tolerance=1.5, right_angled=True)
    assert len(ring) == 3
    assert sorted(ring.tolist()) == sorted(triangle.tolist())
    assert len(right_angled_ring(ring, main_direction(ring))) == 4  # its box, which is twice as large


@pytest.mark.parametrize("tolerance", [1.0, 6.0])
def test_a_thin_ring_stays_a_valid_ring(tolerance: float):
    rows, columns = np.indices((60, 60)) - 30
    mask = np.abs(np.hypot(rows, columns * 1.3) - 22) < 2
    ((polygon),) = polygonize(mask, (0, 0), tolerance)
    assert len(polygon) == 2
    assert shapely.Polygon(polygon[0], polygon[1:]).is_valid


def test_short_steps_are_taken_out_and_long_ones_stay():
    stairs = np.array([[0.0, 0], [20, 0], [20, 1], [40, 1], [40, 30], [0, 30]])
    ring = right_angled_ring(stairs, 0.0, least_step=2.0)
    assert sorted(ring.tolist()) == [[0, 0.5], [0, 30], [40, 0.5], [40, 30]]
    assert len(right_angled_ring(stairs, 0.0, least_step=0.5)) == 6


@pytest.mark.parametrize("first", [0, 1, 3, 6])
def test_the_vertex_that_a_ring_begins_with_changes_nothing(first: int):
    steps = [[0.0, 0], [20, 0], [20, 1], [40, 1], [40, 30], [20, 30], [20, 50], [0, 50]]
    corners = right_angled_ring(np.roll(steps, first, axis=0), 0.0, least_step=2.0).tolist()
    expected = [[0, 0.5], [0, 50], [20, 30], [20, 50], [40, 0.5], [40, 30]]
    assert sorted(corners) == expected


def test_a_thousand_buildings_take_less_than_a_second():
    rng = np.random.default_rng(4)
    masks = []
    for degrees, width, height in zip(
        rng.uniform(0, 90, 1000), rng.uniform(8, 40, 1000), rng.uniform(8, 40, 1000), strict=True
    ):
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]])
        mask, _ = building_mask(((turned(degrees, corners),),), (100, 100))
        masks.append(((0, 0), (mask > 0) & (rng.random(mask.shape) > 0.02)))
    start = time.process_time()
    found = outlines.polygonize(masks, 1.0, True, 16)
    assert time.process_time() - start < 1
    assert len(found) == 1000


def test_outlines_of_many_masks_are_those_of_each():
    masks = [((7 * number, number), mask) for number, mask in enumerate(blobs(80, seed=5))]
    masks.insert(3, ((0, 0), np.zeros((4, 4), bool)))
    together = outlines.polygonize(masks, 1.0, True, 16)
    for (corner, mask), parts in zip(masks, together, strict=True):
        alone = polygonize(mask, corner, 1.0, True, 16)
        assert [[ring.tolist() for ring in each] for each in parts] == [
            [ring.tolist() for ring in each] for each in alone
        ]
    geometry = outlines.outline_geometries(together)
    assert shapely.equals_exact(geometry, [outline_geometry(parts) for parts in together]).all()
    assert outlines.polygonize([]) == []
    assert not len(outlines.outline_geometries([]))


def test_an_edge_half_way_between_both_directions_is_along_the_first_whatever_its_last_bit():
    one, other = (
        right_angled_ring(np.array([[0.0, 0], [20, 0], [20, 10], [10 + bit, 20], [0, 20]]), 0.0)
        for bit in (-1e-13, 1e-13)
    )
    assert np.allclose(one, other)
