import numpy as np
import pytest
import torch
from detectron2.structures import BitMasks, Boxes, Instances

from skyeye_det.data.instances import SEAM_WIDTH, UNCLASSIFIED_PIXEL, pixel_targets

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


def test_seam_runs_along_both_sides_of_the_line_where_buildings_touch() -> None:
    _, seams = painted([((4, 4, 14, 16), 0), ((14, 4, 24, 16), 0)])
    expected = np.zeros((SIDE, SIDE), np.uint8)
    expected[4:16, 4:24] = 1
    expected[6:14, 6:12] = expected[6:14, 16:22] = 0
    np.testing.assert_array_equal(seams, expected)


def test_of_overlapping_buildings_the_later_wins_and_the_seam_follows_it() -> None:
    first, second = ((2, 2, 20, 20), 0), ((8, 8, 14, 14), 3)
    sem_seg, seams = painted([first, second])
    assert (sem_seg[8:14, 8:14] == 4).all()
    assert (sem_seg == 1).sum() == 18 * 18 - 6 * 6
    assert seams[6:8, 6:16].all()
    assert not seams[10:12, 10:12].any()
    sem_seg, _ = painted([second, first])
    assert (sem_seg > 0).sum() == (sem_seg == 1).sum() == 18 * 18


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


@pytest.mark.parametrize("place", [(0, 0), (7, 9), (SIDE - 1, SIDE - 1)])
def test_building_of_one_pixel_is_a_seam(place: tuple[int, int]) -> None:
    x, y = place
    sem_seg, seams = painted([((x, y, x + 1, y + 1), 2)])
    assert sem_seg[y, x] == 3
    assert seams[y, x] == 1
    assert sem_seg.astype(bool).sum() == seams.sum() == 1


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
