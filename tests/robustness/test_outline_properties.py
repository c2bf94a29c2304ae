"""What must hold for every outline on its way from vertices to pixels and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from scene_strategies import official_mask, outlines, polygon_with_holes, quick

from skyeye_det.data.targets import (
    Parts,
    building_mask,
    fill_polygons,
    parts_from_segmentation,
    segmentation_from_parts,
)
from skyeye_det.prediction.masks import encode_crop

SIDE = 40


@quick
@given(outlines(SIDE, SIDE))
def test_fill_follows_the_official_rule(parts: Parts) -> None:
    mask = official_mask(parts, SIDE, SIDE)
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
