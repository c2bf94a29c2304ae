"""Dense evidence: a grade for every pixel, its mean over a building, and what the head begins with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes
from detectron2.utils.events import EventStorage
from safetensors.torch import save_file
from tiny_model import CONFIGS, tiny_config, training_input

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.modeling.damage_head import ORDINAL_FORMS, ordinal_probabilities
from skyeye_det.modeling.damage_map import evidence_logits, pooled_evidence

PLAIN = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""]
DENSE = {"MODEL__DAMAGE_HEAD__DENSE_EVIDENCE": True}


def test_evidence_is_the_mean_over_the_pixels_of_a_mask() -> None:
    probs = torch.zeros(1, 4, 32, 32)
    probs[:, 0], probs[:, 3, :, 16:], probs[:, 0, :, 16:] = 1, 1, 0
    half = torch.zeros(2, 1, 28, 28)
    half[0, :, :, :14], half[1, :, :, 14:] = 1, 1
    boxes = [Boxes(torch.tensor([[8.0, 8, 24, 24], [8, 8, 24, 24]]))]
    found = pooled_evidence(probs, boxes, half)
    np.testing.assert_allclose(found.sum(dim=1), 1, atol=1e-5)
    assert found.argmax(dim=1).tolist() == [0, 3]
    assert found.max(dim=1).values.min() > 0.95
    empty = pooled_evidence(probs, boxes, torch.zeros(2, 1, 28, 28))  # a mask without a pixel: the box
    np.testing.assert_allclose(empty[0, [0, 3]], 0.5, atol=0.05)
    assert pooled_evidence(probs, [Boxes(torch.zeros(0, 4))], torch.zeros(0, 1, 28, 28)).shape == (0, 4)


@pytest.mark.parametrize("form", ORDINAL_FORMS)
def test_logits_of_evidence_give_its_probabilities_back(form: str) -> None:
    probs = torch.tensor([[0.4, 0.3, 0.2, 0.1], [0.05, 0.05, 0.1, 0.8], [0.97, 0.01, 0.01, 0.01]])
    np.testing.assert_allclose(ordinal_probabilities(evidence_logits(probs, form), form), probs, atol=0.01)


def test_the_head_begins_with_the_map_and_every_part_learns() -> None:
    torch.manual_seed(0)
    model = build_pair_model(tiny_config(**DENSE))
    model.damage_map.decoder.requires_grad_(True)
    pair = training_input([0, 3], side=64)
    with EventStorage():
        losses = model.train()([pair])
    assert {"loss_damage_cross_entropy", "loss_damage_dice", "loss_damage"} <= losses.keys()
    sum(losses.values()).backward()
    assert any(p.grad is not None and p.grad.any() for p in model.damage_map.decoder.parameters())
    assert model.roi_heads.damage_head.predictor.linear.weight.grad.any()
    model.eval()
    found = pair["instances"]
    found.pred_boxes, found.pred_masks = found.gt_boxes, torch.ones(2, 1, 28, 28)
    with torch.no_grad():
        (graded,) = model.classify(model.look([pair])[1], [found])
        image = model.preprocess_image([pair]).tensor
        dense = model.damage_map(image).softmax(dim=1)
        expected = pooled_evidence(dense, [found.gt_boxes], found.pred_masks)
    np.testing.assert_allclose(graded.pred_damage_probs, expected, atol=0.01)


def test_the_second_step_begins_with_the_map_of_a_semantic_fpn(tmp_path: Path) -> None:
    torch.manual_seed(1)
    small = ["MODEL.BACKBONE.NAME", "tu-test_efficientnet", "MODEL.BACKBONE.FREEZE_AT", "0"]
    semantic = build_pair_model(load_config(CONFIGS / "semantic" / "fpn_lite0.yaml", [*PLAIN, *small]))
    SkyeyeCheckpointer(semantic, str(tmp_path)).save("fpn")
    model = build_pair_model(tiny_config(MODEL__META_ARCHITECTURE="FootprintRCNN", **DENSE))
    SkyeyeCheckpointer(model).load_damage_map(str(tmp_path / "fpn.pth"))
    state = {key: value.contiguous() for key, value in semantic.state_dict().items()}
    save_file(state, tmp_path / "fpn.safetensors")
    again = build_pair_model(tiny_config(MODEL__META_ARCHITECTURE="FootprintRCNN", **DENSE))
    SkyeyeCheckpointer(again).load_damage_map(str(tmp_path / "fpn.safetensors"))
    first, second = (each.damage_map.state_dict() for each in (model, again))
    assert all(torch.equal(first[key], second[key]) for key in first)
    pair = training_input([0], side=64)
    image = model.preprocess_image([pair]).tensor
    with torch.no_grad():
        own, other = model.eval().damage_map(image), semantic.eval().logits(image)["damage"]
    torch.testing.assert_close(own, other.float())
    assert not any(p.requires_grad for p in model.damage_map.parameters())


def test_a_checkpoint_without_such_a_map_is_refused(tmp_path: Path) -> None:
    model = build_pair_model(tiny_config(**DENSE))
    SkyeyeCheckpointer(model, str(tmp_path)).save("hybrid")
    with pytest.raises(InputError, match="expected a checkpoint of configs/semantic/fpn_lite0"):
        SkyeyeCheckpointer(model).load_damage_map(str(tmp_path / "hybrid.pth"))
    plain = build_pair_model(tiny_config())
    with pytest.raises(InputError, match="with DENSE_EVIDENCE"):
        SkyeyeCheckpointer(plain).load_damage_map(str(tmp_path / "hybrid.pth"))
    (tmp_path / "text.pth").write_text("weights")
    with pytest.raises(InputError, match="expected a checkpoint of tensors alone"):
        SkyeyeCheckpointer(model).load_damage_map(str(tmp_path / "text.pth"))
    dense = [*PLAIN, "MODEL.DAMAGE_HEAD.DENSE_EVIDENCE", "True"]
    with pytest.raises(InputError, match="expected a backbone of timm's"):
        build_pair_model(load_config(CONFIGS / "xbd_mrcnn_r50.yaml", dense))
