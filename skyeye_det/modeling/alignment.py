"""Alignment of the post features of a building to its pre features, against misregistration.

M buildings, C channels, R x R bins of the pooled ROI, of the same box in both images: every alignment maps
pre (M, C, R, R) and post (M, C, R, R) to post as it would be, were its image registered to the pre image,
(M, C, R, R). Shifts are looked for within ``MAX_SHIFT`` bins: with the enlarged box of a 30 px building on
7 x 7 bins, 12 px. What the shift moved out of the box is not there to be brought back; the outermost bins
are repeated in its place.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import Tensor, nn

from skyeye_det.errors import InputError

MAX_SHIFT = 2
"""Farthest place, in bins along each axis, at which a bin looks for its counterpart."""

_OFFSET_DIM = 32
"""Channels of the convolutions that predict the offsets."""


class Alignment(nn.Module):
    """What every alignment has in common: ``forward(pre, post)``, see the module's docstring."""


class NoAlignment(Alignment):
    """Post as it is."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        del channels, resolution

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        del pre
        return post


class DeformableAlignment(Alignment):
    """Each bin reads post at a place of its own, predicted from both.

    A deformable convolution (Dai et al. 2017, arXiv:1703.06211; for alignment Tian et al. 2020,
    arXiv:1812.02898) whose kernel is one bin, the identity: what mixes bins and channels follows in the head.
    It is computed by ``grid_sample``, which gives what ``torchvision.ops.deform_conv2d`` does in a fifth of
    the time on a CPU, and repeats the outermost bins instead of reading zeros. Starts as the identity; no
    offset exceeds ``MAX_SHIFT``.
    """

    grid: Tensor

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        first = nn.Conv2d(2 * channels, _OFFSET_DIM, 1)
        second = nn.Conv2d(_OFFSET_DIM, _OFFSET_DIM, 3, padding=1)
        last = nn.Conv2d(_OFFSET_DIM, 2, 3, padding=1)
        weight_init.c2_msra_fill(first)
        weight_init.c2_msra_fill(second)
        for parameter in last.parameters():
            nn.init.zeros_(parameter)
        relu = nn.ReLU(inplace=True)
        self.offsets = nn.Sequential(first, relu, second, relu, last)
        # Centres of the bins as grid_sample wants them: (R, R, xy), -1..1 from edge to edge of the ROI.
        centres = (2 * torch.arange(resolution) + 1) / resolution - 1
        grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
        self.register_buffer("grid", grid, persistent=False)
        self.reach = MAX_SHIFT * 2 / resolution

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        offsets = self.offsets(torch.cat([pre, post], dim=1)).float().tanh() * self.reach
        places = self.grid + offsets.permute(0, 2, 3, 1)
        found = F.grid_sample(post.float(), places, padding_mode="border", align_corners=False)
        return found.to(post.dtype)


class CorrelationAlignment(Alignment):
    """One shift for the whole ROI, from the local correlation of pre and post.

    The correlation of a shift is the cosine of each pre bin and the post bin at that shift, averaged over the
    ROI: over the surroundings too, which a disaster changes less than the building. A softmax over
    the shifts weighs the shifted copies of post, so half a bin is possible too, and all is differentiable.
    Correlation within a small window: Dosovitskiy et al. 2015 (FlowNet, arXiv:1504.06852); softmax in
    place of the largest: Kendall et al. 2017 (arXiv:1703.04309). Two parameters: the (log) inverse
    temperature of the cosines, and the lead that the zero shift has.
    """

    inside: Tensor
    moves: Tensor
    is_zero_shift: Tensor

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        del channels
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        self.stay = nn.Parameter(torch.tensor(1.0))
        inside, moves = _shift_tables(resolution)
        self.register_buffer("inside", inside, persistent=False)
        self.register_buffer("moves", moves, persistent=False)
        middle = torch.arange(len(inside)) == len(inside) // 2
        self.register_buffer("is_zero_shift", middle.float(), persistent=False)

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        sources = (self.shift_weights(pre, post) @ self.moves.flatten(1)).unflatten(1, self.moves.shape[1:])
        return torch.bmm(post.flatten(2), sources.to(post.dtype).transpose(1, 2)).reshape(post.shape)

    def shift_weights(self, pre: Tensor, post: Tensor) -> Tensor:
        """How far post has moved: weights of the shifts, (M, S^2) float32, each row summing to 1.

        S = 2 * MAX_SHIFT + 1; rows of ``dy`` by columns of ``dx``, both from -MAX_SHIFT to MAX_SHIFT.
        """
        pre, post = (F.normalize(features.flatten(2).float(), dim=1) for features in (pre, post))
        cosines = torch.bmm(pre.transpose(1, 2), post).float()
        # Fewer bins have a counterpart the farther the shift; none, where the ROI has too few bins.
        bins = self.inside.sum(dim=(1, 2)).clamp(min=1)
        correlation = cosines.flatten(1) @ self.inside.flatten(1).T / bins
        logits = correlation.float() * self.log_scale.exp() + self.stay * self.is_zero_shift
        return logits.softmax(dim=1)


def _shift_tables(resolution: int) -> tuple[Tensor, Tensor]:
    """For shifts S and bins P = R * R: (S, P, P) each, 1 where a bin's counterpart is that bin.

    A bin whose counterpart lies outside the ROI has none in the first, and the nearest on the edge in the
    second.
    """
    rows = torch.arange(resolution)
    steps = torch.arange(-MAX_SHIFT, MAX_SHIFT + 1)
    wanted = rows + steps[:, None]
    exact = (wanted[:, :, None] == rows).float()
    nearest = (wanted.clamp(0, resolution - 1)[:, :, None] == rows).float()
    shape = (len(steps) ** 2, resolution**2, resolution**2)
    inside, moves = (
        torch.einsum("apq,bxy->abpxqy", table, table).reshape(shape) for table in (exact, nearest)
    )
    return inside, moves


ALIGNMENTS: dict[str, Callable[[int, int], Alignment]] = {
    "none": NoAlignment,
    "deformable": DeformableAlignment,
    "correlation": CorrelationAlignment,
    # The ROI heads have moved the boxes in the post image by then: see skyeye_det.modeling.tile_shift.
    "tile": NoAlignment,
}


def build_alignment(name: str, channels: int, resolution: int) -> Alignment:
    """Builds an alignment by name.

    Args:
        name: a key of ``ALIGNMENTS``.
        channels: C.
        resolution: R.

    Raises:
        InputError: there is no alignment of that name.
    """
    if name not in ALIGNMENTS:
        raise InputError(f"MODEL.DAMAGE_HEAD.ALIGNMENT: expected one of {tuple(ALIGNMENTS)}, found {name!r}")
    return ALIGNMENTS[name](channels, resolution)
