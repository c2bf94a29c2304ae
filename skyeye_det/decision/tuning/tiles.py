"""Kept tiles painted by many rules: counts that add up over a block of tiles, and exact repainting."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.stratification import stratify
from skyeye_det.decision.calibration import Reliability
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import Counts, PaintedCounts
from skyeye_det.decision.tuning.painted import graded_buildings, painted_counts, painting_of
from skyeye_det.errors import InputError
from skyeye_det.prediction.store import load_tile
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.score import count_pixels

_MOST_KEPT = 150
"""Paintings whose counts are kept, at most ``MOST_CELLS`` groups of each block."""

MOST_BLOCKS = 40
"""Into which the tiles are dealt, whole folds of them; more tiles share a block, so memory is bounded."""

_CHUNK = 2  # tiles handed to a worker at a time
_LEAST_PAINTED = 200  # tiles times rules; fewer are painted before other processes have started


def count_truth(path: Path) -> Counts:
    """int64 (6,): a tile, its building pixels, and its pixels of each damage class."""
    localization, damage = load_tile(path).truth
    classes = np.bincount(damage.ravel(), minlength=1 + NUM_DAMAGE_CLASSES)[1:]
    return np.array([1, np.count_nonzero(localization), *classes], np.int64)


def paint_tile(path: Path, rules: Sequence[DecisionRule]) -> list[PaintedCounts]:
    """Counts of one kept tile under the painting of each rule."""
    tile = load_tile(path)
    return painted_counts(tile.prediction, rules, tile.truth)


def repaint_tile(job: tuple[Path, Sequence[DecisionRule]]) -> list[Counts]:
    """int64 (3, 5) of one kept tile under each rule, painted and counted as a submission is."""
    path, rules = job
    tile = load_tile(path)
    counts = (count_pixels(*tile.prediction.rasterize(rule), *tile.truth) for rule in rules)
    return [one.as_array() for one in counts]


def judge_buildings(job: tuple[Path, DecisionRule]) -> tuple[Reliability, Reliability]:
    """Reliability of one kept tile's painted buildings: as the model grades them, and at the temperature."""
    path, rule = job
    tile = load_tile(path)
    before, after = (
        graded_buildings(tile.prediction, one, tile.truth) for one in (replace(rule, temperature=1.0), rule)
    )
    return Reliability.of(*before), Reliability.of(*after)


def check_folds(folds: int, tiles: int) -> None:
    """Raises InputError where so many tiles cannot be dealt into so many folds."""
    if not 2 <= folds <= tiles:
        raise InputError(
            f"--folds {folds}: expected 2 to the number of tiles, found {tiles} tiles; name more --splits or"
            " ask for fewer folds"
        )


def deal_folds(amounts: Counts, scenes: Sequence[str], folds: int, seed: int) -> Counts:
    """Deals tiles into folds that have about the same share of every class.

    Args:
        amounts: int64 (T, 6), of ``count_truth``.
        scenes: names; they and the seed decide, not the order.
        folds: number of folds, 2 or more.
        seed: another one deals otherwise.

    Returns:
        int64 (T,), the fold 0.. of each tile; each fold has at least one.

    Raises:
        InputError: fewer tiles than folds.
    """
    check_folds(folds, len(scenes))
    return stratify(amounts, [1 / folds] * folds, scenes, seed)


def deal_blocks(folds: Counts) -> Counts:
    """Parts every fold into blocks of tiles, of one tile each where there are few.

    Args:
        folds: int64 (T,), the fold 0.. of each tile.

    Returns:
        int64 (T,), the block 0.. of each tile; tiles of a block are of one fold.
    """
    most = max(1, MOST_BLOCKS // (int(folds.max()) + 1))
    rank = np.zeros(len(folds), np.int64)
    for fold in np.unique(folds):
        own = folds == fold
        rank[own] = np.arange(np.count_nonzero(own)) % most
    return np.unique(folds * most + rank, return_inverse=True)[1].astype(np.int64)


@dataclass(eq=False)
class BlockCounts:
    """Counts of blocks of tiles under any painting, worked out once for each.

    Attributes:
        paths: kept tiles.
        blocks: int64 (T,), the block of each.
        workers: tiles painted at a time.
    """

    paths: Sequence[Path]
    blocks: Counts
    workers: int = 1
    _kept: "OrderedDict[DecisionRule, list[PaintedCounts]]" = field(default_factory=OrderedDict)

    def paint(self, rules: Sequence[DecisionRule], chosen: Sequence[int]) -> list[list[PaintedCounts]]:
        """Counts of some blocks, one after the other, for the painting of each rule.

        Args:
            rules: whose paintings are wanted; grading has no effect.
            chosen: blocks.
        """
        paintings = [painting_of(rule) for rule in rules]
        missing = [one for one in dict.fromkeys(paintings) if one not in self._kept]
        if missing:
            self._kept |= zip(missing, self._painted(missing), strict=True)
        found = [[self._kept[one][block] for block in chosen] for one in paintings]
        for one in dict.fromkeys(paintings):
            self._kept.move_to_end(one)
        while len(self._kept) > max(_MOST_KEPT, len(rules)):
            self._kept.popitem(last=False)
        return found

    def _painted(self, rules: list[DecisionRule]) -> list[list[PaintedCounts]]:
        totals = [[PaintedCounts.zero() for _ in range(int(self.blocks.max()) + 1)] for _ in rules]
        workers = self.workers if len(rules) * len(self.paths) >= _LEAST_PAINTED else 1
        tiles = ordered_map(partial(paint_tile, rules=rules), self.paths, workers, _CHUNK)
        for block, counts in zip(self.blocks.tolist(), tiles, strict=True):
            for total, one in zip(totals, counts, strict=True):
                total[block] = PaintedCounts.total([total[block], one])
        return totals


def repainted(
    paths: Sequence[Path], rules: Sequence[Sequence[DecisionRule]], workers: int
) -> Iterator[list[Counts]]:
    """``repaint_tile`` of each tile with its own rules, in order."""
    return ordered_map(repaint_tile, list(zip(paths, rules, strict=True)), workers, _CHUNK)
