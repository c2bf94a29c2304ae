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
from skyeye_det.modeling.alignment import build_alignment
from skyeye_det.modeling.fusion import build_fusion
from skyeye_det.modeling.mask_pooling import pool_by_mask
from skyeye_det.modeling.object_context import ObjectContext
from skyeye_det.modeling.ordinal import OrdinalPredictor, ordinal_loss, ordinal_probabilities


class DamageHead(nn.Module):
    """Aligns, fuses, convolves, compares, and predicts the damage of M buildings.

    Args:
        input_shape: C channels and R x R bins of the pooled features of one image.
        alignment: name of the alignment, see :mod:`skyeye_det.modeling.alignment`.
        mask_pooling: read the building's own pixels and its surroundings apart as well, see
            :mod:`skyeye_det.modeling.mask_pooling`; the mask is one more channel of the convolutions.
        object_context: the buildings of an image see each other, see
            :mod:`skyeye_det.modeling.object_context`.
        fusion: name of the fusion, see :mod:`skyeye_det.modeling.fusion`.
        ordinal: ordinal form, see :mod:`skyeye_det.modeling.ordinal`.
        num_conv: 3 x 3 convolutions after the fusion.
        conv_dim: their channels.
        fc_dim: length of the feature vector of a building.
        class_weights: weight of a building's loss by its true grade, 4 numbers.
        loss_weight: factor of the loss.

    Raises:
        InputError: alignment, fusion or ordinal form are unknown, their sizes do not fit, or there are not 4
            weights of 0 or more.

    Attributes:
        needs_masks: whether ``forward`` must be given masks.
    """

    class_weights: Tensor

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        fusion: str,
        ordinal: str,
        alignment: str = "none",
        mask_pooling: bool = False,
        object_context: bool = False,
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
        channels, bins = input_shape.channels, input_shape.height
        if min(bins, conv_dim, fc_dim) < 1 or num_conv < 0:
            raise InputError(
                "MODEL.DAMAGE_HEAD: expected POOLER_RESOLUTION, CONV_DIM and FC_DIM of 1 or more and "
                f"NUM_CONV of 0 or more, found {bins}, {conv_dim}, {fc_dim} and {num_conv}"
            )
        self.alignment = build_alignment(alignment, channels, bins)
        self.fusion = build_fusion(fusion, channels, bins)
        self.needs_masks = mask_pooling
        fused = self.fusion.out_channels
        # By mask pooling, the mask to the fused channels and two vectors to the flat features.
        extra_channels, extra_features = (1, 2 * fused) if mask_pooling else (0, 0)
        convs, conv_channels = _convolutions(fused + extra_channels, num_conv, conv_dim)
        flat = conv_channels * bins * bins + extra_features
        # One sequence whatever the options, so that the names of the weights stay the same.
        self.layers = nn.Sequential(*convs, nn.Flatten(), nn.Linear(flat, fc_dim), nn.ReLU(inplace=True))
        weight_init.c2_xavier_fill(self.layers[-2])
        self.object_context = ObjectContext(fc_dim) if object_context else None
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
            "alignment": head.ALIGNMENT,
            "mask_pooling": head.MASK_POOLING,
            "object_context": head.OBJECT_CONTEXT,
            "num_conv": head.NUM_CONV,
            "conv_dim": head.CONV_DIM,
            "fc_dim": head.FC_DIM,
            "class_weights": head.CLASS_WEIGHTS,
            "loss_weight": head.LOSS_WEIGHT,
        }

    def forward(self, pre: Tensor, post: Tensor, masks: Tensor | None, boxes: list[Tensor]) -> Tensor:
        """Maps pooled features to the logits of the ordinal form.

        Args:
            pre: (M, C, R, R) features of the enlarged boxes on the pre image, image by image.
            post: (M, C, R, R), the same boxes on the post image.
            masks: (M, 1, R, R), 0..1, each building's mask over its enlarged box; None where there are none,
                which ``needs_masks`` does not allow.
            boxes: the buildings' own boxes, an image's (M_i, 4) XYXY px each; M_i may be 0, their sum is M.

        Returns:
            (M, 3) or (M, 4) float32.
        """
        fused = self.fusion(pre, self.alignment(pre, post))
        if self.needs_masks:
            if masks is None:
                raise ValueError("mask pooling is on, and needs the buildings' masks; found None")
            flat = self.layers[:-2](torch.cat([fused, masks.to(fused.dtype)], dim=1))
            flat = torch.cat([flat, pool_by_mask(fused, masks)], dim=1)
        else:
            flat = self.layers[:-2](fused)
        features = self.layers[-2:](flat)
        if self.object_context is not None:
            features = self.object_context(features, boxes)
        return self.predictor(features).float()

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


def _convolutions(c_in: int, number: int, c_out: int) -> tuple[list[nn.Module], int]:
    """3 x 3 convolutions with ReLU, and the channels that they give; ``c_in`` where there are none."""
    layers: list[nn.Module] = []
    channels = [c_in] + [c_out] * number
    for before, after in pairwise(channels):
        conv = nn.Conv2d(before, after, 3, padding=1)
        weight_init.c2_msra_fill(conv)
        layers += [conv, nn.ReLU(inplace=True)]
    return layers, channels[-1]
