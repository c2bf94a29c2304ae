"""Buildings that proposals meet, as the evaluator of a model counts them."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from test_evaluators import ALL, SIDE, output, tile

from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.evaluators import BuildingEvaluator
from skyeye_det.prediction.prediction import prediction_from_output

FIGURES = ["proposal_recall50", *(f"proposal_recall50_{size}" for size in ("below_16", "16_32", "above_32"))]


def boxes(*squares: tuple[int, int, int, int]) -> np.ndarray:
    return np.array([[x, y, x + s, y + s] for x, y, s, _ in squares], np.float32).reshape(-1, 4)


def evaluated(tiles: list[dict], outputs: list[dict], evaluator: BuildingEvaluator | None = None) -> dict:
    evaluator = evaluator or BuildingEvaluator(tiles)
    evaluator.reset()
    for each, found in zip(tiles, outputs, strict=True):
        buildings = decide(prediction_from_output(found), DecisionRule())
        given = {key: each[key] for key in ("image_id", "scene", "file_name")}
        evaluator.process([given], [found | {"buildings": buildings}])
    return evaluator.evaluate()["segm"]


def offered(found: dict, proposals: np.ndarray) -> dict:
    instances = Instances((SIDE, SIDE))
    instances.proposal_boxes = Boxes(torch.from_numpy(proposals))
    return found | {"proposals": instances}


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
