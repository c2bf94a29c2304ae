"""Alignment of post features to pre features, against misregistration of each building.

M buildings, C channels, R x R bins of the pooled ROI, of the same box in both images: every module here maps
pre (M, C, R, R) and post (M, C, R, R) to post as it would be, were its image registered to the pre image,
(M, C, R, R). Shifts are sought within ``MAX_SHIFT`` bins: with the enlarged box of a 30 px building on
7 x 7 bins, 12 px. What the shift moved out of the box cannot be brought back; the outermost bins are repeated
in its place.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from skyeye_det.errors import InputError

MAX_SHIFT = 2
"""Largest shift sought, in bins along each axis."""

_SHIFTS = [(dy, dx) for dy in range(2 * MAX_SHIFT + 1) for dx in range(2 * MAX_SHIFT + 1)]
"""Every (dy, dx), counted from ``-MAX_SHIFT``."""


class NoAlignment(nn.Module):
    """Post as it is."""

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        del pre
        return post


class CorrelationAlignment(nn.Module):
    """One shift for the whole ROI, from the local correlation of pre and post.

    The correlation of a shift is the cosine of each pre bin and the post bin at that shift, averaged over the
    ROI: over the surroundings too, which a disaster changes less than the building. A softmax over
    the shifts weighs the shifted copies of post, so half a bin is possible too, and all is differentiable.
    Correlation within a small window: Dosovitskiy et al. 2015 (FlowNet, arXiv:1504.06852); softmax in
    place of the largest: Kendall et al. 2017 (arXiv:1703.04309). Two parameters: the (log) inverse
    temperature of the cosines, and the lead that the zero shift has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        self.stay = nn.Parameter(torch.tensor(1.0))

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        height, width = post.shape[-2:]
        padded = F.pad(post, (MAX_SHIFT,) * 4, mode="replicate")
        aligned = torch.zeros_like(post)
        weights = self.shift_weights(pre, post).to(post.dtype).unbind(dim=1)
        for (dy, dx), weight in zip(_SHIFTS, weights, strict=True):
            moved = padded[..., dy : dy + height, dx : dx + width]
            aligned = torch.addcmul(aligned, weight[:, None, None, None], moved)
        return aligned

    def shift_weights(self, pre: Tensor, post: Tensor) -> Tensor:
        """How far post has moved: weights of the shifts, (M, S^2) float32, each row summing to 1.

        S = 2 * MAX_SHIFT + 1; rows of ``dy`` by columns of ``dx``, both from -MAX_SHIFT to MAX_SHIFT.
        """
        logits = _mean_cosines(pre, post) * self.log_scale.exp()
        is_zero_shift = torch.arange(logits.shape[1], device=logits.device) == logits.shape[1] // 2
        return (logits + self.stay * is_zero_shift).softmax(dim=1)


def _mean_cosines(pre: Tensor, post: Tensor) -> Tensor:
    """(M, C, R, R) of both -> (M, S^2) float32, of each of ``_SHIFTS``."""
    pre = F.normalize(pre.float(), dim=1)
    padded = F.pad(F.normalize(post.float(), dim=1), (MAX_SHIFT,) * 4)
    known = (padded != 0).any(dim=1)  # what moves in from outside counts neither for nor against a shift
    height, width = pre.shape[-2:]
    means = []
    for dy, dx in _SHIFTS:
        rows, columns = slice(dy, dy + height), slice(dx, dx + width)
        cells = known[:, rows, columns].sum(dim=(1, 2)).clamp(min=1)
        means.append((pre * padded[:, :, rows, columns]).sum(dim=(1, 2, 3)) / cells)
    return torch.stack(means, dim=1)


ALIGNMENTS: dict[str, Callable[[], nn.Module]] = {
    "none": NoAlignment,
    "correlation": CorrelationAlignment,
}


def build_alignment(name: str) -> nn.Module:
    """An alignment of ``ALIGNMENTS``; InputError for other names."""
    if name not in ALIGNMENTS:
        raise InputError(f"MODEL.DAMAGE_HEAD.ALIGNMENT: expected one of {tuple(ALIGNMENTS)}, found {name!r}")
    return ALIGNMENTS[name]()
