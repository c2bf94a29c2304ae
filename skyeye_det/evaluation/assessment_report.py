"""The report of a rule for an assessment as text, and what it says in the rule's file."""

from typing import Any

from skyeye_det.decision.tuning.assessment import LEAST_FINDING
from skyeye_det.decision.tuning.report import DEFAULT, FLATTERING, TUNED, rule_lines
from skyeye_det.text_table import aligned, figure, interval

RATIO, GRADE_RATIO = (0.85, 1.15), (0.75, 1.33)
"""Predicted to true buildings that an assessment aims at: of all, and of each grade."""

_TUNED = {
    DEFAULT: "default rule",
    TUNED: "assessment rule, cross-fitted",
    FLATTERING: "assessment rule on the tiles it was tuned on (flatters)",
}
_GIVEN = {DEFAULT: "default rule", TUNED: "given rule"}
_HEADS = (
    "rule",
    "predicted/true",
    "ratio",
    "90 % interval",
    "precision",
    "recall",
    "ordinal error",
    "90 % interval",
    "macro damage F1",
    "ECE",
)


def format_assessment(report: dict[str, Any]) -> str:
    """Totals, errors and rules of a report of ``tune_assessment``."""
    rows: list[tuple[str, ...]] = [_HEADS]
    grades = [("predicted/true, ratio", *report["rows"][DEFAULT]["grades"])]
    for name, words in (_TUNED if report["options"]["rule"] is None else _GIVEN).items():
        row = report["rows"][name]
        rows.append(
            (
                words,
                _numbers(row),
                figure(row["ratio"], 2),
                interval(row["intervals"]["ratio"]),
                *(figure(row[key]) for key in ("precision", "recall", "ordinal_error")),
                interval(row["intervals"]["ordinal_error"]),
                *(figure(row[key]) for key in ("macro_f1", "ece")),
            )
        )
        cells = (f"{_numbers(one)}, {figure(one['ratio'], 2)}" for one in row["grades"].values())
        grades.append((words, *cells))
    options = report["options"]
    lines = [
        f"aims: ratio {RATIO[0]} to {RATIO[1]}, of each grade {GRADE_RATIO[0]} to {GRADE_RATIO[1]}; precision"
        f" and recall {LEAST_FINDING} or more",
        f"missed on held-out tiles: {', '.join(missed_aims(report['rows'][TUNED])) or 'none'}",
        "ordinal error: steps of grade per true building, 'no building' being one step below no damage",
        f"{len(report['tiles']['scenes'])} tiles, {options['folds']} folds, seed {options['seed']}; intervals"
        " by bootstrap over tiles",
    ]
    tables = [aligned(rows, "<>"), aligned(grades, "<>"), "\n".join(lines), rule_lines(report)]
    return "\n\n".join(tables)


def _numbers(totals: dict[str, Any]) -> str:
    return f"{totals['predicted']}/{totals['buildings']}"


def missed_aims(row: dict[str, Any]) -> list[str]:
    """Names of the figures of ``row_figures`` that are off; what is not defined is not."""
    aims = [
        *((key, row[key], (LEAST_FINDING, 1.0)) for key in ("precision", "recall")),
        ("ratio of all", row["ratio"], RATIO),
        *((f"ratio of {name}", one["ratio"], GRADE_RATIO) for name, one in row["grades"].items()),
    ]
    return [name for name, value, (low, high) in aims if value < low or value > high]


def assessment_remarks(report: dict[str, Any], source: str) -> list[str]:
    """Where a rule comes from, as comments of its file; ``source`` is model and tiles, in words."""
    options = report["options"]
    tuned, default, flattering = (report["rows"][name] for name in (TUNED, DEFAULT, FLATTERING))
    return [
        f"Tuned by tools/tune_postprocess.py --purpose assessment on {source}:"
        f" {len(report['tiles']['scenes'])} tiles, seed {options['seed']}.",
        "Threshold and damage weights by search for the least ordinal error of buildings, end to end, with"
        " unbiased totals by grade; the temperature by likelihood.",
        f"Cross-fitted over {options['folds']} folds of tiles: predicted/true {figure(tuned['ratio'], 2)},"
        f" precision {figure(tuned['precision'])}, recall {figure(tuned['recall'])}, ordinal error"
        f" {figure(tuned['ordinal_error'])} (default rule {figure(default['ordinal_error'])}).",
        "Ordinal error on the tiles that it was tuned on, which flatters:"
        f" {figure(flattering['ordinal_error'])}.",
    ]
