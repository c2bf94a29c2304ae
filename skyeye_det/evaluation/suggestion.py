"""Which buildings to label next: uncertain, unlike those with a label, spread over the map.

Greedy k-centre choice (Gonzalez 1985), by which Sener and Savarese (2018) choose labels in a network's
features: the next is the one farthest from all that are labelled or chosen. The distance is multiplied by the
entropy of the model's probabilities (uncertainty sampling, Settles 2009), and by up to two where the place is
far from theirs.

Labels of such a choice say nothing of how frequent grades are: they never count as a random sample.
``tools/benchmark/adaptation.py`` measures what they are worth.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]

_MOST = 10_000
"""Buildings that are compared; of more, so many at random."""

_MOST_KNOWN = 1000
"""Buildings with a label that they are compared with; of more, so many at random."""

_LEAST = 1e-3
"""Of entropy and distance, so that the other still tells where one is nothing."""


def suggest(probs: Floats, features: Floats, places: Floats, known: NDArray[np.bool_], count: int) -> Ints:
    """Chooses buildings to label.

    Args:
        probs: (N, 4), of the grades.
        features: (N, D), that the grades were read from; D may be 0.
        places: (N, P), east and north or the like, in one unit.
        known: (N,), whether a building has a label, or needs none; these are not chosen.
        count: how many; all that are not known where there are fewer.

    Returns:
        Their numbers, the best to label first; the same input gives the same.
    """
    open_ones, labelled = (
        np.random.default_rng(0).permutation(np.flatnonzero(each))[:most]
        for each, most in ((~known, _MOST), (known, _MOST_KNOWN))
    )
    if not len(open_ones):
        return open_ones
    looks = np.asarray(features, np.float32)
    spread = float(np.sqrt(looks[open_ones].var(axis=0).sum()))
    reach = float((np.ptp(places, axis=0).prod() / max(count, 1)) ** (1 / places.shape[1]))
    some = np.maximum(probs[open_ones], 1e-9)
    entropy = np.maximum(-(some * np.log(some)).sum(axis=1), _LEAST)
    alike = _Nearest(looks[open_ones], spread)
    near = _Nearest(places[open_ones], reach)
    for number in labelled.tolist():
        alike.add(looks[number])
        near.add(places[number])
    chosen: list[int] = []
    for _ in range(min(count, len(open_ones))):
        worth = entropy * np.maximum(alike.distances, _LEAST) * (1 + np.minimum(near.distances, 1))
        worth[chosen] = -1
        best = int(worth.argmax())
        chosen.append(best)
        alike.add(looks[open_ones[best]])
        near.add(places[open_ones[best]])
    return open_ones[chosen]


class _Nearest:
    """Distances of N points to the nearest of those that were added, in a unit; 1 before there are any."""

    def __init__(self, points: Floats, unit: float) -> None:
        self._points, self._unit, self._is_first = points, unit, True
        self._norms = np.einsum("nd,nd->n", points, points)
        self.distances = np.ones(len(points))

    def add(self, point: Floats) -> None:
        if self._unit <= 0 or not np.isfinite(self._unit):
            return
        squares = self._norms - 2 * self._points @ point + point @ point
        found = np.sqrt(np.maximum(squares, 0)) / self._unit
        self.distances = found if self._is_first else np.minimum(self.distances, found)
        self._is_first = False
