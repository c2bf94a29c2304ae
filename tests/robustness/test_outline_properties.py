"""What must hold for every outline on its way from vertices to pixels and back."""

import tempfile
from pathlib import Path

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from scene_strategies import free_polygon, official_mask, outlines, polygon_with_holes, quick

from skyeye_det.data.image_reading import image_size
from skyeye_det.data.targets import (
    Parts,
    building_mask,
    fill_polygons,
    parts_from_segmentation,
    segmentation_from_parts,
)
from skyeye_det.prediction.masks import encode_crop

SIDE = 40


def polygons_of_mask(mask: np.ndarray) -> Parts:
    """Outlines of a mask's 8-connected parts with their holes, by OpenCV."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    rings = [contour.reshape(-1, 2).astype(np.float64) for contour in contours]
    parents = [] if hierarchy is None else hierarchy[0][:, 3].tolist()
    return tuple(
        (ring, *(hole for hole, parent in zip(rings, parents, strict=True) if parent == number))
        for number, ring in enumerate(rings)
        if parents[number] == -1
    )


@quick
@given(outlines(SIDE, SIDE))
def test_fill_follows_the_official_rule(parts: Parts) -> None:
    mask = official_mask(parts, SIDE, SIDE)
    assert (fill_polygons(parts, mask.shape) == mask).all()


@quick
@given(free_polygon(SIDE, SIDE, slack=0))
def test_outline_inside_the_image_is_filled_as_opencv_does(parts: Parts) -> None:
    mask = np.zeros((SIDE + 2, SIDE + 2), np.uint8)
    cv2.fillPoly(mask, [np.floor(ring + 0.5).astype(np.int32) for ring in parts[0]], 1)
    assert (fill_polygons(parts, mask.shape) == mask).all()


@quick
@given(outlines(SIDE, SIDE))
def test_mask_in_its_box_is_the_mask_on_the_image(parts: Parts) -> None:
    whole = np.zeros((SIDE, SIDE), np.uint8)
    mask, (x, y) = building_mask(parts, whole.shape)
    whole[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    assert (whole == fill_polygons(parts, whole.shape)).all()
    if mask.size:
        assert mask[0].any()
        assert mask[-1].any()
        assert mask[:, 0].any()
        assert mask[:, -1].any()


@quick
@given(st.one_of(polygon_with_holes(SIDE, SIDE), outlines(SIDE, SIDE)))
def test_segmentation_fills_the_pixels_of_the_outline(parts: Parts) -> None:
    back = parts_from_segmentation(segmentation_from_parts(parts))
    assert (fill_polygons(back, (SIDE, SIDE)) == fill_polygons(parts, (SIDE, SIDE))).all()


@quick
@given(st.lists(outlines(SIDE, SIDE), max_size=4))
def test_rasterised_polygonised_and_rasterised_again_is_the_same_mask(buildings: list[Parts]) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for parts in buildings:
        fill_polygons(parts, mask.shape, mask)
    assert (fill_polygons(polygons_of_mask(mask), mask.shape) == mask).all()


@quick
@given(free_polygon(SIDE, SIDE, slack=0), st.integers(0, 6), st.integers(0, 6))
def test_fill_moves_with_an_outline_inside_the_image(parts: Parts, right: int, down: int) -> None:
    shift = np.array([right, down])
    shape = SIDE + 10, SIDE + 10
    moved = tuple(tuple(ring + shift for ring in polygon) for polygon in parts)
    expected = np.roll(fill_polygons(parts, shape), (down, right), axis=(0, 1))
    assert (fill_polygons(moved, shape) == expected).all()


@quick
@given(outlines(SIDE, SIDE), st.integers(0, 5), st.integers(0, 5))
def test_run_lengths_of_a_crop_are_those_of_the_whole_mask(parts: Parts, wider: int, higher: int) -> None:
    shape = SIDE + higher, SIDE + wider
    whole = fill_polygons(parts, shape)
    mask, corner = building_mask(parts, shape)
    encoded = encode_crop(corner, mask, shape)
    expected = coco_mask.encode(np.asfortranarray(whole))
    assert encoded["size"] == list(shape)
    counts = encoded["counts"]
    assert (counts.encode() if isinstance(counts, str) else counts) == expected["counts"]


@quick
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from((".png", ".jpg", ".tif", ".TIFF")), st.booleans()
)
def test_size_is_read_from_the_header_of_every_kind_of_image(
    width: int, height: int, suffix: str, colored: bool
) -> None:
    image = np.zeros((height, width, 3) if colored else (height, width), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"image{suffix}")
        assert cv2.imwrite(str(path), image)
        assert image_size(path) == (width, height)
