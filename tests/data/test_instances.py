"""Training masks by the official rule, and which buildings of a crop are kept."""

import numpy as np
import pytest
import torch
from detectron2.data import transforms
from detectron2.structures import BitMasks, Boxes, Instances
from pair_tiles import building, rectangle

from skyeye_det.data.augmentation import QuarterTurnTransform, WindowTransform
from skyeye_det.data.instances import (
    SEAM_WIDTH,
    UNCLASSIFIED_PIXEL,
    pixel_targets,
    seen_instances,
    training_instances,
)
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import fill_polygons, parts_from_segmentation, segmentation_from_parts
from skyeye_det.data.xbd import read_scene

SHAPE = (64, 64)
STILL = transforms.NoOpTransform()
CROOKED = [[10.4, 8.5, 33.5, 14.6, 27.2, 39.5, 6.5, 30.3], [40.5, 41.5, 55.1, 44.2, 49.9, 58.7]]


def learned(*crop):
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
    instances = learned([building(CROOKED)], SHAPE, window, orientation, (50, 50))
    expected = np.rot90(_official(CROOKED)[3:53, x0 : x0 + 50][:, :: -1 if flip else 1], turns)
    assert np.array_equal(instances.gt_masks.tensor[0].numpy(), expected > 0)


def test_scaled_masks_are_the_official_fill_of_the_scaled_outline():
    window = WindowTransform(2, 1, 40, 60)
    instances = learned([building(CROOKED[:1])], SHAPE, window, STILL, (60, 60))
    scaled = (np.array(CROOKED[0]).reshape(-1, 2) + 0.5 - [2, 1]) * 1.5 - 0.5
    assert np.array_equal(
        instances.gt_masks.tensor[0].numpy(), _official([scaled.ravel().tolist()], (60, 60)) > 0
    )


def test_instances_have_the_fields_that_the_model_reads():
    buildings = [building(rectangle(2 + 12 * i, 3, 11 + 12 * i, 20), i - 1) for i in range(5)]
    instances = learned(buildings, SHAPE, STILL, STILL, (64, 64))
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


@pytest.mark.parametrize(("visible", "kept"), [(1, False), (3, False), (4, True), (40, True)])
def test_a_building_is_left_out_where_the_crop_keeps_under_a_tenth(visible, kept):
    tall = building(rectangle(10, 0, 24, 39))
    window = WindowTransform(0, 40 - visible, 64, 64)
    instances = learned([tall], SHAPE, window, STILL, (64, 64))
    assert len(instances) == kept
    assert not instances.has("gt_is_instance")
    seen = seen_instances([tall], SHAPE, window, STILL, (64, 64))
    assert seen.gt_is_instance.tolist() == [kept]
    assert int(seen.gt_masks.tensor.sum()) == 15 * visible


def test_an_outline_that_reaches_far_beyond_the_tile_costs_no_more_than_the_crop():
    far = building([[-1e6, -1e6, 20, -1e6, 20, 20, -1e6, 20]], side=64)
    instances = learned([far], SHAPE, WindowTransform(0, 0, 32, 64), STILL, (64, 64))
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
        crop = learned(annotations, shape, WindowTransform(x0, y0, 384, 384), turn, (384, 384))
        for number, mask in zip(crop.gt_damage.tolist(), crop.gt_masks.tensor.numpy(), strict=True):
            official = fill_polygons(scene.buildings[number].parts, shape)[y0 : y0 + 384, x0 : x0 + 384]
            assert np.array_equal(mask, turn.apply_image(official) > 0)
            compared += 1
    assert compared > 0


SIDE = 32
Rectangle = tuple[int, int, int, int]


def crop(buildings: list[tuple[Rectangle, int]], side: int = SIDE) -> Instances:
    """A crop with rectangles x0, y0, x1, y1 (the last outside) and their damage."""
    instances = Instances((side, side))
    masks = torch.zeros(len(buildings), side, side, dtype=torch.bool)
    for mask, ((x0, y0, x1, y1), _) in zip(masks, buildings, strict=True):
        mask[y0:y1, x0:x1] = True
    boxes = torch.tensor([box for box, _ in buildings], dtype=torch.float32).reshape(-1, 4)
    instances.gt_boxes, instances.gt_masks = Boxes(boxes), BitMasks(masks)
    instances.gt_damage = torch.tensor([damage for _, damage in buildings], dtype=torch.int64)
    return instances


def painted(buildings: list[tuple[Rectangle, int]]) -> tuple[np.ndarray, np.ndarray]:
    sem_seg, seams = pixel_targets(crop(buildings))
    assert sem_seg.dtype == seams.dtype == torch.uint8
    assert sem_seg.shape == seams.shape == (SIDE, SIDE)
    return sem_seg.numpy(), seams.numpy()


def test_each_grade_has_its_value_and_a_building_without_one_has_five() -> None:
    grades = (0, 1, 2, 3, -1)
    sem_seg, _ = painted([((1 + 6 * n, 3, 5 + 6 * n, 9), grade) for n, grade in enumerate(grades)])
    expected = np.zeros((SIDE, SIDE), np.uint8)
    for number, value in enumerate((1, 2, 3, 4, UNCLASSIFIED_PIXEL)):
        expected[3:9, 1 + 6 * number : 5 + 6 * number] = value
    assert UNCLASSIFIED_PIXEL == 5
    np.testing.assert_array_equal(sem_seg, expected)


def test_the_rim_of_the_crop_is_no_seam_of_a_building_that_it_cuts() -> None:
    _, seams = painted([((0, 0, 10, 10), 1)])
    assert not seams[:8, :8].any()
    assert seams[8:10, :10].all()
    assert seams[:10, 8:10].all()
    _, whole = painted([((0, 0, SIDE, SIDE), 1)])
    assert not whole.any()


def test_crop_without_buildings_is_zero() -> None:
    sem_seg, seams = painted([])
    assert not sem_seg.any()
    assert not seams.any()


def test_random_crops_equal_a_pixel_by_pixel_reading() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        corners = generator.integers(0, SIDE - 8, (6, 2))
        sizes = generator.integers(1, 9, (6, 2))
        rectangles = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sizes, strict=True)]
        owner = np.zeros((SIDE, SIDE), int)
        for number, (x0, y0, x1, y1) in enumerate(rectangles, start=1):
            owner[y0:y1, x0:x1] = number
        expected = np.zeros((SIDE, SIDE), np.uint8)
        for y, x in zip(*np.nonzero(owner), strict=True):
            rows, columns = (slice(max(0, at - SEAM_WIDTH), at + SEAM_WIDTH + 1) for at in (y, x))
            expected[y, x] = (owner[rows, columns] != owner[y, x]).any()
        sem_seg, seams = painted([(rectangle, 3) for rectangle in rectangles])
        np.testing.assert_array_equal(seams, expected)
        np.testing.assert_array_equal(sem_seg, np.where(owner, 4, 0))
