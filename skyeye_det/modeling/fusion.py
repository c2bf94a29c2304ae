"""Fusion of what is known of a building: its two images, it and its surroundings, it and its neighbours.

M buildings, C channels, R x R bins of the pooled ROI: every fusion of images maps pre (M, C, R, R) and
post (M, C, R, R) to (M, ``out_channels``, R, R).
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from skyeye_det.errors import InputError

HEADS = 4
"""Of each attention."""

_FEWEST_BINS = 1e-3
"""A region of less than this many bins counts as empty."""


class ConcatFusion(nn.Module):
    """Pre beside post, and beside their difference where that is wanted."""

    def __init__(self, channels: int, resolution: int, difference: bool = False):
        super().__init__()
        del resolution
        self.difference = difference
        self.out_channels = (3 if difference else 2) * channels

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        return torch.cat([pre, post, post - pre] if self.difference else [pre, post], dim=1)


class AttentionFusion(nn.Module):
    """Each pre bin seeks its counterpart among all post bins, then both are joined with their difference.

    Multi-head attention (Vaswani et al. 2017) with pre as query, post as key and value, and one learned
    position per bin: a post image shifted by some bins is brought back to the pre image before the
    comparison.
    """

    def __init__(self, channels: int, resolution: int, heads: int = HEADS):
        super().__init__()
        if channels % heads:
            raise InputError(
                "MODEL.DAMAGE_HEAD.FUSION attention: expected MODEL.FPN.OUT_CHANNELS to be a multiple of "
                f"{heads} (heads), found {channels}"
            )
        self.positions = nn.Parameter(torch.zeros(resolution * resolution, channels))
        nn.init.normal_(self.positions, std=0.02)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.out_channels = 3 * channels

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        queries, values = (features.flatten(2).transpose(1, 2) for features in (pre, post))
        aligned, _ = self.attention(
            queries + self.positions, values + self.positions, values, need_weights=False
        )
        aligned = aligned.transpose(1, 2).reshape(pre.shape)
        return torch.cat([pre, aligned, aligned - pre], dim=1)


FUSIONS: dict[str, Callable[[int, int], ConcatFusion | AttentionFusion]] = {
    "concat": ConcatFusion,
    "concat_diff": partial(ConcatFusion, difference=True),
    "attention": AttentionFusion,
}


def build_fusion(name: str, channels: int, resolution: int) -> ConcatFusion | AttentionFusion:
    """A fusion of ``FUSIONS`` for C ``channels`` and R ``resolution``; InputError for other names."""
    if name not in FUSIONS:
        raise InputError(f"MODEL.DAMAGE_HEAD.FUSION: expected one of {tuple(FUSIONS)}, found {name!r}")
    return FUSIONS[name](channels, resolution)


def pool_by_mask(features: Tensor, masks: Tensor) -> Tensor:
    """Means of the features over each building and over what surrounds it in its enlarged box.

    Debris, water and ash lie beside a building, so the enlarged box holds two things that a plain pooling
    mixes. Pooling by a mask: Dai, He & Sun 2015 (convolutional feature masking, arXiv:1412.1283).

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


class ObjectContext(nn.Module):
    """Multi-head attention over the buildings of an image, added to their feature vectors.

    Neighbours share a flood or a fire front. Relations of objects by attention: Vaswani et al. 2017
    (arXiv:1706.03762), Hu et al. 2018 (relation networks, arXiv:1711.11575), Yuan et al. 2018 and 2020
    (object context, arXiv:1809.00916; object-contextual representations, arXiv:1909.11065).

    Each head has a slope by which a neighbour's logit falls with the logarithm of the distance of the two box
    centres (cf. the linear slopes of Press et al. 2022, arXiv:2108.12409). Normalised before the
    attention (Xiong et al. 2020, arXiv:2002.04745); the output layer is zero at first, so the module starts
    as the identity. Memory grows with the square of the buildings of an image.

    In training the buildings are the foreground proposals, several of which overlap one building and share
    its class: attention then also averages over proposals of the same building, which inference, after NMS,
    does not offer.

    Args:
        dim: D, length of the feature vector of a building; InputError unless a multiple of ``HEADS``.
    """

    def __init__(self, dim: int):
        super().__init__()
        if dim % HEADS:
            raise InputError(
                "MODEL.DAMAGE_HEAD.OBJECT_CONTEXT: expected MODEL.DAMAGE_HEAD.FC_DIM to be a multiple of "
                f"{HEADS} (heads), found {dim}"
            )
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.qkv.weight)
        for zero in (self.qkv.bias, self.output.weight, self.output.bias):
            nn.init.zeros_(zero)
        self.slopes = nn.Parameter(2.0 ** -torch.arange(HEADS).float())

    def forward(self, features: Tensor, boxes: list[Tensor]) -> Tensor:
        """Maps (M, D), image by image, to (M, D); ``boxes`` are an image's (M_i, 4) XYXY px, M_i may be 0."""
        counts = [len(found) for found in boxes]
        padded = pad_sequence(list(self.qkv(self.norm(features)).split(counts)), batch_first=True)
        real = pad_sequence([features.new_ones(each, dtype=torch.bool) for each in counts], batch_first=True)
        queries, keys, values = padded.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        corners = pad_sequence(boxes, batch_first=True)
        centres = (corners[..., :2] + corners[..., 2:]).detach().float() / 2
        apart = torch.linalg.vector_norm(centres[:, :, None] - centres[:, None], dim=-1)
        # From 32 px on, about the side of a building, a neighbour counts as farther away.
        bias = -self.slopes[:, None, None] * torch.log1p(apart / 32)[:, None]
        # Not minus infinity: an image without buildings, beside others, has a row of nothing else, of which
        # some versions and devices make nan.
        bias = bias.to(queries.dtype).masked_fill(~real[:, None, None], torch.finfo(queries.dtype).min)
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return features + self.output(seen.transpose(1, 2).flatten(2)[real])
