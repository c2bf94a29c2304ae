"""The semantic head of the hybrid: which pixels of the pre image are building, which a building's edge.

It supplies the recall that proposals lack on small buildings; the edges take touching buildings apart.

Shapes: N pairs, H x W px.
"""

from typing import Any

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.modeling.meta_arch.semantic_seg import SemSegFPNHead
from fvcore.nn import weight_init
from torch import Tensor, nn

from skyeye_det.errors import InputError
from skyeye_det.modeling.pixel_losses import PixelLosses, pixel_targets

MAP_CHANNELS = ("building", "seam")
"""What the channels of the map are."""

_FINE_CHANNELS = 16


@SEM_SEG_HEADS_REGISTRY.register()
class BuildingMapHead(SemSegFPNHead):
    """Panoptic FPN's head (Kirillov et al. 2019, arXiv:1901.02446) with a sub-pixel step to twice its stride.

    The median building is 35 px wide: at stride 4 its edge is a tenth of its area. A sub-pixel convolution
    (Shi et al. 2016, arXiv:1609.05158) and one 3 x 3 convolution at half the stride cost less than a decoder.

    Raises:
        InputError: there is no feature, or one finer than ``COMMON_STRIDE``.
    """

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        losses: PixelLosses,
        conv_dims: int,
        norm: str = "",
        **kwargs: Any,
    ):
        finest = min((shape.stride for shape in input_shape.values()), default=0)
        if not finest or finest < kwargs["common_stride"]:
            raise InputError(
                "MODEL.SEM_SEG_HEAD.IN_FEATURES: expected features of COMMON_STRIDE or coarser, "
                f"found stride {kwargs['common_stride']} and features {sorted(input_shape)}"
            )
        if norm == "GN" and conv_dims % 32:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.CONVS_DIM: expected a multiple of 32 with NORM GN, found {conv_dims}"
            )
        super().__init__(input_shape, conv_dims=conv_dims, norm=norm, **kwargs | {"num_classes": 1})
        # SemSegFPNHead's layers() ends in it.
        self.predictor = Conv2d(
            conv_dims,
            4 * _FINE_CHANNELS,
            3,
            padding=1,
            bias=not norm,
            norm=get_norm(norm, 4 * _FINE_CHANNELS),
            activation=F.relu,
        )
        fine = Conv2d(_FINE_CHANNELS, 2 * _FINE_CHANNELS, 3, padding=1, activation=F.relu)
        last = Conv2d(2 * _FINE_CHANNELS, len(MAP_CHANNELS), 1)
        for layer in (self.predictor, fine, last):
            weight_init.c2_msra_fill(layer)
        # Three pixels of a hundred are building: begin there, or the first iterations are spent on it.
        nn.init.constant_(last.bias, -2.0)
        self.finer = nn.Sequential(nn.PixelShuffle(2), fine, last)
        self.pixel_losses = losses

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        """Adds the losses to what SemSegFPNHead reads."""
        arguments = super().from_config(cfg, input_shape)
        return arguments | {"losses": PixelLosses(cfg.MODEL.SEM_SEG_HEAD.LOSSES, available=MAP_CHANNELS)}

    def forward(self, features: dict[str, Tensor], size: tuple[int, int]) -> Tensor:
        """Maps the pre features to logits (N, 2, H, W) float32, building and seam; ``size`` is (H, W)."""
        logits = self.finer(self.layers(features)).float()
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def losses(self, logits: Tensor, sem_seg: Tensor, seams: Tensor) -> dict[str, Tensor]:
        """Losses of (N, 2, H, W) logits against (N, H, W) ``sem_seg`` and ``seams`` of the mapper."""
        by_name = {name: logits[:, index : index + 1] for index, name in enumerate(MAP_CHANNELS)}
        losses = self.pixel_losses(by_name, pixel_targets(sem_seg, seams))
        return {name: loss * self.loss_weight for name, loss in losses.items()}
