"""Alignment of post features to pre features, against misregistration: of each building, or of a whole tile.

M buildings, C channels, R x R bins of the pooled ROI, of the same box in both images: every module here maps
pre (M, C, R, R) and post (M, C, R, R) to post as it would be, were its image registered to the pre image,
(M, C, R, R). Shifts are sought within ``MAX_SHIFT`` bins: with the enlarged box of a 30 px building on
7 x 7 bins, 12 px. What the shift moved out of the box cannot be brought back; the outermost bins are repeated
in its place.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import Tensor, nn

from skyeye_det.errors import InputError

MAX_SHIFT = 2
"""Farthest place, in bins along each axis, at which a bin seeks its counterpart."""

MAX_TILE_SHIFT = 4
"""Cells along each axis within which a tile's shift is sought: 16 px at stride 4."""


class NoAlignment(nn.Module):
    """Post as it is."""

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        del channels, resolution

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        del pre
        return post


class DeformableAlignment(nn.Module):
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
        first = nn.Conv2d(2 * channels, 32, 1)
        second = nn.Conv2d(32, 32, 3, padding=1)
        last = nn.Conv2d(32, 2, 3, padding=1)
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


class CorrelationAlignment(nn.Module):
    """One shift for the whole ROI, from the local correlation of pre and post.

    The correlation of a shift is the cosine of each pre bin and the post bin at that shift, averaged over the
    ROI: over the surroundings too, which a disaster changes less than the building. A softmax over
    the shifts weighs the shifted copies of post, so half a bin is possible too, and all is differentiable.
    Correlation within a small window: Dosovitskiy et al. 2015 (FlowNet, arXiv:1504.06852); softmax in
    place of the largest: Kendall et al. 2017 (arXiv:1703.04309). Two parameters: the (log) inverse
    temperature of the cosines, and the lead that the zero shift has.
    """

    def __init__(self, channels: int, resolution: int):
        super().__init__()
        del channels, resolution
        self.log_scale = nn.Parameter(torch.tensor(3.0))
        self.stay = nn.Parameter(torch.tensor(1.0))

    def forward(self, pre: Tensor, post: Tensor) -> Tensor:
        """See the module's docstring."""
        height, width = post.shape[-2:]
        padded = F.pad(post, (MAX_SHIFT,) * 4, mode="replicate")
        aligned = torch.zeros_like(post)
        weights = self.shift_weights(pre, post).to(post.dtype).unbind(dim=1)
        for (dy, dx), weight in zip(_shifts(MAX_SHIFT), weights, strict=True):
            moved = padded[..., dy : dy + height, dx : dx + width]
            aligned = torch.addcmul(aligned, weight[:, None, None, None], moved)
        return aligned

    def shift_weights(self, pre: Tensor, post: Tensor) -> Tensor:
        """How far post has moved: weights of the shifts, (M, S^2) float32, each row summing to 1.

        S = 2 * MAX_SHIFT + 1; rows of ``dy`` by columns of ``dx``, both from -MAX_SHIFT to MAX_SHIFT.
        """
        logits = _mean_cosines(pre, post, MAX_SHIFT) * self.log_scale.exp()
        is_zero_shift = torch.arange(logits.shape[1], device=logits.device) == logits.shape[1] // 2
        return (logits + self.stay * is_zero_shift).softmax(dim=1)


def tile_shift(pre: Tensor, post: Tensor) -> Tensor:
    """Finds where post shows what pre shows, by the mean cosine of their features: one shift a tile.

    xBD's outlines were moved by one shift per event, so what is left is nearly the same all over a tile. The
    best whole cell is refined by a parabola through its neighbours, as in image registration (Foroosh et
    al. 2002, doi 10.1109/83.988953, name the method and better ones).

    Returns:
        For features (N, C, H, W): (N, 2) float32, (dx, dy) in cells by which post lies to the right of and
        below pre, within ``MAX_TILE_SHIFT``.
    """
    side = 2 * MAX_TILE_SHIFT + 1
    # Every second cell along each axis: a quarter of the cost.
    scores = _mean_cosines(pre, post, MAX_TILE_SHIFT, every=2).unflatten(1, (side, side))
    scores[:, MAX_TILE_SHIFT, MAX_TILE_SHIFT] += 1e-4  # no shift leads, for tiles that show nothing
    best = scores.flatten(1).argmax(dim=1)
    rows, columns = best // side, best % side
    each = torch.arange(len(scores), device=scores.device)
    places = []
    for line, peak in ((scores[each, rows], columns), (scores[each, :, columns], rows)):
        inner = peak.clamp(1, side - 2)
        before, at, after = (line[each, inner + step] for step in (-1, 0, 1))
        bend = (before - 2 * at + after).clamp(max=-1e-6)
        finer = (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
        places.append(torch.where(peak == inner, inner + finer, peak.float()) - MAX_TILE_SHIFT)
    return torch.stack(places, dim=1)


def _mean_cosines(pre: Tensor, post: Tensor, reach: int, every: int = 1) -> Tensor:
    """(N, C, H, W) of both -> (N, S^2) float32, of each shift of ``reach`` cells in the order of ``_shifts``.

    Only each ``every``-th row and column of pre is compared.
    """
    pre = F.normalize(pre.float(), dim=1)[:, :, ::every, ::every]
    padded = F.pad(F.normalize(post.float(), dim=1), (reach,) * 4)
    known = (padded != 0).any(dim=1)  # what moves in from outside counts neither for nor against a shift
    height, width = pre.shape[-2] * every, pre.shape[-1] * every
    means = []
    for dy, dx in _shifts(reach):
        rows, columns = slice(dy, dy + height, every), slice(dx, dx + width, every)
        moved = padded[:, :, rows, columns]
        there = pre[:, :, : moved.shape[2], : moved.shape[3]]
        cells = known[:, rows, columns].sum(dim=(1, 2)).clamp(min=1)
        means.append((there * moved).sum(dim=(1, 2, 3)) / cells)
    return torch.stack(means, dim=1)


def _shifts(reach: int) -> list[tuple[int, int]]:
    """Every (dy, dx), counted from ``-reach``."""
    steps = range(2 * reach + 1)
    return [(dy, dx) for dy in steps for dx in steps]


ALIGNMENTS: dict[str, Callable[[int, int], nn.Module]] = {
    "none": NoAlignment,
    "deformable": DeformableAlignment,
    "correlation": CorrelationAlignment,
    "tile": NoAlignment,  # the ROI heads have moved the boxes in the post image by ``tile_shift``
}


def build_alignment(name: str, channels: int, resolution: int) -> nn.Module:
    """An alignment of ``ALIGNMENTS`` for C ``channels`` and R ``resolution``; InputError for other names."""
    if name not in ALIGNMENTS:
        raise InputError(f"MODEL.DAMAGE_HEAD.ALIGNMENT: expected one of {tuple(ALIGNMENTS)}, found {name!r}")
    return ALIGNMENTS[name](channels, resolution)
