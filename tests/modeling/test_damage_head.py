import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances

from skyeye_det.errors import InputError
from skyeye_det.modeling.damage_head import DamageHead


def head(**changes: object) -> DamageHead:
    arguments = {
        "fusion": "concat_diff",
        "ordinal": "corn",
        "num_conv": 1,
        "conv_dim": 8,
        "fc_dim": 16,
        "class_weights": [1.0, 1.0, 1.0, 1.0],
    }
    return DamageHead(ShapeSpec(channels=8, height=3, width=3), **(arguments | changes))


@pytest.mark.parametrize(("ordinal", "width"), [("corn", 3), ("coral", 3), ("cross_entropy", 4)])
@pytest.mark.parametrize("buildings", [0, 5])
def test_logits_have_the_width_of_the_ordinal_form(ordinal: str, width: int, buildings: int) -> None:
    pooled = torch.randn(buildings, 8, 3, 3)
    assert head(ordinal=ordinal)(pooled, pooled).shape == (buildings, width)


def test_works_without_convolutions() -> None:
    pooled = torch.randn(2, 8, 3, 3)
    assert head(num_conv=0)(pooled, pooled).shape == (2, 3)


def test_inference_shares_the_buildings_out_to_their_images() -> None:
    images = [Instances((9, 9), scores=torch.zeros(count)) for count in (2, 0, 1)]
    logits = torch.tensor([[-9.0, 0, 0], [9.0, -9, 0], [9.0, 9, 9]])
    head().inference(logits, images)
    assert [found.pred_damage.tolist() for found in images] == [[0, 1], [], [3]]
    for found in images:
        assert found.pred_damage.dtype == torch.int64
        assert found.pred_damage_probs.dtype == torch.float32
        assert found.pred_damage_probs.shape == (len(found), 4)


def test_loss_is_weighted() -> None:
    logits, damage = torch.zeros(2, 3), torch.tensor([0, 3])
    plain = head().losses(logits, damage)["loss_damage"]
    doubled = head(loss_weight=2.0).losses(logits, damage)["loss_damage"]
    assert doubled.item() == pytest.approx(2 * plain.item())


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1.0, 1.0, 1.0, -1.0]])
def test_wrong_class_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(InputError, match="CLASS_WEIGHTS: expected 4 numbers of 0 or more"):
        head(class_weights=weights)
