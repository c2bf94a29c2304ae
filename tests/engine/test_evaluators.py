from typing import Any

import pytest
import torch
from detectron2.structures import Boxes, Instances

from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.evaluators import BuildingEvaluator, XView2Evaluator
from skyeye_det.prediction.prediction import prediction_from_output

SIDE = 128
RECALLS = ["recall50", "recall50_below_16", "recall50_16_32", "recall50_above_32"]


def tile(image_id: int, *buildings: tuple[int, int, int, int]) -> dict[str, Any]:
    """Dataset dict with squares (x, y, side in px, damage)."""
    annotations = [
        {
            "segmentation": [[x, y, x + s - 1, y, x + s - 1, y + s - 1, x, y + s - 1]],
            "damage": damage,
            "uid": "",
        }
        for x, y, s, damage in buildings
    ]
    scene = f"scene-{image_id}"
    names = {"scene": scene, "file_name": f"{scene}.png"}
    return names | {"image_id": image_id, "height": SIDE, "width": SIDE, "annotations": annotations}


def output(*buildings: tuple[int, int, int, int], score: float = 0.9) -> dict[str, Any]:
    """What a model gives where it finds these squares."""
    found = Instances((SIDE, SIDE))
    corners = [[x, y, x + s, y + s] for x, y, s, _ in buildings]
    found.pred_boxes = Boxes(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4))
    found.scores = torch.full((len(buildings),), score)
    found.pred_masks = torch.ones(len(buildings), 1, 28, 28)
    found.pred_damage = torch.tensor([max(damage, 0) for *_, damage in buildings], dtype=torch.int64)
    found.pred_damage_probs = torch.eye(4)[found.pred_damage]
    return {"instances": found}


ALL = ((4, 4, 10, 0), (30, 4, 20, 1), (60, 4, 40, 2), (4, 60, 24, 3), (60, 60, 30, -1))


def decided(outputs: list[dict], rule: DecisionRule) -> list[dict]:
    """What ``DecidingModel`` gives of it."""
    found = [decide(prediction_from_output(each), rule) for each in outputs]
    return [each | {"buildings": buildings} for each, buildings in zip(outputs, found, strict=True)]


def score(tiles: list[dict], outputs: list[dict], threshold: float = 0.3) -> dict[str, float]:
    # Half the instances' score paints the same pixels as half the mask's probability.
    scores = [float(value) for each in outputs for value in each["instances"].scores[:1]]
    rule = DecisionRule(threshold, 0.5 * max(scores, default=1.0))
    evaluator = XView2Evaluator(tiles)
    evaluator.reset()
    evaluator.process([{"image_id": each["image_id"]} for each in tiles], decided(outputs, rule))
    return evaluator.evaluate()["xview2"]


def precision(tiles: list[dict], outputs: list[dict]) -> dict[str, float]:
    evaluator = BuildingEvaluator(tiles)
    evaluator.reset()
    evaluator.process(
        [{key: each[key] for key in ("image_id", "scene", "file_name")} for each in tiles],
        decided(outputs, DecisionRule()),
    )
    return evaluator.evaluate()["segm"]


def test_truth_as_prediction_scores_one_and_an_ap_of_100() -> None:
    tiles, outputs = [tile(1, *ALL), tile(2)], [output(*ALL), output()]
    assert score(tiles, outputs)["score"] == pytest.approx(1, abs=1e-5)
    found = precision(tiles, outputs)
    assert all(found[name] == pytest.approx(100) for name in ("AP", "AP50", "AP75", *RECALLS))


def test_instances_below_the_threshold_are_not_painted() -> None:
    tiles = [tile(1, *ALL)]
    assert score(tiles, [output(*ALL, score=0.29)])["localization_f1"] == 0
    assert score(tiles, [output(*ALL, score=0.31)])["localization_f1"] == 1


def test_reset_forgets_the_tiles_of_the_last_evaluation() -> None:
    tiles = [tile(1, *ALL)]
    evaluator = BuildingEvaluator(tiles)
    inputs = [{key: tiles[0][key] for key in ("image_id", "scene", "file_name")}]
    for _ in range(2):
        evaluator.reset()
        evaluator.process(inputs, decided([output(*ALL)], DecisionRule()))
        assert evaluator.evaluate()["segm"]["AP50"] == pytest.approx(100)


def test_evaluators_forgive_an_order_of_their_own() -> None:
    tiles = [tile(1, *ALL), tile(2, (50, 50, 20, 3))]
    outputs = [output((50, 50, 20, 3)), output(*ALL)]
    assert precision(tiles[::-1], outputs)["AP"] == pytest.approx(100)
    assert score(tiles[::-1], outputs)["score"] == pytest.approx(1, abs=1e-5)
