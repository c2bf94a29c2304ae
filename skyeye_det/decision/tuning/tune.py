"""Tunes a decision rule on kept windows, and says honestly what it is worth: cross-fitted over tiles.

Each tile is judged by a rule that was tuned without its fold, and rasterized as a submission is; the counts
of all tiles together give one score. Beside it stands the score of the final rule on the very tiles that it
was tuned on, which flatters, and that of plain argmax on the same pixels.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.stratification import stratify
from skyeye_det.decision.calibration import Reliability
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import Counts
from skyeye_det.decision.tuning.rasterized import pixel_numbers
from skyeye_det.decision.tuning.report import ARGMAX, DEFAULT, FLATTERING, TUNED, row_figures, share_higher
from skyeye_det.decision.tuning.search import Search, tuned_rule
from skyeye_det.decision.tuning.tiles import (
    CHUNK,
    BlockCounts,
    KnownWindow,
    count_truth,
    deal_blocks,
    judge_buildings,
    rasterize_window,
)
from skyeye_det.decision.tuning.weights import SPREAD_COST
from skyeye_det.errors import InputError
from skyeye_det.progress import progress
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.bootstrap import Resampling

_SEARCHED = {
    "score": "Thresholds, areas, map weight and damage weights",
    "localization": "Thresholds, areas and map weight by search for localization F1, damage weights",
}


@dataclass(frozen=True)
class TuningOptions:
    """How a rule is tuned.

    Attributes:
        folds: of the cross-fit, 2 or more; a given rule has none.
        seed: of the folds and of the bootstrap's draws.
        workers: tiles rasterized at a time.
        draws: of the bootstrap.
        rule: a rule that was tuned on other tiles, to be judged on these; None: one is tuned.
        pixels_for: what decides where buildings are rasterized, of ``search.PIXELS_FOR``.
    """

    folds: int = 5
    seed: int = 0
    workers: int = 1
    draws: int = 1000
    rule: DecisionRule | None = None
    pixels_for: str = "score"

    @property
    def resampling(self) -> Resampling:
        """Of the bootstrap."""
        return Resampling(self.draws, self.seed)

    def check(self, tiles: int) -> None:
        """Raises InputError where so many tiles cannot be tuned on like this."""
        if self.rule is None and not 2 <= self.folds <= tiles:
            raise InputError(
                f"--folds {self.folds}: expected 2 to the number of tiles, found {tiles} tiles; name more"
                " --splits or ask for fewer folds"
            )
        self.resampling.check()


def tune_rule(
    windows: Sequence[KnownWindow], options: TuningOptions = TuningOptions()
) -> tuple[DecisionRule, dict[str, Any]]:
    """Tunes a rule on all tiles, and rules on all but each fold to judge it by.

    Args:
        windows: predictions of one model, with truth.
        options: folds, seed, workers and draws.

    Returns:
        The rule tuned on all tiles, or the given one for all of them, and a report: ``rule``, ``fold_rules``
        (numbers of a ``DecisionRule``);
        ``rows``: for each of ``report.ROWS`` what ``row_figures`` gives; ``share_over_argmax``:
        share of paired draws in which the tuned rule is higher than argmax, by figure; ``calibration``:
        ``temperature`` and ``Reliability.report`` of ``before`` and ``after``, both over held-out buildings;
        ``tiles``: ``scenes``, their ``folds`` and, by row, counts int64 (T, 3, 5); ``absent_classes``;
        ``options``.

    Raises:
        InputError: fewer tiles than folds, or a file that cannot be read.
    """
    options.check(len(windows))
    scenes = [window.name for window in windows]
    amounts = np.array(list(ordered_map(count_truth, windows, options.workers)), np.int64)
    if options.rule is None:
        folds = stratify(amounts, [1 / options.folds] * options.folds, scenes, options.seed)
        rules = _fold_rules(windows, folds, options)
    else:
        folds, rules = np.zeros(len(windows), np.int64), [options.rule] * 2
    own = [rules[fold] for fold in folds.tolist()]
    counts = _judged(windows, own, rules[-1], options)
    reliability = _reliability(windows, own, options)
    resampling = options.resampling
    report = {
        "rule": asdict(rules[-1]),
        "fold_rules": [asdict(rule) for rule in rules[:-1]],
        "rows": {name: row_figures(found, resampling) for name, found in counts.items()},
        "share_over_argmax": share_higher(counts[TUNED], counts[ARGMAX], resampling),
        "calibration": {
            "temperature": rules[-1].temperature,
            "before": reliability[0].report(),
            "after": reliability[1].report(),
        },
        "tiles": {"scenes": scenes, "folds": folds.tolist(), **counts},
        "absent_classes": (np.flatnonzero(amounts[:, 2:].sum(axis=0) == 0)).tolist(),
        "options": asdict(options),
    }
    return rules[-1], report


def _fold_rules(windows: Sequence[KnownWindow], folds: Counts, options: TuningOptions) -> list[DecisionRule]:
    """A rule tuned without each fold, and last the one tuned on all of them."""
    blocks = deal_blocks(folds)
    table = BlockCounts(windows, blocks, options.workers)
    names = pixel_numbers(windows[0].read()[0])

    def tuned(left_out: int | None) -> DecisionRule:
        chosen = np.unique(blocks[folds != left_out] if left_out is not None else blocks).tolist()
        rasterize = partial(table.rasterize, chosen=chosen)
        return tuned_rule(Search(rasterize, names, DecisionRule(), options.seed, options.pixels_for))

    turns = [*range(options.folds), None]
    return [tuned(left_out) for left_out in progress(turns, len(turns), "tune", "fold")]


def _judged(
    windows: Sequence[KnownWindow], own: Sequence[DecisionRule], final: DecisionRule, options: TuningOptions
) -> dict[str, Counts]:
    """Counts int64 (T, 3, 5) of each row, all rasterized as submissions are."""
    flat = (1.0,) * NUM_DAMAGE_CLASSES
    rules = [(DecisionRule(), replace(rule, damage_weights=flat), rule, final) for rule in own]
    jobs = list(zip(windows, rules, strict=True))
    tiles = ordered_map(rasterize_window, jobs, options.workers, CHUNK)
    stacked = np.array(list(progress(tiles, len(windows), "rasterize", "tile")), np.int64)
    return dict(zip((DEFAULT, ARGMAX, TUNED, FLATTERING), np.moveaxis(stacked, 1, 0), strict=True))


def _reliability(
    windows: Sequence[KnownWindow], own: Sequence[DecisionRule], options: TuningOptions
) -> tuple[Reliability, Reliability]:
    """Of held-out buildings: as the model grades them, and at the temperature fitted on other tiles."""
    jobs = list(zip(windows, own, strict=True))
    before, after = zip(*ordered_map(judge_buildings, jobs, options.workers, CHUNK), strict=True)
    return reduce(add, before), reduce(add, after)


def rule_remarks(report: dict[str, Any], source: str) -> list[str]:
    """Where a rule comes from, as comments of its file; ``source`` is model and tiles, in words."""
    rows, options = report["rows"], report["options"]
    figures = {name: row["score"] for name, row in rows.items()}
    return [
        f"Tuned by tools/tune_postprocess.py on {source}: {len(report['tiles']['scenes'])} tiles, seed"
        f" {options['seed']}.",
        f"{_SEARCHED[options['pixels_for']]} by search for the official score (weights: cost"
        f" {SPREAD_COST} of their spread, mean over resampled tiles); the temperature by likelihood.",
        f"Score, cross-fitted over {options['folds']} folds of tiles: {figures[TUNED]:.4f} (argmax at the"
        f" same thresholds {figures[ARGMAX]:.4f}, default rule {figures[DEFAULT]:.4f}).",
        f"Score on the tiles that it was tuned on, which flatters: {figures[FLATTERING]:.4f}.",
    ]
