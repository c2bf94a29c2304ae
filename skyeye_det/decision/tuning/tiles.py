"""Kept windows and their truth under many rules: counts that add up over a block, and exact rasterization."""

import zipfile
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.calibration import Reliability
from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import Counts, GroupCounts
from skyeye_det.decision.tuning.rasterized import Truth, classified_buildings, pixel_rule, rasterized_counts
from skyeye_det.errors import InputError
from skyeye_det.files import whole_file
from skyeye_det.prediction.prediction import Prediction
from skyeye_det.prediction.store import load_prediction
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.score import count_pixels

_MOST_KEPT = 150
"""Rasterizations whose counts are kept, at most ``MOST_CELLS`` groups of each block."""

MOST_BLOCKS = 40
"""Into which the tiles are dealt, whole folds of them; more tiles share a block, so memory is bounded."""

CHUNK = 2  # tiles handed to a worker at a time
_LEAST_COUNTED = 200  # tiles times rules; fewer are rasterized before other processes have started


_LOCALIZATION_BIT = 8
"""Of a pixel of a truth file; the bits below hold the damage."""


@dataclass(frozen=True)
class KnownWindow:
    """A window to tune on.

    Attributes:
        name: the scene, with the window's place where it has several.
        prediction: file of the prediction store.
        truth: file of ``save_truth``.
    """

    name: str
    prediction: Path
    truth: Path

    def read(self) -> tuple[Prediction, Truth]:
        """Prediction and truth; InputError where one cannot be read or they differ in size."""
        prediction, truth = load_prediction(self.prediction), load_truth(self.truth)
        if truth[0].shape != tuple(prediction.shape):
            raise InputError(
                f"{self.name}: expected labels for {prediction.shape[1]} x {prediction.shape[0]} px as its"
                f" images have, found {truth[0].shape[1]} x {truth[0].shape[0]} px; check with"
                " tools/check_dataset.py"
            )
        return prediction, truth


def save_truth(path: Path, truth: Truth) -> None:
    """Writes localization 0/1 and damage 0..4, uint8 (h, w), whole or not at all."""
    localization, damage = truth
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, truth=((localization > 0) * np.uint8(_LOCALIZATION_BIT)) | damage)


def load_truth(path: Path) -> Truth:
    """Reads what ``save_truth`` wrote; InputError where that cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            codes = arrays["truth"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: expected kept truth, found none that can be read; delete it") from error
    return codes // _LOCALIZATION_BIT, codes % _LOCALIZATION_BIT


def count_truth(window: KnownWindow) -> Counts:
    """int64 (6,): a window, its building pixels, and its pixels of each damage class."""
    localization, damage = load_truth(window.truth)
    classes = np.bincount(damage.ravel(), minlength=1 + NUM_DAMAGE_CLASSES)[1:]
    return np.array([1, np.count_nonzero(localization), *classes], np.int64)


def count_window(window: KnownWindow, rules: Sequence[DecisionRule]) -> list[GroupCounts]:
    """Counts of one window by the pixels of each rule."""
    prediction, truth = window.read()
    return rasterized_counts(prediction, rules, truth)


def rasterize_window(job: tuple[KnownWindow, Sequence[DecisionRule]]) -> list[Counts]:
    """int64 (3, 5) of one window under each rule, rasterized and counted as a submission is."""
    window, rules = job
    prediction, truth = window.read()
    counts = (count_pixels(*decide(prediction, rule).rasterize(), *truth) for rule in rules)
    return [one.as_array() for one in counts]


def judge_buildings(job: tuple[KnownWindow, DecisionRule]) -> tuple[Reliability, Reliability]:
    """Reliability of one window's buildings: as the model classifies them, and at the temperature."""
    window, rule = job
    prediction, truth = window.read()
    before, after = (
        classified_buildings(prediction, one, truth) for one in (replace(rule, temperature=1.0), rule)
    )
    return Reliability.of(*before), Reliability.of(*after)


def deal_blocks(folds: Counts) -> Counts:
    """Parts every fold 0.. of tiles, int64 (T,), into blocks 0.., of one tile each where there are few."""
    most = max(1, MOST_BLOCKS // (int(folds.max()) + 1))
    rank = np.zeros(len(folds), np.int64)
    for fold in np.unique(folds):
        own = folds == fold
        rank[own] = np.arange(np.count_nonzero(own)) % most
    return np.unique(folds * most + rank, return_inverse=True)[1].astype(np.int64)


@dataclass(eq=False)
class BlockCounts:
    """Counts of blocks of tiles under any rasterization, worked out once for each.

    Attributes:
        windows: to tune on.
        blocks: int64 (T,), the block of each.
        workers: tiles rasterized at a time.
    """

    windows: Sequence[KnownWindow]
    blocks: Counts
    workers: int = 1
    _kept: "OrderedDict[DecisionRule, list[GroupCounts]]" = field(default_factory=OrderedDict)

    def rasterize(self, rules: Sequence[DecisionRule], chosen: Sequence[int]) -> list[list[GroupCounts]]:
        """Counts of the chosen blocks for the rasterization of each rule; classification has no effect."""
        pixel_rules = [pixel_rule(rule) for rule in rules]
        missing = [one for one in dict.fromkeys(pixel_rules) if one not in self._kept]
        if missing:
            self._kept |= zip(missing, self._rasterized(missing), strict=True)
        found = [[self._kept[one][block] for block in chosen] for one in pixel_rules]
        for one in dict.fromkeys(pixel_rules):
            self._kept.move_to_end(one)
        while len(self._kept) > max(_MOST_KEPT, len(rules)):
            self._kept.popitem(last=False)
        return found

    def _rasterized(self, rules: list[DecisionRule]) -> list[list[GroupCounts]]:
        totals = [[GroupCounts.zero() for _ in range(int(self.blocks.max()) + 1)] for _ in rules]
        workers = self.workers if len(rules) * len(self.windows) >= _LEAST_COUNTED else 1
        tiles = ordered_map(partial(count_window, rules=rules), self.windows, workers, CHUNK)
        for block, counts in zip(self.blocks.tolist(), tiles, strict=True):
            for total, one in zip(totals, counts, strict=True):
                total[block] = GroupCounts.total([total[block], one])
        return totals
