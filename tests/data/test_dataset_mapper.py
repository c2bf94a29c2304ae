"""What the model is given: images, masks by the official rule, boxes and damage."""

import json

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import transforms
from pair_tiles import building, pair_config, rectangle, write_tile

from skyeye_det.data.augmentation import (
    ShiftTransform,
    WindowTransform,
)
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.errors import InputError


@pytest.fixture(autouse=True)
def _seed():
    np.random.seed(0)  # noqa: NPY002 - detectron2 draws from it


def _noise(side=64, seed=1):
    return np.random.default_rng(seed).integers(1, 256, (side, side, 3), dtype=np.uint8)


def test_an_evaluation_input_is_the_whole_pair_pre_first(tmp_path):
    pre, post = _noise(seed=1), _noise(seed=2)
    tile = write_tile(tmp_path, [building(rectangle(5, 5, 20, 20))], pre, post)
    for image_format, order in (("RGB", -1), ("BGR", 1)):
        cfg = pair_config()
        cfg.INPUT.FORMAT = image_format
        result = PairMapper(cfg, False)(tile)
        assert result["image"].dtype == torch.uint8
        assert np.array_equal(result["image"][:3].permute(1, 2, 0), pre[..., ::order])
        assert np.array_equal(result["image"][3:].permute(1, 2, 0), post[..., ::order])
        assert "instances" not in result
        assert "annotations" not in result
        assert {key: result[key] for key in ("height", "width", "image_id", "scene")} == {
            "height": 64,
            "width": 64,
            "image_id": 1,
            "scene": "test-flood_00000001",
        }


def test_an_evaluation_input_may_have_any_size(tmp_path):
    tile = write_tile(tmp_path, [], np.full((37, 101, 3), 9, np.uint8))
    assert PairMapper(pair_config(), False)(tile)["image"].shape == (6, 37, 101)


@pytest.mark.parametrize("size", [24, 48, 77])
def test_masks_lie_on_the_buildings_that_the_image_shows(tmp_path, size):
    """Roofs of one colour each on a black tile: at any scale a mask's inside shows its colour alone."""
    pre = np.zeros((64, 64, 3), np.uint8)
    buildings = [building(rectangle(6, 8, 25, 19), 0), building(rectangle(34, 30, 52, 58), 3)]
    for value, (x0, y0, x1, y1) in ((90, (6, 8, 25, 19)), (200, (34, 30, 52, 58))):
        pre[y0 : y1 + 1, x0 : x1 + 1] = value
    cfg = pair_config(size, PHOTOMETRIC=0.0, MAX_SHIFT=0, SCALE_RANGE=[0.7, 1.6])
    mapper = PairMapper(cfg, True)
    tile = write_tile(tmp_path, buildings, pre)
    for _ in range(30):
        result = mapper(tile)
        for mask, damage in zip(
            result["instances"].gt_masks.tensor, result["instances"].gt_damage, strict=True
        ):
            value = 200 if damage == 3 else 90
            grown = cv2.dilate(mask.numpy().astype(np.uint8), np.ones((3, 3), np.uint8))
            inside = cv2.erode(mask.numpy().astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
            for image in (result["image"][0].numpy(), result["image"][3].numpy()):
                assert np.all(np.abs(image[inside > 0].astype(int) - value) <= 1)
                around = (cv2.dilate(grown, np.ones((3, 3), np.uint8)) > 0) & (grown == 0)
                assert not image[around].any()


def test_the_mask_is_the_roof_to_the_pixel_without_scaling(tmp_path):
    pre = np.zeros((64, 64, 3), np.uint8)
    pre[20:31, 14:40] = 77
    tile = write_tile(tmp_path, [building(rectangle(14, 20, 39, 30))], pre)
    mapper = PairMapper(pair_config(32, PHOTOMETRIC=0.0, MAX_SHIFT=0, SCALE_RANGE=[1.0, 1.0]), True)
    found = 0
    for _ in range(40):
        result = mapper(tile)
        shown = (result["image"] == 77).numpy()
        assert (shown == shown[:1]).all()
        for mask, box in zip(
            result["instances"].gt_masks.tensor.numpy(), result["instances"].gt_boxes.tensor, strict=True
        ):
            found += 1
            assert np.array_equal(mask, shown[0])
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert found > 20


def test_pixels_of_a_sliver_that_is_no_instance_are_building(tmp_path):
    tall, speck = building(rectangle(10, 0, 24, 39), 2), building(rectangle(50, 50, 51, 51), -1)
    tile = write_tile(tmp_path, [tall, speck], _noise())
    mapper = PairMapper(is_train=True, image_format="BGR", crop=_Always(WindowTransform(0, 38, 26, 26)))
    result = mapper(tile)
    assert len(result["instances"]) == 0
    expected = np.zeros((26, 26), np.uint8)
    expected[:2, 10:25] = 3
    assert np.array_equal(result["sem_seg"], expected)
    assert np.array_equal(result["seams"], expected > 0)


@pytest.mark.parametrize("level", [0, 120])
def test_an_empty_tile_gives_no_instances_and_all_fields(tmp_path, level):
    tile = write_tile(tmp_path, [], np.full((64, 64, 3), level, np.uint8))
    result = PairMapper(pair_config(), True)(tile)
    instances = result["instances"]
    assert len(instances) == 0
    assert instances.gt_boxes.tensor.shape == (0, 4)
    assert instances.gt_classes.shape == instances.gt_damage.shape == (0,)
    assert instances.gt_masks.tensor.shape == (0, 48, 48)
    assert result["image"].shape == (6, 48, 48)
    assert bool(result["image"].any()) == (level > 0)


def test_a_tile_smaller_than_the_crop_is_set_in_black(tmp_path):
    tile = write_tile(tmp_path, [building(rectangle(3, 3, 15, 15), 2)], np.full((20, 30, 3), 200, np.uint8))
    mapper = PairMapper(pair_config(64, PHOTOMETRIC=0.0, SCALE_RANGE=[1.0, 1.0]), True)
    for _ in range(10):
        result = mapper(tile)
        assert result["image"].shape == (6, 64, 64)
        assert int((result["image"][0] == 200).sum()) == 600
        assert int(result["instances"].gt_masks.tensor.sum()) == 169


def test_misregistration_moves_the_post_image_alone(tmp_path):
    pre, post = _noise(seed=1), _noise(seed=2)
    tile = write_tile(tmp_path, [building(rectangle(9, 9, 30, 30))], pre, post)
    mapper = PairMapper(is_train=True, image_format="BGR", shift=_Always(ShiftTransform(3, -2)))
    result = mapper(tile)
    assert np.array_equal(result["image"][:3].permute(1, 2, 0), pre)
    assert np.array_equal(result["image"][3:, :62, 3:].permute(1, 2, 0), post[2:, :61])
    assert result["instances"].gt_boxes.tensor.tolist() == [[9, 9, 31, 31]]


class _Always(transforms.Augmentation):
    def __init__(self, transform):
        super().__init__()
        self.transform = transform

    def get_transform(self):
        return self.transform


def test_light_is_drawn_for_each_image_apart(tmp_path):
    same = _noise()
    tile = write_tile(tmp_path, [], same, same)
    mapper = PairMapper(pair_config(MAX_SHIFT=0), True)
    images = [mapper(tile)["image"].float() for _ in range(5)]
    assert all((image[:3] - image[3:]).abs().mean() > 1 for image in images)
    still = PairMapper(pair_config(MAX_SHIFT=0, PHOTOMETRIC=0.0), True)(tile)["image"]
    assert torch.equal(still[:3], still[3:])


def test_the_dataset_dict_is_left_as_it_is(tmp_path):
    tile = write_tile(tmp_path, [building(rectangle(9, 9, 30, 30), 1)], _noise())
    before = json.dumps(tile)
    PairMapper(pair_config(), True)(tile)
    assert json.dumps(tile) == before


def test_a_wrong_size_is_refused_with_both_sizes(tmp_path):
    tile = write_tile(tmp_path, [], _noise(), _noise(32))
    with pytest.raises(InputError, match=r"post_disaster\.png: expected 64 x 64 px .* found 32 x 32"):
        PairMapper(pair_config(), False)(tile)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CROP_SIZE", 0),
        ("CROP_BUILDING_PROB", 1.5),
        ("SCALE_RANGE", [1.2, 0.8]),
        ("SCALE_RANGE", [0.0, 1.0]),
        ("PHOTOMETRIC", -0.1),
        ("MAX_SHIFT", -1),
    ],
)
def test_a_config_value_out_of_range_is_refused(key, value):
    with pytest.raises(InputError, match=f"INPUT.PAIR.{key}"):
        PairMapper(pair_config(**{key: value}), True)


def test_an_unknown_channel_order_is_refused():
    cfg = pair_config()
    cfg.INPUT.FORMAT = "L"
    with pytest.raises(InputError, match="INPUT.FORMAT"):
        PairMapper(cfg, False)
