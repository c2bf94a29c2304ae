"""Tensors of the models, taken over as arrays."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.postprocessing.pixel_prediction import PixelPrediction
from skyeye_det.postprocessing.tile_prediction import TilePrediction


def instances(count: int) -> Instances:
    """As ``PairRCNN`` gives them, in an image of 32 x 64 px."""
    found = Instances((32, 64))
    found.pred_boxes = Boxes(torch.tensor([[2.0, 2, 12, 12]]).repeat(count, 1))
    found.pred_masks, found.scores = torch.ones(count, 1, 28, 28), torch.full((count,), 0.9)
    found.pred_damage_probs = torch.tensor([[0.1, 0.2, 0.6, 0.1]]).repeat(count, 1)
    found.pred_damage = torch.full((count,), 2)
    return found


@pytest.mark.parametrize("count", [0, 1])
def test_a_map_of_the_model_is_kept_as_bytes(count: int):
    found = TilePrediction.from_instances(instances(count), torch.full((32, 64), 0.5, requires_grad=True))
    assert found.building_map is not None
    assert (found.building_map == 128).all()
    assert found.building_map.dtype == np.uint8
    assert found.rasterize(DecisionRule(0.5, 0.6, map_weight=0.5))[0].sum() == 100 * count
    assert TilePrediction.from_instances(instances(count)).building_map is None


@pytest.mark.parametrize(
    ("building_map", "message"), [(torch.zeros(31, 64), "map"), (torch.full((32, 64), torch.nan), "finite")]
)
def test_a_map_that_does_not_fit_is_refused(building_map: torch.Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        TilePrediction.from_instances(instances(1), building_map)


def test_a_tensor_of_probabilities_is_kept_as_bytes() -> None:
    probs = torch.tensor([0.0, 0.5, 1.0, 1.2, 0.25]).reshape(5, 1, 1).expand(5, 32, 64)
    found = PixelPrediction.from_pixel_probs(probs.requires_grad_())
    assert found.building_map.shape == (32, 64) == found.shape
    assert found.damage_map.shape == (4, 32, 64)
    assert found.building_map.dtype == found.damage_map.dtype == np.uint8
    assert found.damage_map[:, 3, 4].tolist() == [128, 255, 255, 64]
