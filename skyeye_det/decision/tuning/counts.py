"""What is left of a rasterized window once pixels are counted: small tables that any rule is judged by.

A rule's thresholds, areas and map weight decide which pixels belong to which group, an instance or pixels of
one damage distribution; its temperature and damage weights decide the class of each group. So a window is
rasterized once for each choice of the first, and every choice of the second is a sum over groups, exactly
that of rasterizing anew.

Glossary: ``G`` groups; ``D`` classifications; ``T`` tiles. Truth 0 is background or un-classified,
1..4 the damage class + 1, as in the official targets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.rule import DecisionRule

Counts = NDArray[np.int64]
Floats = NDArray[np.float32]

_TRUTHS = 1 + NUM_DAMAGE_CLASSES
MOST_CELLS = 2_000
"""Groups kept apart; where there are more (single pixels' distributions), near ones are joined."""

_FINEST = 256
_BLOCK = 1 << 21  # group times classification worked out at a time


@dataclass(frozen=True, eq=False)
class GroupCounts:
    """Pixels of one or more tiles under one rasterization; adds up.

    Attributes:
        localization: int64 (3,), true positive, false positive and false negative pixels.
        true: int64 (4,), pixels of each class in the damage target, wherever the prediction is.
        probs: float32 (G, 4), damage probabilities as the model gave them, rows sum to 1.
        pixels: int64 (G, 5), pixels of each group by truth.
        evidence: int64 (G, 4), what the temperature is fitted on, by true class: 1 for a building, of the
            class that most of its classified pixels have; of single pixels their number.
    """

    localization: Counts
    true: Counts
    probs: Floats
    pixels: Counts
    evidence: Counts

    @classmethod
    def zero(cls) -> "GroupCounts":
        """Of no tile."""
        return cls(
            np.zeros(3, np.int64),
            np.zeros(NUM_DAMAGE_CLASSES, np.int64),
            np.zeros((0, NUM_DAMAGE_CLASSES), np.float32),
            np.zeros((0, _TRUTHS), np.int64),
            np.zeros((0, NUM_DAMAGE_CLASSES), np.int64),
        )

    @classmethod
    def total(cls, counts: Iterable["GroupCounts"], most_cells: int = MOST_CELLS) -> "GroupCounts":
        """Counts of several tiles, with near groups joined where there are more than ``most_cells``."""
        parts = [cls.zero(), *counts]
        joined = cls(
            np.sum([part.localization for part in parts], axis=0),
            np.sum([part.true for part in parts], axis=0),
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("probs", "pixels", "evidence")
            ),
        )
        both = np.concatenate([joined.pixels, joined.evidence], axis=1)
        probs, both = joined_cells(joined.probs, both, most_cells)
        return replace(joined, probs=probs, pixels=both[:, :_TRUTHS], evidence=both[:, _TRUTHS:])

    def pixel_counts(self, temperature: float, weights: NDArray[np.floating]) -> Counts:
        """What ``count_pixels`` would count of rasterized tiles, for many classifications at once.

        Args:
            temperature: of ``DecisionRule``.
            weights: (D, 4), damage weights.

        Returns:
            int64 (D, 3, 5): TP, FP and FN; row 0 localization, 1..4 the classes.
        """
        confusion = graded_amounts(self.probs, self.pixels, temperature, weights)
        counts = np.empty((len(weights), 3, _TRUTHS), np.int64)
        counts[:, :, 0] = self.localization
        hits = np.diagonal(confusion[:, :, 1:], axis1=1, axis2=2)
        counts[:, 0, 1:] = hits
        counts[:, 1, 1:] = confusion[:, :, 1:].sum(axis=2) - hits
        counts[:, 2, 1:] = self.true - hits
        return counts


def graded_amounts(
    probs: Floats, amounts: Counts, temperature: float, weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """What is counted of the groups that each of many classifications puts into each class.

    Args:
        probs: float32 (G, 4), as the model gave them.
        amounts: int64 (G, C), what is counted of each group.
        temperature: of ``DecisionRule``.
        weights: (D, 4), damage weights.

    Returns:
        float64 (D, 4, C), whole numbers.
    """
    weights = np.asarray(weights, np.float32)
    found = np.zeros((len(weights), NUM_DAMAGE_CLASSES, amounts.shape[1]))
    calibrated = DecisionRule(temperature=temperature).calibrated(probs).T.copy()
    summands = amounts.astype(np.float64)
    rows = max(1, _BLOCK // max(1, len(summands)))
    for start in range(0, len(weights), rows):
        block = slice(start, start + rows)
        chosen = _chosen(calibrated, weights[block])
        for grade in range(NUM_DAMAGE_CLASSES):
            found[block, grade] = (chosen == grade).astype(np.float64) @ summands
    return found


def _chosen(calibrated: Floats, weights: Floats) -> NDArray[np.uint8]:
    """Classes uint8 (D, G), the first of the largest products of probabilities (4, G) and weights (D, 4)."""
    best = weights[:, :1] * calibrated[0]
    chosen = np.zeros(best.shape, np.uint8)
    for grade in range(1, NUM_DAMAGE_CLASSES):
        product = weights[:, grade, None] * calibrated[grade]
        larger = product > best
        chosen[larger] = grade
        np.maximum(best, product, out=best)
    return chosen


def joined_cells(probs: Floats, counts: Counts, most_cells: int = MOST_CELLS) -> tuple[Floats, Counts]:
    """Joins groups of nearly the same probabilities until there are few enough.

    Those of one cell of a grid, of 1/256, 1/128, ..., become one with their mean probabilities, weighted by
    counts: an approximation, so a rule found with it is to be judged by rasterizing anew.

    Args:
        probs: float32 (G, 4).
        counts: int64 (G, columns).
        most_cells: groups that may stay.

    Returns:
        probs and counts of the groups that are left; as they were where ``G`` is small enough.
    """
    steps = _FINEST
    while len(probs) > most_cells:
        cells = np.round(probs * np.float32(steps)).astype(np.int64)
        code = cells @ (np.int64(_FINEST + 1) ** np.arange(NUM_DAMAGE_CLASSES))
        _, cell = np.unique(code, return_inverse=True)
        amount = counts.sum(axis=1).astype(np.float64)
        total = np.bincount(cell, amount)
        mean = np.stack([np.bincount(cell, amount * column) for column in probs.T], axis=1)
        joined = np.zeros((len(total), counts.shape[1]), np.int64)
        np.add.at(joined, cell, counts)
        probs, counts = (mean / np.maximum(total, 1)[:, None]).astype(np.float32), joined
        steps //= 2
    return probs, counts


def truth_codes(localization: NDArray[np.uint8], damage: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What is true of each pixel, as one number 0..9: 5 where it is building, plus its damage 0..4."""
    return (localization > 0) * np.uint8(_TRUTHS) + damage


def code_table(groups: NDArray[np.integer], codes: NDArray[np.uint8], count: int) -> Counts:
    """int64 (count, 2, 5): pixels of each group by true localization and damage.

    Of n pixels ``groups`` (n,) are 0..count - 1 and ``codes`` (n,) of ``truth_codes``.
    """
    both = groups.astype(np.int64) * (2 * _TRUTHS) + codes
    return np.bincount(both, minlength=count * 2 * _TRUTHS).reshape(count, 2, _TRUTHS)


def counts_of_groups(table: Counts, probs: Floats, totals: Counts, *, of_buildings: bool) -> GroupCounts:
    """Counts of a tile whose building pixels belong to groups.

    Args:
        table: int64 (G, 2, 5), rasterized building pixels of each group, see ``code_table``.
        probs: float32 (G, 4), damage probabilities of the groups; rows of 0 where nothing is known.
        totals: int64 (2, 5), all pixels of the tile by truth.
        of_buildings: whether a group is a building, or pixels of equal probabilities.
    """
    pixels = table.sum(axis=1)
    hits, rasterized, there = int(table[:, 1].sum()), int(table.sum()), int(totals[1].sum())
    evidence = majority(pixels) if of_buildings else pixels[:, 1:]
    held = pixels.any(axis=1)
    return GroupCounts(
        np.array([hits, rasterized - hits, there - hits], np.int64),
        totals.sum(axis=0)[1:],
        probs[held],
        pixels[held],
        (evidence * (probs.max(axis=1, keepdims=True) > 0))[held],
    )


def majority(pixels: Counts) -> Counts:
    """int64 (B, 4): 1 at the class that most classified pixels (B, 5) of a building have, 0 without any."""
    classified = pixels[:, 1:]
    chosen = np.zeros_like(classified)
    chosen[np.arange(len(pixels)), classified.argmax(axis=1)] = classified.any(axis=1)
    return chosen
