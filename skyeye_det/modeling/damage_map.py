"""A second opinion on damage, pixel by pixel: a semantic map of damage over the pair.

The damage head reads a building as a whole, in a few bins; the map reads each pixel in its place, and learns
from all pixels of a large building. A building's opinion is the mean over its mask, and the two are pooled by
their logarithms (Genest and Zidek 1986, Statistical Science 1:114).

Shapes: N pairs, M buildings, h x w cells of the finest feature.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.structures import Instances
from fvcore.nn import weight_init
from torch import Tensor, nn

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError
from skyeye_det.modeling.backbones import POST_SUFFIX
from skyeye_det.modeling.pixel_losses import PixelLosses, pixel_targets

_GROUP = 8
"""Channels that GroupNorm takes together."""

_LOSSES = (("damage", "cross_entropy", 1.0), ("damage", "dice", 0.5))
"""Those of the semantic peers."""

_LEAST_PROBABILITY = 1e-3
"""Of a class in the pool: neither opinion rules a class out for the other."""

_FEWEST_CELLS = 1e-3
"""A mask of less than this many cells has no opinion."""


class DamageMapHead(nn.Module):
    """Features of the pair at all levels -> damage of each cell.

    Each level's pre, post and absolute difference are mixed by a 1 x 1 convolution, summed at the finest
    level's stride and convolved, in the manner of a panoptic FPN (Kirillov et al. 2019, arXiv:1901.02446).

    Args:
        input_shape: of the pre features, finest first.
        dim: channels, a multiple of 8.

    Raises:
        InputError: ``dim`` is no such number.
    """

    def __init__(self, input_shape: dict[str, ShapeSpec], dim: int):
        super().__init__()
        if dim < _GROUP or dim % _GROUP:
            raise InputError(
                f"MODEL.DAMAGE_HEAD.MAP_DIM: expected 0 (no map) or a multiple of {_GROUP}, found {dim}"
            )
        self.in_features = list(input_shape)
        self.stride = input_shape[self.in_features[0]].stride
        self.lateral = nn.ModuleList([nn.Conv2d(3 * each.channels, dim, 1) for each in input_shape.values()])
        layers: list[nn.Module] = [nn.ReLU(inplace=True)]
        for _ in range(2):
            conv = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
            layers += [conv, nn.GroupNorm(dim // _GROUP, dim), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(dim, NUM_DAMAGE_CLASSES, 1))
        for layer in (*self.lateral, *self.layers):
            if isinstance(layer, nn.Conv2d):
                weight_init.c2_msra_fill(layer)
        self.pixel_losses = PixelLosses(_LOSSES, ("damage",))

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Logits (N, 4, h, w) float32 of the damage that each cell has if it is building."""
        size = features[self.in_features[0]].shape[-2:]
        total: Tensor | None = None
        for name, mix in zip(self.in_features, self.lateral, strict=True):
            pre, post = features[name], features[name + POST_SUFFIX]
            mixed = mix(torch.cat([pre, post, (post - pre).abs()], dim=1))
            if total is None:
                total = mixed
            else:
                total = total + F.interpolate(mixed, size=size, mode="bilinear", align_corners=False)
        return self.layers(total).float()

    def losses(self, features: dict[str, Tensor], sem_seg: Tensor, seams: Tensor) -> dict[str, Tensor]:
        """``loss_damage_*`` of the classified building pixels in (N, H, W) targets of the mapper."""
        logits = F.interpolate(self(features), size=sem_seg.shape[-2:], mode="bilinear", align_corners=False)
        return self.pixel_losses({"damage": logits}, pixel_targets(sem_seg, seams))

    def advise(self, features: dict[str, Tensor], graded: Sequence[Instances]) -> None:
        """Pools the map's opinion into ``pred_damage_probs`` (M, 4) and ``pred_damage`` of each pair.

        Args:
            features: of the N pairs.
            graded: with ``pred_boxes`` (M, 4) XYXY px, ``pred_masks`` (M, 1, S, S), and what is changed. A
                building whose mask is empty keeps its own opinion.
        """
        probs = self(features).softmax(dim=1)
        for image, found in zip(probs, graded, strict=True):
            masks = found.pred_masks.float()
            seen = ROIAlign(masks.shape[-2:], 1 / self.stride, sampling_ratio=1)(
                image[None], F.pad(found.pred_boxes.tensor.float(), (1, 0))
            )
            weight = masks.sum(dim=(2, 3))
            opinion = (seen * masks).sum(dim=(2, 3)) / weight.clamp(min=_FEWEST_CELLS)
            both = torch.stack([found.pred_damage_probs, opinion]).clamp(min=_LEAST_PROBABILITY)
            pooled = both.log().mean(dim=0).softmax(dim=1)
            pooled = torch.where(weight >= _FEWEST_CELLS, pooled, found.pred_damage_probs)
            found.pred_damage_probs, found.pred_damage = pooled, pooled.argmax(dim=1)
