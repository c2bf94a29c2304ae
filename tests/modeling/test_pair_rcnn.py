from typing import Any

import torch
from detectron2.config import CfgNode
from tiny_model import tiny_config, training_input

from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.prediction.prediction import prediction_from_output


def plain_config(**changes: Any) -> CfgNode:
    return tiny_config(MODEL__META_ARCHITECTURE="PairRCNN", **changes)


def test_output_fields_have_their_shapes_and_types() -> None:
    model = build_pair_model(plain_config()).eval()
    with torch.no_grad():
        (output,) = model([training_input([])])
    found = output["instances"]
    count = len(found)
    fields = {
        name: (tuple(value.shape), value.dtype)
        for name, value in found.get_fields().items()
        if name != "pred_boxes"
    }
    assert found.pred_boxes.tensor.shape == (count, 4)
    assert fields == {
        "scores": ((count,), torch.float32),
        "pred_classes": ((count,), torch.int64),
        "pred_masks": ((count, 1, 28, 28), torch.float32),
        "pred_damage_probs": ((count, 4), torch.float32),
        "pred_damage": ((count,), torch.int64),
        "pred_features": ((count, 16), torch.float32),
    }
    assert 0 <= found.pred_masks.min() <= found.pred_masks.max() <= 1
    assert found.image_size == (64, 64)


def test_tile_without_detections_gives_two_empty_images() -> None:
    shape = (50, 71)
    model = build_pair_model(plain_config(MODEL__ROI_HEADS__SCORE_THRESH_TEST=1.0)).eval()
    with torch.no_grad():
        (output,) = model([{"image": torch.zeros(6, *shape, dtype=torch.uint8)}])
    prediction = prediction_from_output(output)
    assert prediction.masks.shape == (0, 28, 28)
    found = decide(prediction, DecisionRule(0.0, 0.1))
    for picture in found.rasterize():
        assert picture.shape == shape
        assert not picture.any()
    assert found.to_coco("scene", 1, "a.png") == []


def test_dense_tile_can_give_a_thousand_detections() -> None:
    changes = {
        "MODEL__RPN__PRE_NMS_TOPK_TEST": 4000,
        "MODEL__RPN__POST_NMS_TOPK_TEST": 1000,
        "MODEL__RPN__NMS_THRESH": 1.0,
        "MODEL__ROI_HEADS__NMS_THRESH_TEST": 1.0,
    }
    cfg = plain_config(**changes)
    assert cfg.TEST.DETECTIONS_PER_IMAGE == 1000
    model = build_pair_model(cfg).eval()
    with torch.no_grad():
        (output,) = model([training_input([], side=128)])
    prediction = prediction_from_output(output)
    assert len(prediction.scores) == 1000
    found = decide(prediction, DecisionRule(score_threshold=0.0))
    assert found.candidates is not None
    assert len(found) > 10
