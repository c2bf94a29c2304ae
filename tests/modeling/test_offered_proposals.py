"""What the models of instances offer to their box heads, as part of their output."""

from typing import Any

import pytest
import torch
from tiny_model import CONFIGS, tiny_overrides, training_input
from torch import nn

from skyeye_det.engine.setup import build_pair_model, load_config

FILES = {"PairRCNN": "xbd_mrcnn_plain.yaml", "HybridRCNN": "xbd_mrcnn.yaml"}


def small_model(architecture: str, **changes: Any) -> nn.Module:
    torch.manual_seed(0)
    cfg = load_config(CONFIGS / FILES[architecture], tiny_overrides(**changes))
    assert architecture == cfg.MODEL.META_ARCHITECTURE
    return build_pair_model(cfg).eval()


@pytest.mark.parametrize("architecture", FILES)
def test_every_pair_has_its_proposals_inside_the_tile(architecture: str) -> None:
    shape = (50, 71)
    pair = {"image": torch.randint(0, 256, (6, *shape), dtype=torch.uint8)}
    with torch.no_grad():
        outputs = small_model(architecture)([pair, pair])
    assert len(outputs) == 2
    for output in outputs:
        proposals = output["proposals"]
        boxes = proposals.proposal_boxes.tensor
        assert proposals.image_size == shape
        assert 0 < len(boxes) <= 30  # MODEL.RPN.POST_NMS_TOPK_TEST
        assert boxes.shape == (len(proposals.objectness_logits), 4)
        assert boxes.min() >= 0
        assert (boxes[:, 2:].max(dim=0).values <= torch.tensor(shape[::-1])).all()


def test_plain_instances_come_from_the_proposals_of_the_output() -> None:
    model, pair = small_model("PairRCNN"), training_input([])
    with torch.no_grad():
        (output,) = model([pair])
        images = model.preprocess_image([pair])
        features = model.backbone(images.tensor)
        (found,), _ = model.roi_heads(images, features, [output["proposals"]], None)
    assert torch.equal(found.scores, output["instances"].scores)
    assert torch.equal(found.pred_masks, output["instances"].pred_masks)
