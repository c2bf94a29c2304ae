import cv2
import numpy as np
import pytest

from skyeye_det.prediction.components import map_components, split_buildings
from skyeye_det.prediction.masks import mask_crops, window_of

SHAPE = (60, 90)
Rectangle = tuple[int, int, int, int]


def drawn(*rectangles: Rectangle, value: float = 0.9, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """A map of rectangles (x0, y0, x1, y1), ends left out."""
    image = np.zeros(shape, np.float32)
    for x0, y0, x1, y1 in rectangles:
        image[y0:y1, x0:x1] = value
    return image


def seams(*rectangles: Rectangle, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    """1 within 2 px of each rectangle's edge, as the mapper draws it."""
    image = np.zeros(shape, np.float32)
    for x0, y0, x1, y1 in rectangles:
        image[y0:y1, x0:x1] = 1
        image[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = 0
    return image


def pixels(boxes: np.ndarray, masks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bool (K, h, w) of each instance."""
    image = np.zeros((len(boxes), *shape), bool)
    for one, crop in zip(image, mask_crops(boxes, masks, shape), strict=True):
        one[window_of(crop)] = crop[1]
    return image


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_component_has_its_box_its_pixels_and_its_mean_probability() -> None:
    building_map = drawn((10, 20, 40, 32), value=0.8)
    building_map[20:32, 10:25] = 0.6
    boxes, masks, scores = map_components(building_map, None)
    assert boxes.tolist() == [[10, 20, 40, 32]]
    assert scores.tolist() == pytest.approx([0.7])
    np.testing.assert_array_equal(pixels(boxes, masks, SHAPE)[0], building_map > 0)
    assert masks.shape == (1, 28, 28)
    assert boxes.dtype == masks.dtype == scores.dtype == np.float32


@pytest.mark.parametrize("building_map", [drawn(), drawn((5, 5, 30, 30), value=0.25)], ids=["zero", "faint"])
def test_a_map_without_building_gives_no_components(building_map: np.ndarray) -> None:
    boxes, masks, scores = map_components(building_map, None)
    assert (boxes.shape, masks.shape, scores.shape) == ((0, 4), (0, 28, 28), (0,))


def test_a_map_that_is_all_building_is_one_component() -> None:
    boxes, masks, _ = map_components(np.ones(SHAPE, np.float32), None)
    assert boxes.tolist() == [[0, 0, 90, 60]]
    assert iou(pixels(boxes, masks, SHAPE)[0], np.ones(SHAPE, bool)) > 0.99


def test_touching_buildings_are_split_at_the_seam() -> None:
    row = [(10, 10, 22, 30), (22, 10, 40, 30), (40, 10, 60, 30)]
    boxes, masks, _ = map_components(drawn(*row), seams(*row))
    assert boxes.tolist() == [list(map(float, one)) for one in row]
    for found, one in zip(pixels(boxes, masks, SHAPE), row, strict=True):
        assert iou(found, drawn(one) > 0) >= 0.9


@pytest.mark.parametrize(("certainty", "count"), [(0.4, 2), (0.3, 1)])
def test_a_seam_counts_from_its_threshold_on(certainty: float, count: int) -> None:
    row = [(10, 10, 30, 30), (30, 10, 50, 30)]
    seam_map = seams(*row) * np.float32(certainty)
    assert len(map_components(drawn(*row), seam_map)[0]) == count


def test_a_rim_outside_the_seams_of_a_map_too_wide_is_no_building() -> None:
    """A map that came out 2 px wider than the truth, whose seams are where the truth has its edges."""
    truth = (20, 15, 50, 40)
    boxes, _, _ = map_components(drawn((18, 13, 52, 42)), seams(truth))
    assert boxes.tolist() == [[18, 13, 52, 42]]


def test_a_speck_that_the_seams_leave_is_no_building() -> None:
    row = [(10, 10, 30, 30), (30, 10, 50, 30)]
    seam_map = seams(*row)
    seam_map[18:25, 36:43] = 1
    seam_map[21, 39:42] = 0
    assert len(map_components(drawn(*row), seam_map)[0]) == 2


def test_a_building_that_is_all_seam_is_whole() -> None:
    small = (30, 10, 34, 14)
    assert map_components(drawn(small), seams(small))[0].tolist() == [[30, 10, 34, 14]]


def test_without_seams_buildings_are_split_at_a_narrow_neck() -> None:
    building_map = drawn((5, 10, 35, 40), (35, 20, 40, 30), (40, 10, 75, 40))
    boxes, masks, _ = map_components(building_map, None)
    assert len(boxes) == 2
    painted = pixels(boxes, masks, SHAPE)
    assert iou(painted[0], drawn((5, 10, 37, 40)) > 0) > 0.9
    assert iou(painted[1], drawn((38, 10, 75, 40)) > 0) > 0.9
    assert iou(painted.any(axis=0), building_map > 0) > 0.95


@pytest.mark.parametrize(
    "rectangles",
    [[(5, 5, 80, 15)], [(5, 5, 20, 50), (5, 35, 70, 50)], [(5, 20, 80, 32), (30, 5, 45, 55)]],
    ids=["long", "L", "cross"],
)
def test_without_seams_a_building_of_even_width_stays_whole(rectangles: list[Rectangle]) -> None:
    assert split_buildings(drawn(*rectangles) > 0, None).max() == 1


def test_labels_stay_within_their_connected_region() -> None:
    """The left building's core lies nearer to parts of the right one, a px of ground between them."""
    labels = split_buildings(
        drawn((10, 10, 40, 40), (41, 10, 44, 40), (44, 10, 80, 14)) > 0,
        seams((10, 10, 40, 40)),
    )
    assert len(np.unique(labels[10:40, 10:40])) == 1
    assert len(np.unique(labels[10:40, 41:44])) == 1
    assert labels[20, 39] != labels[20, 41]


def test_components_below_the_least_area_are_left_out() -> None:
    assert map_components(drawn((5, 5, 8, 8), (20, 5, 26, 10)), None)[0].tolist() == [[20, 5, 26, 10]]


def test_other_components_in_the_box_are_no_part_of_the_mask() -> None:
    building_map = drawn((10, 10, 60, 16), (10, 10, 16, 50), (30, 30, 50, 50))
    boxes, masks, _ = map_components(building_map, None)
    assert boxes.tolist() == [[10, 10, 60, 50], [30, 30, 50, 50]]
    painted = pixels(boxes, masks, SHAPE)
    assert not (painted[0] & painted[1]).any()
    assert iou(painted[0], drawn((10, 10, 60, 16), (10, 10, 16, 50)) > 0) > 0.9


@pytest.mark.parametrize("side", [10, 28, 60])
def test_soft_masks_give_the_pixels_back(side: int) -> None:
    rng = np.random.default_rng(side)
    shape = (150, 130)
    for _ in range(15):
        corners = cv2.boxPoints(((65, 70), (side, side * rng.uniform(0.7, 1)), rng.uniform(0, 90)))
        image = np.zeros(shape, np.float32)
        cv2.fillPoly(image, [np.round(corners).astype(int)], 1)
        building_map = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 1.5))
        boxes, masks, _ = map_components(building_map, None)
        assert len(boxes) == 1
        assert iou(pixels(boxes, masks, shape)[0], building_map >= 0.5) >= 0.9


@pytest.mark.parametrize("mask_side", [1, 14, 56])
def test_soft_masks_have_the_side_asked_for(mask_side: int) -> None:
    _, masks, _ = map_components(drawn((3, 3, 40, 20)), None, mask_side)
    assert masks.shape == (1, mask_side, mask_side)
    np.testing.assert_allclose(masks, 0.9, atol=1e-6)


def test_a_map_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        map_components(drawn() * np.nan, None)


@pytest.mark.parametrize("with_seams", [True, False])
def test_a_thousand_components_are_all_found(with_seams: bool) -> None:
    rng = np.random.default_rng(0)
    corners = [(32 * column + 1, 32 * row + 1) for row in range(32) for column in range(32)]
    sides = rng.integers(10, 30, (1024, 2)).tolist()
    rectangles = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(corners, sides, strict=True)]
    building_map = drawn(*rectangles, shape=(1024, 1024))
    seam_map = seams(*rectangles, shape=(1024, 1024)) if with_seams else None
    boxes, masks, _ = map_components(building_map, seam_map)
    assert len(boxes) == 1024
    assert len(masks) == 1024
