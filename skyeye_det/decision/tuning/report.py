"""The report of a tuned rule as text, and the comparison of two that were tuned on the same tiles."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass
from skyeye_det.decision.tuning.counts import Counts
from skyeye_det.errors import InputError
from skyeye_det.files import read_json
from skyeye_det.text_table import aligned, figure, interval
from skyeye_det.xview2.bootstrap import (
    Floats,
    Resampling,
    percentile_interval,
    resampled_totals,
    score_draws,
)
from skyeye_det.xview2.score import CLASS_F1_KEYS, CLASS_NAMES, PixelCounts

DEFAULT, ARGMAX, TUNED, FLATTERING = "default", "tuned_argmax", "tuned", "tuned_in_sample"
ROWS = {
    DEFAULT: "default rule",
    ARGMAX: "tuned thresholds + argmax, cross-fitted",
    TUNED: "tuned rule, cross-fitted",
    FLATTERING: "tuned rule on the tiles it was tuned on (flatters)",
}
"""What each row of counts is, in words."""

_ROWS_OF_A_GIVEN_RULE = {DEFAULT: ROWS[DEFAULT], ARGMAX: "given thresholds + argmax", TUNED: "given rule"}

COMPARED = ("score", "localization_f1", "damage_f1")
_FIGURES = (*COMPARED, *CLASS_F1_KEYS)
_CALIBRATION_HEADS = "held-out buildings", "number", "ECE", "log loss", "accuracy", "confidence"
_BIN_HEADS = "confidence", "before: number", "mean", "accuracy", "after: number", "mean", "accuracy"
_ALL = np.ones(NUM_DAMAGE_CLASSES, bool)


def row_figures(counts: Counts, resampling: Resampling) -> dict[str, Any]:
    """Figures of one row of tiles, where classes that the truth lacks are not defined.

    Args:
        counts: int64 (T, 3, 5).
        resampling: of the intervals.

    Returns:
        ``score``, ``localization_f1``, ``damage_f1`` (harmonic, over the classes that the truth has),
        ``damage_f1_<class>``, NaN where not defined; ``official``: ``PixelCounts.score``, where an absent
        class counts 0; ``intervals``: of the figures.
    """
    total = PixelCounts(*counts.sum(axis=0))
    report = total.report()
    draws = _draws(counts, resampling)
    return {
        "score": report["score"],
        "localization_f1": report["localization"]["f1"],
        "damage_f1": report["damage_f1"],
        **dict(zip(CLASS_F1_KEYS, (report["damage"][name]["f1"] for name in CLASS_NAMES), strict=True)),
        "official": total.score(),
        "intervals": {key: percentile_interval(draws[key]) for key in _FIGURES},
    }


def share_higher(counts: Counts, others: Counts, resampling: Resampling) -> dict[str, float]:
    """Share of paired draws of tiles in which one row is higher than another, by figure.

    Both int64 (T, 3, 5), of the same tiles in the same order.

    Returns:
        ``COMPARED`` -> 0..1, draws without the figure left out; NaN where none has it.
    """
    found = zip(*(_draws(row, resampling).items() for row in (counts, others)), strict=True)
    differences = {key: own - other for (key, own), (_, other) in found}
    return {key: _share(differences[key]) for key in COMPARED}


def compare_reports(own: Sequence[Path], other: Sequence[Path], resampling: Resampling) -> dict[str, Any]:
    """Compares the cross-fitted tiles of two systems, draw by draw.

    Of a system that was trained with several seeds, or tuned with several deals of the folds, the mean of its
    reports is compared, in each draw as well.

    Args:
        own: JSON of ``tools/tune_postprocess.py``, one or several.
        other: likewise, of the same scenes and deals of the folds; of more or fewer seeds of training.
        resampling: of the draws, which all share.

    Returns:
        ``tiles``; ``figures``: for each of ``COMPARED`` its value of ``own`` and ``other``, the
        ``difference``, its ``interval`` and ``share_higher``: the share of draws in which ``own`` is higher.

    Raises:
        InputError: no such reports, or reports of different scenes or folds.
    """
    resampling.check()
    rows = _rows_of_the_same_tiles(own, other)
    values = [[row_figures(row, resampling) for row in side] for side in rows]
    draws = [[_draws(row, resampling) for row in side] for side in rows]
    figures = {}
    for key in COMPARED:
        first, second = (float(np.mean([row[key] for row in side])) for side in values)
        difference = np.subtract(*(np.mean([row[key] for row in side], axis=0) for side in draws))
        figures[key] = {
            "own": first,
            "other": second,
            "difference": first - second,
            "interval": percentile_interval(difference),
            "share_higher": _share(difference),
        }
    return {"tiles": len(rows[0][0]), "figures": figures}


def _rows_of_the_same_tiles(own: Sequence[Path], other: Sequence[Path]) -> list[list[Counts]]:
    """Counts (T, 3, 5) of each report of each side, scenes in one order."""
    reports = [[read_counts(path) for path in paths] for paths in (own, other)]
    dealt = [sorted(options for _, options in side) for side in reports]
    # As often by share: three seeds of a model may stand against one of another.
    if sorted(dealt[0] * len(other)) != sorted(dealt[1] * len(own)):
        raise InputError(
            f"{other[0]}: expected (folds, seed) {dealt[0]} as {own[0]} and those with it have, found"
            f" {dealt[1]}; tune both with the same --folds and --seed"
        )
    scenes = sorted(reports[0][0][0])
    for path, (counts, _) in zip([*own, *other], itertools.chain(*reports), strict=True):
        if different := sorted(counts.keys() ^ set(scenes)):
            raise InputError(
                f"{path}: expected the {len(scenes)} scenes of {own[0]}, found {len(different)} that only one"
                f" of them has, {different[0]} among them; tune all on the same --splits"
            )
    return [
        [np.array([counts[scene] for scene in scenes], np.int64) for counts, _ in side] for side in reports
    ]


def read_counts(path: Path) -> tuple[dict[str, list[list[int]]], tuple[int, int]]:
    """Cross-fitted counts by scene of a report, and the number of its folds and their seed.

    Raises:
        InputError: no report of ``tools/tune_postprocess.py``.
    """
    content = read_json(path)
    tiles = content.get("tiles") if isinstance(content, dict) else None
    try:
        if not isinstance(tiles, dict):
            raise TypeError
        scenes, counts = tiles["scenes"], np.array(tiles[TUNED])
        options = int(content["options"]["folds"]), int(content["options"]["seed"])
        sound = counts.shape == (len(scenes), 3, 5) and counts.dtype.kind == "i" and bool((counts >= 0).all())
        if not sound or len({str(scene) for scene in scenes}) != len(scenes):
            raise ValueError
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected a report of tools/tune_postprocess.py --json with pixel counts by scene, found"
            " something else; tune that model again with --json"
        ) from error
    return dict(zip(map(str, scenes), counts.tolist(), strict=True)), options


def format_tuning(report: dict[str, Any]) -> str:
    """Scores by rule, the tuned rule against argmax, and calibration, of a report of ``tune_rule``."""
    rows = [("rule", "score", "90 % interval", "local. F1", "damage F1", *CLASS_NAMES)]
    kind = _kind(report)
    for name, words in (_ROWS_OF_A_GIVEN_RULE if kind == "given" else ROWS).items():
        row = report["rows"][name]
        ends = interval(row["intervals"]["score"])
        rows.append((words, figure(row["score"]), ends, *(figure(row[key]) for key in _FIGURES[1:])))
    share = report["share_over_argmax"]
    options = report["options"]
    lines = [
        f"{kind} rule above argmax in {_percent(share['score'])} of {options['draws']:,} paired draws of"
        f" tiles by score, in {_percent(share['damage_f1'])} by damage F1",
        f"{len(report['tiles']['scenes'])} tiles, {options['folds']} folds, seed {options['seed']}; intervals"
        " by bootstrap over tiles",
    ]
    if report["absent_classes"]:
        names = ", ".join(DamageClass(grade).subtype for grade in report["absent_classes"])
        lines.append(f"the targets have no {names}: left out of damage F1 and score, its factor stays 1")
    return "\n\n".join([aligned(rows, "<>"), "\n".join(lines), rule_lines(report), _calibration(report)])


def _kind(report: dict[str, Any]) -> str:
    return "tuned" if report["options"].get("rule") is None else "given"


def rule_lines(report: dict[str, Any]) -> str:
    """The tuned rule and those of the folds, a column each; of ``rule``, ``fold_rules`` and ``options``."""
    kind = _kind(report)
    rules = [report["rule"], *(report["fold_rules"] if kind == "tuned" else [])]
    heads = ("number", kind, *(f"without fold {number}" for number in range(1, len(rules))))
    return aligned([heads, *((name, *(_number(rule[name]) for rule in rules)) for name in rules[0])])


def _number(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "/".join(f"{part:g}" for part in value)
    return value if isinstance(value, str) else f"{value:g}"


def _calibration(report: dict[str, Any]) -> str:
    """Reliability before and after."""
    calibration = report["calibration"]
    rows: list[Sequence[str]] = [_CALIBRATION_HEADS]
    for key, words in (("before", "as the model says"), ("after", "at the fitted temperature")):
        found = calibration[key]
        figures = (figure(found[name]) for name in ("ece", "nll", "accuracy", "confidence"))
        rows.append((words, str(found["buildings"]), *figures))
    bins: list[Sequence[str]] = [_BIN_HEADS]
    numbers = sorted({row["low"] for key in ("before", "after") for row in calibration[key]["bins"]})
    for low in numbers:
        cells = [f"{low:.1f} to {low + 0.1:.1f}"]
        for key in ("before", "after"):
            row = next((row for row in calibration[key]["bins"] if row["low"] == low), None)
            values = (row["confidence"], row["accuracy"]) if row else (math.nan, math.nan)
            cells += [str(row["buildings"]) if row else "0", *map(figure, values)]
        bins.append(cells)
    return aligned(rows) + f"\ntemperature {calibration['temperature']:g}\n\n" + aligned(bins, ">")


def format_comparison(comparison: dict[str, Any], own: str, other: str) -> str:
    """Figures of ``compare_reports`` side by side, under the names of the two systems."""
    rows = [("held-out tiles", "this", "other", "difference", "90 % interval", "this higher in")]
    for key, row in comparison["figures"].items():
        values = (figure(row[name]) for name in ("own", "other", "difference"))
        share = _percent(row["share_higher"])
        rows.append((key.replace("_", " "), *values, interval(row["interval"]), share))
    heading = f"{own} (this) against {other}: {comparison['tiles']} tiles, paired draws of tiles"
    return f"{heading}\n{aligned(rows)}"


def _draws(counts: Counts, resampling: Resampling) -> dict[str, Floats]:
    """Figures of each draw; classes that a draw lacks are left out of it."""
    return score_draws(resampled_totals(counts, resampling), _ALL)


def _share(differences: Floats) -> float:
    defined = differences[~np.isnan(differences)]
    return float((defined > 0).mean()) if len(defined) else math.nan


def _percent(share: float) -> str:
    return "n/a" if math.isnan(share) else f"{100 * share:.1f} %"
