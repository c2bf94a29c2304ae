"""How far the post image of a pair lies from its pre image: one shift a tile, from the features."""

import torch
import torch.nn.functional as F
from torch import Tensor

REACH = 4
"""Cells along each axis within which the shift is looked for: 16 px at stride 4."""

_EVERY = 2
"""Only every second cell of pre is compared, along each axis: a quarter of the cost."""

_LEAD = 1e-4
"""Lead of no shift, for tiles that show nothing."""


def tile_shift(pre: Tensor, post: Tensor) -> Tensor:
    """Finds where post shows what pre shows, by the mean cosine of their features.

    xBD's outlines were moved by one shift per event, so what is left is nearly the same all over a tile. The
    best whole cell is refined by a parabola through its neighbours, as in image registration (Foroosh et
    al. 2002, doi 10.1109/83.988953, name the method and better ones).

    Args:
        pre: (N, C, H, W) features.
        post: the same.

    Returns:
        (N, 2) float32, (dx, dy) in cells by which post lies to the right of and below pre, within ``REACH``.
    """
    pre = F.normalize(pre.float(), dim=1)[:, :, ::_EVERY, ::_EVERY]
    padded = F.pad(F.normalize(post.float(), dim=1), (REACH,) * 4)
    side = 2 * REACH + 1
    height, width = pre.shape[-2] * _EVERY, pre.shape[-1] * _EVERY
    scores = pre.new_empty(len(pre), side, side)
    for dy in range(side):
        for dx in range(side):
            moved = padded[:, :, dy : dy + height : _EVERY, dx : dx + width : _EVERY]
            there = pre[:, :, : moved.shape[2], : moved.shape[3]]
            # What moved in from outside is zero: it counts neither for nor against a shift.
            known = (moved != 0).any(dim=1).sum(dim=(1, 2)).clamp(min=1)
            scores[:, dy, dx] = (there * moved).sum(dim=(1, 2, 3)) / known
    scores[:, REACH, REACH] += _LEAD
    return _refined_peak(scores)


def _refined_peak(scores: Tensor) -> Tensor:
    """(N, S, S) scores by dy and dx -> (N, 2) place (dx, dy) of the peak from the middle, below one cell."""
    count, side, _ = scores.shape
    best = scores.flatten(1).argmax(dim=1)
    rows, columns = best // side, best % side
    each = torch.arange(count, device=scores.device)
    along = scores[each, rows], scores[each, :, columns]
    places = []
    for line, peak in zip(along, (columns, rows), strict=True):
        inner = peak.clamp(1, side - 2)
        before, at, after = (line[each, inner + step] for step in (-1, 0, 1))
        bend = (before - 2 * at + after).clamp(max=-1e-6)
        finer = (0.5 * (before - after) / bend).clamp(-0.5, 0.5)
        places.append(torch.where(peak == inner, inner + finer, peak.float()) - REACH)
    return torch.stack(places, dim=1)
