"""Damage weights cross-fitted where the buildings are known and only their grades are to be decided."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skyeye_det.evaluation.tuning_counts import (
    Counts,
    PaintedCounts,
    code_table,
    counts_of_groups,
    truth_codes,
)
from skyeye_det.evaluation.tuning_files import Truth
from skyeye_det.evaluation.tuning_tiles import deal_blocks, deal_folds
from skyeye_det.evaluation.tuning_weights import graded_rule, settled_rule
from skyeye_det.postprocessing.decision import DecisionRule


def counts_of_owners(owner: NDArray[np.integer], probs: NDArray[np.float32], truth: Truth) -> PaintedCounts:
    """Counts of a tile whose pixels are known to belong to buildings.

    Args:
        owner: (h, w), index 0..N - 1 of the building of each pixel, -1 for none.
        probs: (N, 4), damage probabilities, rows sum to 1.
        truth: localization 0/1 and damage 0..4, uint8 (h, w).
    """
    codes = truth_codes(*truth)
    inside = owner >= 0
    table = code_table(owner[inside], codes[inside], len(probs))
    totals = code_table(np.zeros(codes.size, np.int64), codes.ravel(), 1)[0]
    return counts_of_groups(table, probs, totals, of_buildings=True)


def cross_fitted_grades(
    tiles: Sequence[PaintedCounts], scenes: Sequence[str], folds: int, seed: int = 0
) -> tuple[Counts, list[DecisionRule]]:
    """Grades each tile by the temperature and damage weights tuned without its fold.

    Folds are dealt and weights searched as ``tune_rule`` does it, see ``tuning_weights``.

    Args:
        tiles: T counts, none of them joined, so that those returned are exact.
        scenes: their names, which decide the folds together with the seed.
        folds: 2..T.
        seed: of the folds and of the resamples that settle the weights.

    Returns:
        Pixels of each tile int64 (T, 3, 5), TP, FP and FN, column 0 localization; and the rule of each fold.

    Raises:
        InputError: fewer tiles than folds.
    """
    amounts = [[1, tile.localization[0] + tile.localization[2], *tile.true] for tile in tiles]
    dealt = deal_folds(np.array(amounts, np.int64).reshape(len(tiles), -1), scenes, folds, seed)
    blocks = deal_blocks(dealt)
    joined = [
        PaintedCounts.total(tile for tile, own in zip(tiles, blocks.tolist(), strict=True) if own == block)
        for block in range(int(blocks.max()) + 1)
    ]
    rules = []
    for fold in range(folds):
        parts = [joined[block] for block in np.unique(blocks[dealt != fold])]
        rules.append(settled_rule(graded_rule(DecisionRule(), parts), parts, seed))
    graded = [counts_by_rule(tile, rules[fold]) for tile, fold in zip(tiles, dealt.tolist(), strict=True)]
    return np.stack(graded), rules


def counts_by_rule(tile: PaintedCounts, rule: DecisionRule) -> Counts:
    """Pixels int64 (3, 5) of a tile whose groups are graded by the temperature and weights of a rule."""
    return tile.pixel_counts(rule.temperature, np.array([rule.damage_weights]))[0]
