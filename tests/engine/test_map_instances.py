import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from skyeye_det.engine.map_instances import (
    COVERING_SCORE,
    MAP_THRESHOLD,
    MIN_COMPONENT_AREA,
    MapComponents,
)

SHAPE = (40, 56)  # height, width
MASK_SIDE = 28
BOX = (10, 12, 30, 28)  # x0, y0, x1, y1


def a_map(*boxes: tuple[int, int, int, int], probability: float = 0.9) -> np.ndarray:
    building = np.full(SHAPE, 0.02, np.float32)
    for x0, y0, x1, y1 in boxes:
        building[y0:y1, x0:x1] = probability
    return building


def found(*rows: tuple[tuple[int, int, int, int], float]) -> Instances:
    """Instances that fill their boxes, with scores."""
    instances = Instances(SHAPE)
    instances.pred_boxes = Boxes(torch.tensor([box for box, _ in rows], dtype=torch.float32).reshape(-1, 4))
    instances.scores = torch.tensor([score for _, score in rows])
    instances.pred_masks = torch.ones(len(rows), 1, MASK_SIDE, MASK_SIDE)
    return instances


def components(
    building: np.ndarray, seam: np.ndarray | None = None, instances: Instances | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seam = np.zeros(SHAPE, np.float32) if seam is None else seam
    of_tile = MapComponents(MASK_SIDE, building, seam)
    boxes, masks, scores = of_tile.uncovered(found() if instances is None else instances)
    if instances is None:
        for offered, expected in zip(of_tile.proposals(), (boxes, scores), strict=True):
            np.testing.assert_array_equal(offered, expected)
    assert boxes.shape == (len(scores), 4)
    assert masks.shape == (len(scores), MASK_SIDE, MASK_SIDE)
    assert boxes.dtype == masks.dtype == scores.dtype == np.float32
    return boxes, masks, scores


@pytest.mark.parametrize(
    "instances",
    [None, found(), found((BOX, COVERING_SCORE - 0.01)), found(((32, 2, 50, 10), 0.9))],
    ids=["asked for all", "nothing found", "a faint instance", "an instance elsewhere"],
)
def test_what_no_sure_instance_covers_is_a_component(instances: Instances | None) -> None:
    boxes, masks, scores = components(a_map(BOX), instances=instances)
    np.testing.assert_array_equal(boxes, [BOX])
    np.testing.assert_allclose(masks, 0.9, rtol=1e-5)
    np.testing.assert_allclose(scores, 0.9, rtol=1e-5)


@pytest.mark.parametrize("score", [COVERING_SCORE + 0.01, 1.0])
def test_what_a_sure_instance_covers_is_none(score: float) -> None:
    instances = found((BOX, score))
    assert len(components(a_map(BOX), instances=instances)[2]) == 0
    assert len(instances) == 1
    assert len(components(a_map(BOX, (36, 4, 50, 14)), instances=instances)[2]) == 1


def test_scores_of_one_instance_do_not_vouch_for_another() -> None:
    other = (36, 4, 50, 14)
    instances = found((BOX, 0.05), (other, 0.95))
    boxes, _, _ = components(a_map(BOX, other), instances=instances)
    np.testing.assert_array_equal(boxes, [BOX])


@pytest.mark.parametrize("instances", [None, found(), found((BOX, 0.9))], ids=["all", "nothing", "one"])
def test_black_map_has_no_component(instances: Instances | None) -> None:
    components_of_black = components(np.zeros(SHAPE, np.float32), instances=instances)
    assert all(len(each) == 0 for each in components_of_black)


def test_faint_and_small_components_are_left_out() -> None:
    assert len(components(a_map(BOX, probability=MAP_THRESHOLD - 0.01))[2]) == 0
    assert len(components(a_map(BOX, probability=MAP_THRESHOLD + 0.01))[2]) == 1
    rows = MIN_COMPONENT_AREA // 3
    assert len(components(a_map((5, 5, 8, 5 + rows)))[2]) == 1
    assert len(components(a_map((5, 5, 8, 4 + rows)))[2]) == 0


def test_seams_part_buildings_that_touch() -> None:
    seam = np.zeros(SHAPE, np.float32)
    seam[12:28, 18:22] = 0.9
    assert len(components(a_map(BOX))[2]) == 1
    boxes, _, _ = components(a_map(BOX), seam)
    assert sorted(boxes[:, 0].tolist()) == [10, 20]
