"""Confidence intervals by resampling tiles: what another set of as many tiles might have given.

Tiles, and not pixels or buildings, are drawn, since what is in one tile stands or falls together
(Efron & Tibshirani 1993, percentile interval). The draws depend on nothing but the number of tiles, the
number of draws and the seed: two runs over the same tiles in the same order get the same draws, and their
difference can be taken draw by draw.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skyeye_det.errors import InputError
from skyeye_det.xview2.score import CLASS_F1_KEYS, DAMAGE_WEIGHT, EPSILON, LOCALIZATION_WEIGHT

Floats = NDArray[np.float64]
Interval = tuple[float, float]

_BLOCK = 1 << 20  # tiles drawn at a time, over all draws of a block: a bound on memory
_MOST_DRAWS = 1_000_000
_ENDS = 0.05, 0.95


@dataclass(frozen=True)
class Resampling:
    """How intervals are found."""

    draws: int = 1000  # sets of tiles
    seed: int = 0

    def check(self) -> None:
        """Raises InputError where a value has no meaning, or the draws no end."""
        if not 0 <= self.draws <= _MOST_DRAWS or self.seed < 0:
            raise InputError(
                f"--draws and --seed: expected 0..{_MOST_DRAWS} draws and a seed of at least 0, found"
                f" {self.draws} and {self.seed}"
            )


def resampled_totals(counts: NDArray[np.int64], resampling: Resampling) -> Floats:
    """Totals of sets of tiles drawn with replacement, each set as large as the whole.

    Args:
        counts: int64 (T, ...), what was counted in each tile.
        resampling: the same draws and seed draw the same tiles from any counts of T tiles.

    Returns:
        float64 (D, ...), whole numbers, exact below 2**53; no draws of less than two tiles.
    """
    tiles = len(counts)
    draws = resampling.draws if tiles > 1 else 0
    flat = counts.reshape(tiles, math.prod(counts.shape[1:])).astype(np.float64)
    totals = np.empty((draws, flat.shape[1]))
    rng = np.random.default_rng(resampling.seed)
    rows = max(1, _BLOCK // max(1, tiles))
    for start in range(0, draws, rows):
        size = min(rows, draws - start)
        drawn = rng.integers(tiles, size=(size, tiles)) + tiles * np.arange(size)[:, None]
        weights = np.bincount(drawn.reshape(-1), minlength=size * tiles).reshape(size, tiles)
        totals[start : start + size] = weights.astype(np.float64) @ flat
    return totals.reshape(draws, *counts.shape[1:])


def percentile_interval(values: Floats) -> Interval:
    """(low, high) of the middle 90 % of (D,) values; NaN ones are left out, NaN of none."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return math.nan, math.nan
    low, high = np.quantile(defined, _ENDS)
    return float(low), float(high)


def score_draws(totals: Floats, present: NDArray[np.bool_]) -> dict[str, Floats]:
    """The official score of each draw.

    A class that the truth has but a draw lacks is left out of that draw's means and has no F1 in it: chance
    alone took it away. A class that the truth lacks counts 0, as in the official score.

    Args:
        totals: float64 (D, 3, 5), rows of ``PixelCounts``: TP, FP, FN.
        present: bool (4,), damage classes that the truth has.

    Returns:
        The keys of ``PixelCounts.score``, each float64 (D,).
    """
    hits, false, missed = np.moveaxis(totals, 1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        f1 = np.where(hits > 0, 2 * hits / (2 * hits + false + missed), 0.0)
        lacking = ((hits + missed)[:, 1:] == 0) & present
        counted = np.where(lacking, 0.0, 1.0)
        damage = counted.sum(axis=1) / (counted / (f1[:, 1:] + EPSILON)).sum(axis=1)
    classes = np.where(lacking, np.nan, f1[:, 1:])
    return {
        "score": LOCALIZATION_WEIGHT * f1[:, 0] + DAMAGE_WEIGHT * damage,
        "damage_f1": damage,
        "localization_f1": f1[:, 0],
        **dict(zip(CLASS_F1_KEYS, classes.T, strict=True)),
    }
