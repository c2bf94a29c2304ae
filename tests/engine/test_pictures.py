from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.pictures import LARGEST_WIDTH, PictureEvaluator
from skyeye_det.prediction.prediction import prediction_from_output

RED, GRAY = (200, 30, 20), (90, 90, 90)

RULE = DecisionRule(score_threshold=0.3)


def pair(
    image_id: int, side: int = 64, order: int = 1
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Tile, model input of a red pre and a grey post image, and output of one building."""
    planes = [np.full((side, side), value, np.uint8) for color in (RED, GRAY) for value in color[::order]]
    square = {"segmentation": [[5, 5, 20, 5, 20, 20, 5, 20]], "damage": -1}
    tile = {
        "image_id": image_id,
        "scene": f"s{image_id}",
        "height": side,
        "width": side,
        "annotations": [square],
    }
    found = Instances((side, side))
    found.pred_boxes, found.scores = (
        Boxes(torch.tensor([[5.0, 5, 21, 21], [30, 30, 40, 40]])),
        torch.tensor([0.9, 0.1]),
    )
    found.pred_masks, found.pred_damage = torch.ones(2, 1, 28, 28), torch.tensor([3, 0])
    found.pred_damage_probs = torch.eye(4)[found.pred_damage]
    buildings = decide(prediction_from_output({"instances": found}), RULE)
    return tile, {"image_id": image_id, "image": torch.from_numpy(np.stack(planes))}, {"buildings": buildings}


def pictures(evaluator: PictureEvaluator, *pairs: tuple) -> dict[str, np.ndarray]:
    with EventStorage(7) as storage:
        for _, given, output in pairs:
            evaluator.process([given], [output])
        assert all(iteration == 7 for *_, iteration in storage._vis_data)
        return {name: image for name, image, _ in storage._vis_data}


def has_color(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((color == picture.reshape(3, -1).T).all(axis=1).any())


@pytest.mark.parametrize(("image_format", "order"), [("RGB", 1), ("BGR", -1)])
def test_picture_is_rgb_whatever_the_model_reads(image_format: str, order: int) -> None:
    drawn = pair(1, order=order)
    (picture,) = pictures(PictureEvaluator([drawn[0]], image_format), drawn).values()
    assert picture.shape[0] == 3
    assert picture.dtype == np.uint8
    assert has_color(picture, RED)
    assert has_color(picture, GRAY)


def test_only_the_chosen_tiles_are_drawn() -> None:
    first, second = pair(1), pair(2)
    assert list(pictures(PictureEvaluator([second[0]], "RGB"), first, second)) == ["predictions/s2"]


def test_large_tiles_are_reduced() -> None:
    drawn = pair(1, side=1024)
    (picture,) = pictures(PictureEvaluator([drawn[0]], "RGB"), drawn).values()
    assert picture.shape[2] == LARGEST_WIDTH


def test_only_buildings_are_drawn() -> None:
    tile, given, output = pair(1)
    evaluator = PictureEvaluator([tile], "RGB")
    candidates = output["buildings"].candidates
    (one,), (other,) = (
        pictures(evaluator, (tile, given, {"buildings": found})).values()
        for found in (output["buildings"], candidates)
    )
    assert len(output["buildings"]) == len(candidates) == 1
    assert not np.array_equal(one, other)


def test_without_event_storage_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = pair(1)
    evaluator = PictureEvaluator([drawn[0]], "RGB")
    monkeypatch.setattr(evaluator, "_draw", lambda *_: pytest.fail("drew a picture"))
    evaluator.reset()
    evaluator.process([drawn[1]], [drawn[2]])
    assert evaluator.evaluate() == {}
