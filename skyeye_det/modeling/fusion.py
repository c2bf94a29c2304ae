"""Fusion of the pre and post features of a building.

M buildings, C channels, R x R bins of the pooled ROI: every fusion maps pre (M, C, R, R) and
post (M, C, R, R) to (M, ``out_channels``, R, R).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from skyeye_det.errors import InputError


class Fusion(nn.Module):
    """What every fusion has in common; ``out_channels`` is the number of channels that it gives."""

    out_channels: int


class ConcatFusion(Fusion):
    """Pre beside post."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        del resolution
        self.out_channels = 2 * channels

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        return torch.cat([pre, post], dim=1)


class ConcatDifferenceFusion(Fusion):
    """Pre beside post beside their difference."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        del resolution
        self.out_channels = 3 * channels

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        return torch.cat([pre, post, post - pre], dim=1)


class AttentionFusion(Fusion):
    """Each pre bin looks for its counterpart among all post bins, then both are joined with their difference.

    Multi-head attention (Vaswani et al. 2017) with pre as query, post as key and value, and one learned
    position per bin: a post image shifted by some bins is brought back to the pre image before the
    comparison.
    """

    def __init__(self, channels: int, resolution: int, heads: int = 4):
        super().__init__()
        if channels % heads:
            raise InputError(
                "MODEL.DAMAGE_HEAD.FUSION attention: expected MODEL.FPN.OUT_CHANNELS to be a multiple of "
                f"{heads} (heads), "
                f"found {channels}"
            )
        self.positions = nn.Parameter(torch.zeros(resolution * resolution, channels))
        nn.init.normal_(self.positions, std=0.02)
        self.attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.out_channels = 3 * channels

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        queries = pre.flatten(2).transpose(1, 2)
        values = post.flatten(2).transpose(1, 2)
        aligned, _ = self.attention(
            queries + self.positions, values + self.positions, values, need_weights=False
        )
        aligned = aligned.transpose(1, 2).reshape(pre.shape)
        return torch.cat([pre, aligned, aligned - pre], dim=1)


FUSIONS: dict[str, Callable[[int, int], Fusion]] = {
    "concat": ConcatFusion,
    "concat_diff": ConcatDifferenceFusion,
    "attention": AttentionFusion,
}


def build_fusion(name: str, channels: int, resolution: int) -> Fusion:
    """Builds a fusion by name.

    Args:
        name: a key of ``FUSIONS``.
        channels: C.
        resolution: R.

    Raises:
        InputError: there is no fusion of that name.
    """
    if name not in FUSIONS:
        raise InputError(f"MODEL.DAMAGE_HEAD.FUSION: expected one of {tuple(FUSIONS)}, found {name!r}")
    return FUSIONS[name](channels, resolution)
