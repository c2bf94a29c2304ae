"""Tunes a rule for an assessment on whole tiles, cross-fitted, and counts what it makes of their buildings.

Buildings are decided as inference decides them and matched one to one, as in ``evaluation.buildings``. Each
tile is judged by a rule that was tuned without its fold, and decided anew by it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.stratification import stratify
from skyeye_det.decision.calibration import Reliability
from skyeye_det.decision.results import decide_image
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.assessment import (
    NONE,
    UNKNOWN,
    FoundBuildings,
    assessment_rule,
    candidate_rules,
    grade_totals,
    ordinal_error,
)
from skyeye_det.decision.tuning.report import DEFAULT, FLATTERING, TUNED
from skyeye_det.decision.tuning.tiles import CHUNK
from skyeye_det.decision.tuning.tune import TuningOptions
from skyeye_det.evaluation.buildings import BuildingCounts, count_buildings, match_masks
from skyeye_det.evaluation.known_windows import KnownTile
from skyeye_det.evaluation.truth import TrueBuildings
from skyeye_det.prediction.masks import encode_crop
from skyeye_det.progress import progress
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.bootstrap import Resampling, percentile_interval, resampled_totals
from skyeye_det.xview2.score import CLASS_NAMES

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class JudgedTile:
    """What a rule makes of the buildings of a tile.

    Attributes:
        buildings: as found.
        counts: as found and graded.
    """

    buildings: FoundBuildings
    counts: BuildingCounts


def judge_tile(job: tuple[KnownTile, Sequence[DecisionRule]]) -> list[JudgedTile]:
    """Decides a tile by each rule and matches its buildings; InputError where a file cannot be read."""
    tile, rules = job
    images, outlines = tile.truth()
    true = TrueBuildings.of(outlines or (), images[0].shape)
    return [_judged(tile, true, rule) for rule in rules]


def _judged(tile: KnownTile, true: TrueBuildings, rule: DecisionRule) -> JudgedTile:
    found = decide_image(tile.store, tile.image, rule)
    masks = [encode_crop(*crop, found.shape) for crop in found.masks]
    pairs = match_masks(true, masks, found.scores, found.damage)
    rows = np.where(true.damage < 0, UNKNOWN, true.damage)
    truth = np.full(len(found), NONE)
    truth[pairs[1]] = rows[pairs[0]]
    missed = np.bincount(np.delete(rows, pairs[0]), minlength=NONE)
    return JudgedTile(
        FoundBuildings(found.damage_probs, truth, missed), count_buildings(true, found.damage, pairs)
    )


def tune_assessment(
    tiles: Sequence[KnownTile], options: TuningOptions
) -> tuple[DecisionRule, dict[str, Any]]:
    """Tunes a rule for an assessment on all tiles, and rules on all but each fold to judge it by.

    Args:
        tiles: with predictions of one model; their images show all of them, so that every building counts.
        options: folds, seed, workers and draws, or a given rule; ``pixels_for`` has no effect.

    Returns:
        The rule tuned on all tiles, or the given one, and a report: ``purpose``; ``rule``, ``fold_rules``;
        ``rows``: for ``DEFAULT``, ``TUNED`` (cross-fitted) and ``FLATTERING`` what ``row_figures`` gives;
        ``tiles``: ``scenes``, their ``folds`` and, by row, ``confusion`` int64 (T, 6, 6); ``options``.

    Raises:
        InputError: fewer tiles than folds, or a file that cannot be read.
    """
    options.check(len(tiles))
    folds, rules = np.zeros(len(tiles), np.int64), [options.rule or DecisionRule()] * 2
    if options.rule is None:
        folds, rules = _fold_rules(tiles, options)
    own = [(DecisionRule(), rules[fold], rules[-1]) for fold in folds.tolist()]
    columns = zip(*_judge(tiles, own, options), strict=True)
    judged = dict(zip((DEFAULT, TUNED, FLATTERING), columns, strict=True))
    settings = asdict(options)
    del settings["pixels_for"]
    return rules[-1], {
        "purpose": "assessment",
        "rule": asdict(rules[-1]),
        "fold_rules": [asdict(rule) for rule in rules[:-1]],
        "rows": {name: row_figures(row, options.resampling) for name, row in judged.items()},
        "tiles": {
            "scenes": [tile.files.name for tile in tiles],
            "folds": folds.tolist(),
            **{name: np.array([tile.counts.confusion for tile in row]) for name, row in judged.items()},
        },
        "options": settings,
    }


def _fold_rules(tiles: Sequence[KnownTile], options: TuningOptions) -> tuple[Ints, list[DecisionRule]]:
    """The fold of each tile; a rule tuned without each fold, and last the one tuned on all of them."""
    first = tiles[0]
    candidates = candidate_rules(first.store.load(first.image, first.store.windows(first.image)[0]))
    table = _judge(tiles, [candidates] * len(tiles), options)
    true = [row[0].buildings.true for row in table]
    amounts = np.array([[1, own.sum(), *own] for own in true], np.int64)
    names = [tile.files.name for tile in tiles]
    folds = stratify(amounts, [1 / options.folds] * options.folds, names, options.seed)

    def tuned(left_out: int | None) -> DecisionRule:
        rows = [row for row, fold in zip(table, folds.tolist(), strict=True) if fold != left_out]
        found = [FoundBuildings.total(tile.buildings for tile in tried) for tried in zip(*rows, strict=True)]
        return assessment_rule(candidates, found)

    turns = [*range(options.folds), None]
    return folds, [tuned(left_out) for left_out in progress(turns, len(turns), "tune", "fold")]


def _judge(
    tiles: Sequence[KnownTile], rules: Sequence[Sequence[DecisionRule]], options: TuningOptions
) -> list[list[JudgedTile]]:
    """Each tile by each of its rules."""
    jobs = list(zip(tiles, rules, strict=True))
    judged = ordered_map(judge_tile, jobs, options.workers, CHUNK)
    return list(progress(judged, len(jobs), "match", "tile"))


def row_figures(judged: Sequence[JudgedTile], resampling: Resampling) -> dict[str, Any]:
    """Figures of one row of tiles, NaN where there is nothing to measure.

    Returns:
        ``buildings``, ``predicted``: numbers; ``ratio``: of predicted to true; ``precision``, ``recall``;
        ``ordinal_error``: end to end, steps per true building; ``macro_f1``: of the grades of found
        buildings; ``ece``: of their probabilities at the rule's temperature; ``grades``: by class name
        ``buildings``, ``predicted``, ``ratio``; ``intervals``: of ``ratio`` and ``ordinal_error``.
    """
    confusions = np.array([tile.counts.confusion for tile in judged], np.int64)
    report = BuildingCounts.total(tile.counts for tile in judged).report()
    draws = resampled_totals(confusions, resampling)
    drawn = {"ratio": _ratio(*_all_totals(draws)), "ordinal_error": ordinal_error(draws)}
    total = confusions.sum(axis=0)
    predicted, true = grade_totals(total)
    reliability = reduce(add, (Reliability.of(*tile.buildings.graded) for tile in judged))
    return {
        **{key: report[key] for key in ("buildings", "predicted", "precision", "recall")},
        "ratio": float(_ratio(*_all_totals(total))),
        "ordinal_error": float(ordinal_error(total)),
        "macro_f1": report["damage_found"]["macro_f1"],
        "ece": reliability.error,
        "grades": {
            name: {
                "buildings": int(true[grade]),
                "predicted": int(predicted[grade]),
                "ratio": float(_ratio(predicted[grade], true[grade])),
            }
            for grade, name in zip(range(NUM_DAMAGE_CLASSES), CLASS_NAMES, strict=True)
        },
        "intervals": {key: percentile_interval(values) for key, values in drawn.items()},
    }


def _all_totals(confusion: NDArray[np.number]) -> tuple[NDArray[np.number], NDArray[np.number]]:
    """Buildings predicted and true (...,) of (..., 6, 6), of all grades and none."""
    return confusion[..., :NONE].sum(axis=(-2, -1)), confusion[..., :NONE, :].sum(axis=(-2, -1))


def _ratio(predicted: Any, true: Any) -> NDArray[np.float64]:
    """Predicted to true, NaN where none is true."""
    return np.asarray(predicted / np.where(np.asarray(true) > 0, true, np.nan))
