"""Buildings that proposals meet, against detectron2's own IoU."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from test_evaluators import ALL, SIDE, output, tile

from skyeye_det.engine.evaluators import BuildingEvaluator
from skyeye_det.evaluation import proposal_recall
from skyeye_det.evaluation.proposal_recall import ProposalCounts, count_proposals

FIGURES = ["proposal_recall50", *(f"proposal_recall50_{size}" for size in ("below_16", "16_32", "above_32"))]


def boxes(*squares: tuple[int, int, int, int]) -> np.ndarray:
    return np.array([[x, y, x + s, y + s] for x, y, s, _ in squares], np.float32).reshape(-1, 4)


def evaluated(tiles: list[dict], outputs: list[dict], evaluator: BuildingEvaluator | None = None) -> dict:
    evaluator = evaluator or BuildingEvaluator(tiles)
    evaluator.reset()
    for each, found in zip(tiles, outputs, strict=True):
        evaluator.process([{key: each[key] for key in ("image_id", "scene", "file_name")}], [found])
    return evaluator.evaluate()["segm"]


def offered(found: dict, proposals: np.ndarray) -> dict:
    instances = Instances((SIDE, SIDE))
    instances.proposal_boxes = Boxes(torch.from_numpy(proposals))
    return found | {"proposals": instances}


def test_boxes_of_the_truth_meet_every_building_of_any_damage() -> None:
    counts = count_proposals(tile(1, *ALL), boxes(*ALL))
    assert counts.buildings.tolist() == counts.met.tolist() == [5, 1, 3, 1]
    assert list(counts.figures()) == FIGURES
    assert set(counts.figures().values()) == {100.0}


def test_half_an_overlap_is_enough_and_less_is_not() -> None:
    one = tile(1, (10, 10, 20, 0))
    assert count_proposals(one, np.array([[10.0, 10, 20, 30]])).met[0] == 1  # IoU 0.5
    assert count_proposals(one, np.array([[10.0, 10, 19.9, 30]])).met[0] == 0
    assert count_proposals(one, np.array([[10.0, 10, 30, 50.1]])).met[0] == 0


@pytest.mark.parametrize("block", [7, 1024])
def test_figures_are_those_of_detectron2s_iou(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal_recall, "_BLOCK", block)
    rng = np.random.default_rng(0)
    squares = [(int(x), int(y), int(s), 0) for x, y, s in rng.integers((0, 0, 4), (90, 90, 38), (60, 3))]
    corner = rng.uniform(0, 100, (300, 2))
    proposals = np.concatenate([corner, corner + rng.uniform(2, 40, (300, 2))], axis=1).astype(np.float32)
    iou = pairwise_iou(Boxes(torch.from_numpy(boxes(*squares))), Boxes(torch.from_numpy(proposals)))
    expected = (iou.max(dim=1).values >= 0.5).numpy()
    sides = np.array([side for _, _, side, _ in squares])
    groups = [sides > 0, sides < 16, (sides >= 16) & (sides <= 32), sides > 32]
    counts = count_proposals(tile(1, *squares), proposals)
    assert 0 < expected.sum() < len(expected)
    assert counts.met.tolist() == [int(expected[group].sum()) for group in groups]
    assert counts.buildings.tolist() == [int(group.sum()) for group in groups]


@pytest.mark.parametrize("squares", [(), ALL])
def test_no_proposals_meet_nothing(squares: tuple) -> None:
    counts = count_proposals(tile(1, *squares), np.zeros((0, 4), np.float32))
    assert counts.buildings[0] == len(squares)
    assert not counts.met.any()


def test_no_buildings_leave_the_recall_undefined() -> None:
    counts = count_proposals(tile(1), boxes(*ALL))
    assert all(np.isnan(value) for value in (counts + ProposalCounts.zero()).figures().values())


def test_size_is_that_of_the_mask_inside_the_tile() -> None:
    counts = count_proposals(tile(1, (SIDE - 10, 0, 40, 0), (SIDE + 5, 0, 9, 0)), np.zeros((1, 4)))
    # 10 x 40 px of the first are inside, none of the second.
    assert counts.buildings.tolist() == [1, 0, 1, 0]


def test_proposals_are_left_as_they_are() -> None:
    proposals = boxes(*ALL).astype(np.float64)
    before = proposals.copy()
    count_proposals(tile(1, *ALL), proposals)
    np.testing.assert_array_equal(proposals, before)


def test_evaluator_reports_proposals_beside_the_masks_and_forgets_them() -> None:
    tiles = [tile(1, *ALL[:2]), tile(2, *ALL[2:])]
    evaluator = BuildingEvaluator(tiles)
    outputs = [offered(output(), boxes(*ALL[:1])), offered(output(*ALL[2:]), boxes(*ALL[2:]))]
    for _ in range(2):
        found = evaluated(tiles, outputs, evaluator)
        assert [found[name] for name in FIGURES] == pytest.approx([80, 100, 200 / 3, 100])
        assert found["recall50"] == pytest.approx(60)


def test_model_without_proposals_has_no_such_figure() -> None:
    tiles = [tile(1, *ALL)]
    assert not set(FIGURES) & set(evaluated(tiles, [output(*ALL)]))


def test_semantic_model_is_measured_by_its_components() -> None:
    probs = torch.zeros(5, SIDE, SIDE)
    probs[1] = 1
    for x, y, side, _ in ALL[:2]:
        probs[0, y : y + side, x : x + side] = 0.6
    tiles = [tile(1, *ALL[:2])]
    found = evaluated(tiles, [{"pixel_probs": probs}])
    assert found["AP50"] == found["recall50"] == pytest.approx(100)
    assert not set(FIGURES) & set(found)
