"""Training masks by the official rule, and which buildings of a crop are kept."""

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import transforms
from pair_tiles import building, rectangle

from skyeye_det.data.augmentation import QuarterTurnTransform, WindowTransform
from skyeye_det.data.instances import seen_instances, training_instances
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import fill_polygons, parts_from_segmentation, segmentation_from_parts
from skyeye_det.data.xbd import read_scene

SHAPE = (64, 64)
STILL = transforms.NoOpTransform()
CROOKED = [[10.4, 8.5, 33.5, 14.6, 27.2, 39.5, 6.5, 30.3], [40.5, 41.5, 55.1, 44.2, 49.9, 58.7]]


def objects(*crop):
    return training_instances(seen_instances(*crop))


def _official(segmentation, shape=(64, 64)):
    return fill_polygons(parts_from_segmentation(segmentation), shape)


@pytest.mark.parametrize("x0", [0, 1])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", range(4))
def test_training_masks_follow_the_official_rule(x0, flip, turns):
    window = WindowTransform(x0, 3, 50, 50)
    orientation = transforms.TransformList(
        [transforms.HFlipTransform(50) if flip else STILL, QuarterTurnTransform(50, 50, turns)]
    )
    instances = objects([building(CROOKED)], SHAPE, window, orientation, (50, 50))
    expected = np.rot90(_official(CROOKED)[3:53, x0 : x0 + 50][:, :: -1 if flip else 1], turns)
    assert np.array_equal(instances.gt_masks.tensor[0].numpy(), expected > 0)


def test_scaled_masks_are_the_official_fill_of_the_scaled_outline():
    window = WindowTransform(2, 1, 40, 60)
    instances = objects([building(CROOKED[:1])], SHAPE, window, STILL, (60, 60))
    scaled = (np.array(CROOKED[0]).reshape(-1, 2) + 0.5 - [2, 1]) * 1.5 - 0.5
    assert np.array_equal(
        instances.gt_masks.tensor[0].numpy(), _official([scaled.ravel().tolist()], (60, 60)) > 0
    )


def test_instances_have_the_fields_that_the_model_reads():
    buildings = [building(rectangle(2 + 12 * i, 3, 11 + 12 * i, 20), i - 1) for i in range(5)]
    instances = objects(buildings, SHAPE, STILL, STILL, (64, 64))
    assert instances.image_size == (64, 64)
    assert instances.gt_boxes.tensor.dtype == torch.float32
    assert instances.gt_boxes.tensor[0].tolist() == [2, 3, 12, 21]
    assert instances.gt_classes.tolist() == [0] * 5
    assert instances.gt_masks.tensor.dtype == torch.bool
    assert instances.gt_damage.dtype == torch.int64
    assert instances.gt_damage.tolist() == [-1, 0, 1, 2, 3]


def test_a_building_of_too_few_pixels_is_left_out():
    one_pixel = building([[30.2, 30.1, 30.3, 30.1, 30.3, 30.4]])
    assert one_pixel["area"] == 1
    nothing = building([[200.0, 200, 210, 200, 210, 210]])
    kept = building(rectangle(5, 5, 8, 6), 2)
    seen = seen_instances([one_pixel, nothing, kept], SHAPE, STILL, STILL, (64, 64))
    assert seen.gt_damage.tolist() == [one_pixel["damage"], 2]
    assert seen.gt_boxes.tensor[0].tolist() == [30, 30, 31, 31]
    assert training_instances(seen).gt_damage.tolist() == [2]


@pytest.mark.parametrize("degenerate", [[[30.0, 30.0]], [[30.0, 30.0, 44.0, 30.0]]])
def test_an_outline_without_area_is_filled_as_the_rule_does(degenerate):
    instances = objects([building(degenerate)], SHAPE, STILL, STILL, (64, 64))
    official = _official(degenerate)
    assert len(instances) == (official.sum() >= 8)
    assert all(np.array_equal(mask, official > 0) for mask in instances.gt_masks.tensor.numpy())


@pytest.mark.parametrize(("visible", "kept"), [(1, False), (3, False), (4, True), (40, True)])
def test_a_building_is_left_out_where_the_crop_keeps_under_a_tenth(visible, kept):
    tall = building(rectangle(10, 0, 24, 39))
    window = WindowTransform(0, 40 - visible, 64, 64)
    instances = objects([tall], SHAPE, window, STILL, (64, 64))
    assert len(instances) == kept
    assert not instances.has("gt_is_object")
    seen = seen_instances([tall], SHAPE, window, STILL, (64, 64))
    assert seen.gt_is_object.tolist() == [kept]
    assert int(seen.gt_masks.tensor.sum()) == 15 * visible


def test_an_outline_that_reaches_far_beyond_the_tile_costs_no_more_than_the_crop():
    far = building([[-1e6, -1e6, 20, -1e6, 20, 20, -1e6, 20]], side=64)
    instances = objects([far], SHAPE, WindowTransform(0, 0, 32, 64), STILL, (64, 64))
    assert instances.gt_boxes.tensor.tolist() == [[0, 0, 42, 42]]  # 40.5 is rounded up


def test_masks_of_real_tiles_are_the_official_fill_to_the_pixel(xbd_root):
    generator = np.random.default_rng(4)
    found, _ = find_scenes(xbd_root, "train")
    compared = 0
    for files in found[:6]:
        scene, _ = read_scene(files)
        shape = scene.height, scene.width
        annotations = [
            {"segmentation": segmentation_from_parts(each.parts), "damage": number}
            for number, each in enumerate(scene.buildings)
        ]
        x0, y0 = generator.integers(0, 640, 2).tolist()
        turn = QuarterTurnTransform(384, 384, int(generator.integers(4)))
        crop = objects(annotations, shape, WindowTransform(x0, y0, 384, 384), turn, (384, 384))
        for number, mask in zip(crop.gt_damage.tolist(), crop.gt_masks.tensor.numpy(), strict=True):
            official = fill_polygons(scene.buildings[number].parts, shape)[y0 : y0 + 384, x0 : x0 + 384]
            assert np.array_equal(mask, turn.apply_image(official) > 0)
            compared += 1
    assert compared > 0


def test_all_masks_of_a_real_tile_together_are_its_official_target(xbd_root):
    differences = []
    for path in sorted((xbd_root / "train" / "targets").glob("*_pre_disaster_target.png"))[:6]:
        name = path.name.removesuffix("_pre_disaster_target.png")
        found, _ = find_scenes(xbd_root, "train")
        scene, _ = read_scene(next(files for files in found if files.name == name))
        shape = scene.height, scene.width
        annotations = [
            {"segmentation": segmentation_from_parts(each.parts), "damage": each.damage}
            for each in scene.buildings
        ]
        instances = objects(annotations, shape, STILL, STILL, shape)
        target = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0
        differences.append(int((instances.gt_masks.tensor.any(dim=0).numpy() != target).sum()))
    if not differences:
        pytest.skip("no target images in this root")
    assert max(differences) <= 15
    assert sum(difference == 0 for difference in differences) >= len(differences) - 1
