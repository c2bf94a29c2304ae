"""Groups of labels that are left out together in cross-validation."""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 3

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]


def random_groups(count: int) -> Ints:
    """Up to eight groups (N,) of equal size."""
    return np.random.default_rng(0).permutation(count) % 2**_ROUNDS


def groups_in_place(places: Floats) -> Ints:
    """Groups of neighbours (N,), up to eight of equal size: halved along the longer side again and again."""
    groups = np.zeros(len(places), np.int64)
    for _ in range(_ROUNDS):
        halves = groups * 2
        for group in np.unique(groups):
            there = np.flatnonzero(groups == group)
            along = places[there, np.ptp(places[there], axis=0).argmax()]
            halves[there[np.argsort(along, kind="stable")[len(there) // 2 :]]] += 1
        groups = halves
    return groups
