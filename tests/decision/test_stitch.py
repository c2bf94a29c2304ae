"""Buildings of overlapping windows against the true outlines that the windows were cut from."""

from collections.abc import Iterator

import numpy as np
import pytest
from made_up import Rectangle

from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.stitch import stitch
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction
from skyeye_det.prediction.windows import Window, cut_windows

RULE = DecisionRule(outline="mask")
SHAPE = (700, 900)
SIZE, OVERLAP = 256, 64


def town(seed: int, count: int = 150) -> list[Rectangle]:
    """Houses that do not touch, anywhere: many lie on seams."""
    rng = np.random.default_rng(seed)
    taken = np.zeros(SHAPE, bool)
    houses: list[Rectangle] = []
    while len(houses) < count:
        width, height = rng.integers(4, 56, 2).tolist()
        x, y = int(rng.integers(0, SHAPE[1] - width)), int(rng.integers(0, SHAPE[0] - height))
        if not taken[max(y - 2, 0) : y + height + 2, max(x - 2, 0) : x + width + 2].any():
            taken[y : y + height, x : x + width] = True
            houses.append((x, y, x + width, y + height))
    return houses


def seen_through(window: Window, houses: list[Rectangle], grades: np.ndarray) -> InstancePrediction:
    """What a faultless model sees in a window: each house, or the part of it that lies inside."""
    offset = np.array([window.x, window.y, window.x, window.y])
    boxes = np.array(houses) - offset
    boxes = np.clip(boxes, 0, [window.width, window.height] * 2)
    is_seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    count = np.count_nonzero(is_seen)
    return InstancePrediction(
        boxes=boxes[is_seen].astype(np.float32),
        masks=np.full((count, 28, 28), 255, np.uint8),
        scores=np.full(count, 0.9, np.float32),
        damage_probs=np.eye(4, dtype=np.float32)[grades[is_seen]],
        is_component=np.zeros(count, bool),
        features=np.flatnonzero(is_seen)[:, None].astype(np.float16),
        shape=(window.height, window.width),
    )


def stitched(houses: list[Rectangle], grades: np.ndarray) -> Buildings:
    def found() -> Iterator[tuple[Window, Buildings]]:
        for window in cut_windows(SHAPE, SIZE, OVERLAP):
            yield window, decide(seen_through(window, houses, grades), RULE)

    return stitch(found(), SHAPE, RULE)


@pytest.mark.parametrize("seed", range(2))
def test_no_building_is_lost_cut_or_doubled_at_a_seam(seed: int) -> None:
    houses = town(seed)
    grades = np.random.default_rng(seed).integers(0, 4, len(houses))
    found = stitched(houses, grades)
    assert sorted(map(tuple, found.boxes.tolist())) == sorted(houses)
    grade_of = dict(zip(houses, grades.tolist(), strict=True))
    assert [grade_of[tuple(box)] for box in found.boxes.tolist()] == found.damage.tolist()
    assert found.features is not None
    assert [houses.index(tuple(box)) for box in found.boxes.tolist()] == found.features[:, 0].tolist()
    truth = np.zeros(SHAPE, np.uint8)
    for (x0, y0, x1, y1), grade in zip(houses, grades.tolist(), strict=True):
        truth[y0:y1, x0:x1] = grade + 1
    np.testing.assert_array_equal(found.rasterize()[1], truth)


@pytest.mark.parametrize("hall", [(20, 300, 880, 340), (100, 10, 700, 650), (0, 0, 900, 700)])
def test_a_building_larger_than_the_overlap_is_joined(hall: Rectangle) -> None:
    found = stitched([hall], np.array([2]))
    assert found.boxes.tolist() == [list(hall)]
    assert found.damage.tolist() == [2]
    x0, y0, x1, y1 = hall
    # Soft masks of 28 cells round the corners off.
    assert np.count_nonzero(found.rasterize()[0]) > 0.997 * (x1 - x0) * (y1 - y0)


def test_regions_of_a_semantic_model_are_joined_too() -> None:
    building = np.zeros(SHAPE, np.uint8)
    building[100:130, 50:850], building[300:320, 200:230] = 230, 230
    damage = np.zeros((4, *SHAPE), np.uint8)
    damage[3] = 255
    windows = (
        (each, decide(PixelPrediction(each.of(building), each.of(damage), (each.height, each.width)), RULE))
        for each in cut_windows(SHAPE, SIZE, OVERLAP)
    )
    found = stitch(windows, SHAPE, RULE)
    assert sorted(map(tuple, found.boxes.tolist())) == [(50, 100, 850, 130), (200, 300, 230, 320)]
    np.testing.assert_array_equal(found.rasterize()[0], building > 0)


def test_an_empty_image_has_no_buildings() -> None:
    found = stitched([(0, 0, 1, 1)], np.array([0]))
    assert len(found) == 1  # one pixel, in the corner
    none = stitch(
        (
            (each, decide(seen_through(each, [(0, 0, 0, 0)], np.array([0])), RULE))
            for each in cut_windows(SHAPE, SIZE, OVERLAP)
        ),
        SHAPE,
        RULE,
    )
    assert len(none) == 0
    assert none.rasterize()[0].shape == SHAPE
