"""The damage head: pooled pre and post features of a building -> ordinal damage."""

from itertools import pairwise

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.structures import Instances
from fvcore.nn import weight_init
from torch import Tensor, nn

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError
from skyeye_det.modeling.fusion import build_fusion
from skyeye_det.modeling.ordinal import OrdinalPredictor, ordinal_loss, ordinal_probabilities


class DamageHead(nn.Module):
    """Fuses, convolves, and predicts the damage of M buildings.

    Args:
        input_shape: C channels and R x R bins of the pooled features of one image.
        fusion: name of the fusion, see :mod:`skyeye_det.modeling.fusion`.
        ordinal: ordinal form, see :mod:`skyeye_det.modeling.ordinal`.
        num_conv: 3 x 3 convolutions after the fusion.
        conv_dim: their channels.
        fc_dim: length of the feature vector of a building.
        class_weights: weight of a building's loss by its true grade, 4 numbers.
        loss_weight: factor of the loss.

    Raises:
        InputError: fusion or ordinal form are unknown, or there are not 4 weights of 0 or more.
    """

    class_weights: Tensor

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        fusion: str,
        ordinal: str,
        num_conv: int,
        conv_dim: int,
        fc_dim: int,
        class_weights: list[float],
        loss_weight: float = 1.0,
    ):
        super().__init__()
        if len(class_weights) != NUM_DAMAGE_CLASSES or min(class_weights) < 0:
            raise InputError(
                f"MODEL.DAMAGE_HEAD.CLASS_WEIGHTS: expected {NUM_DAMAGE_CLASSES} numbers of 0 or more "
                f"(no-damage to destroyed), found {list(class_weights)}"
            )
        self.fusion = build_fusion(fusion, input_shape.channels, input_shape.height)
        channels = [self.fusion.out_channels] + [conv_dim] * num_conv
        layers: list[nn.Module] = []
        for c_in, c_out in pairwise(channels):
            layers += [nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(inplace=True)]
            weight_init.c2_msra_fill(layers[-2])
        flat = channels[-1] * input_shape.height * input_shape.width
        fc = nn.Linear(flat, fc_dim)
        weight_init.c2_xavier_fill(fc)
        self.layers = nn.Sequential(*layers, nn.Flatten(), fc, nn.ReLU(inplace=True))
        self.predictor = OrdinalPredictor(fc_dim, ordinal)
        self.ordinal = ordinal
        self.loss_weight = loss_weight
        self.register_buffer(
            "class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False
        )

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        """Translates ``MODEL.DAMAGE_HEAD``."""
        head = cfg.MODEL.DAMAGE_HEAD
        return {
            "input_shape": input_shape,
            "fusion": head.FUSION,
            "ordinal": head.ORDINAL,
            "num_conv": head.NUM_CONV,
            "conv_dim": head.CONV_DIM,
            "fc_dim": head.FC_DIM,
            "class_weights": head.CLASS_WEIGHTS,
            "loss_weight": head.LOSS_WEIGHT,
        }

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """Maps pooled features, (M, C, R, R) each, to the logits of the ordinal form, (M, 3) or (M, 4)."""
        return self.predictor(self.layers(self.fusion(pre, post)))

    def losses(self, logits: Tensor, damage: Tensor) -> dict[str, Tensor]:
        """Loss of (M, ...) logits against (M,) grades; -1 is ignored."""
        loss = ordinal_loss(logits, damage, self.class_weights, self.ordinal)
        return {"loss_damage": loss * self.loss_weight}

    def inference(self, logits: Tensor, instances: list[Instances]) -> None:
        """Sets ``pred_damage_probs`` (M_i, 4) float32 and ``pred_damage`` (M_i,) int64 on each image."""
        probabilities = ordinal_probabilities(logits, self.ordinal)
        for found, probs in zip(instances, probabilities.split([len(i) for i in instances]), strict=True):
            found.pred_damage_probs = probs
            found.pred_damage = probs.argmax(dim=1)
