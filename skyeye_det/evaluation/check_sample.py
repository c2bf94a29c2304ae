"""Which buildings a person should check, so that their answers tell of all: a stratified random sample.

Strata are the model's grades, each by how likely the model holds it; numbers are proportional to the strata's
sizes, with a least number in each (Cochran 1977, chapter 5; Olofsson et al. 2014).
"""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

SMALLEST = 20
"""Buildings of a sample; fewer say nothing."""

BANDS = (0.6, 0.9)
"""Probabilities of its grade that part the buildings of a grade."""

_LEAST = 3
"""Buildings of each stratum; as many as there are of a smaller one."""

_MOST_SHARE = 0.3
"""Of the sample, for the least numbers; where they would take more, the bands of a grade are one stratum."""


def strata(grades: Ints, probs: Floats, size: int) -> Ints:
    """The stratum of each building.

    Args:
        grades: (N,), the model's, 0..3.
        probs: (N, 4), of the grades.
        size: of the sample.

    Returns:
        (N,), grade x 3 + band, or grade x 3 where the bands are one.
    """
    kinds = len(BANDS) + 1
    banded = grades * kinds + np.digitize(np.take_along_axis(probs, grades[:, None], axis=1)[:, 0], BANDS)
    sizes = np.bincount(banded)
    return banded if np.minimum(sizes, _LEAST).sum() <= _MOST_SHARE * size else grades * kinds


def grade_of(stratum: Ints) -> Ints:
    """The model's grade, 0..3, of the buildings of strata."""
    return stratum // (len(BANDS) + 1)


def allocate(sizes: Ints, size: int) -> Ints:
    """How many buildings of each stratum are drawn.

    Args:
        sizes: (H,), of the strata, 1 or more each.
        size: of the sample; all buildings where there are no more.

    Returns:
        (H,), as near to proportional as the least numbers allow.
    """
    size = min(size, int(sizes.sum()))
    share = size * sizes / sizes.sum()
    least = np.minimum(sizes, _LEAST)
    drawn = np.clip(np.floor(share).astype(np.int64), least, sizes)
    while (left := size - int(drawn.sum())) != 0:
        if left > 0:
            drawn[np.where(drawn < sizes, share - drawn, -np.inf).argmax()] += 1
        else:
            drawn[np.where(drawn > least, drawn - share, -np.inf).argmax()] -= 1
    return drawn


def draw(stratum: Ints, size: int, seed: int) -> Ints:
    """Draws buildings.

    Args:
        stratum: (N,), of each building.
        size: of the sample, at least as many as the strata's least numbers.
        seed: the same one draws the same.

    Returns:
        Numbers of buildings, at random within each stratum; whoever checks them in this order and stops has
        checked about the same share of all strata.
    """
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(len(stratum))
    codes, sizes = np.unique(stratum, return_counts=True)
    if not len(codes):
        return shuffled
    chosen, turns = [], []
    for code, count in zip(codes.tolist(), allocate(sizes, size).tolist(), strict=True):
        chosen.append(shuffled[stratum[shuffled] == code][:count])
        turns.append((np.arange(count) + 0.5) / count)
    return np.concatenate(chosen)[np.argsort(np.concatenate(turns), kind="stable")]
