"""Pooling of a building's own pixels and of its surroundings, apart, by its mask.

Debris, water and ash lie beside a building, so the enlarged box holds two things that a plain pooling mixes.
Pooling by a mask: Dai, He & Sun 2015 (convolutional feature masking, arXiv:1412.1283).
"""

import torch
from torch import Tensor

_FEWEST_BINS = 1e-3
"""A region of less than this many bins counts as empty."""


def pool_by_mask(features: Tensor, masks: Tensor) -> Tensor:
    """Means of the features over each building and over what surrounds it in its enlarged box.

    Args:
        features: (M, C, R, R).
        masks: (M, 1, R, R), 0..1: share of the building in each bin, which is the bin's weight; 1 - mask is
            its weight in the surroundings.

    Returns:
        (M, 2 * C), the building's own first. A region without a pixel (an empty mask, or one that fills the
        box) has the plain mean over all bins, since there is nothing of its own to read.
    """
    own = masks.flatten(2).float()
    weights = torch.cat([own, 1 - own], dim=1)
    total = weights.sum(dim=2, keepdim=True)
    plain = torch.full_like(weights, 1 / weights.shape[2])
    weights = torch.where(total > _FEWEST_BINS, weights / total.clamp(min=_FEWEST_BINS), plain)
    return torch.bmm(weights.to(features.dtype), features.flatten(2).transpose(1, 2)).flatten(1)
