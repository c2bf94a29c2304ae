"""The report of a score as text for people and as JSON for programs."""

import math
from typing import Any

from skyeye_det.evaluation.xview2_metrics import CLASS_NAMES

_HEADINGS = ("tiles", "score", "local. F1", "damage F1", "macro F1", *CLASS_NAMES)
_DIGITS = 4


def format_report(report: dict) -> str:
    """Three tables: the official score, precision/recall/F1 of everything, and the score per event.

    Args:
        report: what :func:`skyeye_det.evaluation.submission_score.score_submission` returns.

    Returns:
        Lines of text; what is not defined reads ``n/a``.
    """
    return "\n\n".join((_official_table(report), _class_table(report["overall"]), _event_table(report)))


def json_report(report: dict) -> dict:
    """The report with null in place of NaN, which JSON does not know."""
    return _without_nan(report)


def _official_table(report: dict) -> str:
    official, overall = report["official"], report["overall"]
    lines = [
        f"official score   {official['score']:.{_DIGITS}f}   ({report['tiles']} tiles)",
        f"localization F1  {official['localization_f1']:.{_DIGITS}f}",
        f"damage F1        {official['damage_f1']:.{_DIGITS}f}   (harmonic mean of the four classes)",
        f"damage macro F1  {_number(overall['damage_macro_f1'])}   (arithmetic mean)",
    ]
    if absent := overall["absent_classes"]:
        lines.append(
            f"the targets have no {', '.join(absent)}: the official score counts 0 for it; over the other"
            f" classes it is {_number(overall['score'])}, damage F1 {_number(overall['damage_f1'])}"
        )
    if extra := report["tiles_without_target"]:
        lines.append(f"{extra} predicted tiles have no target and were left alone")
    return "\n".join(lines)


def _class_table(overall: dict) -> str:
    rows = {"localization": overall["localization"], **overall["damage"]}
    return _aligned(
        [("", "precision", "recall", "F1")]
        + [
            (name, *(_number(row[key]) for key in ("precision", "recall", "f1")))
            for name, row in rows.items()
        ]
    )


def _event_table(report: dict) -> str:
    rows = {**report["events"], "all": {"tiles": report["tiles"], **report["overall"]}}
    return _aligned([("event", *_HEADINGS)] + [(name, *_event_row(row)) for name, row in rows.items()]) + (
        "\nper event, damage F1 and score are over the classes that the event has; n/a: not in its targets"
    )


def _event_row(row: dict) -> list[str]:
    values = (row["score"], row["localization"]["f1"], row["damage_f1"], row["damage_macro_f1"])
    return [
        str(row["tiles"]),
        *map(_number, values),
        *(_number(row["damage"][name]["f1"]) for name in CLASS_NAMES),
    ]


def _number(value: float) -> str:
    return "n/a" if math.isnan(value) else f"{value:.{_DIGITS}f}"


def _aligned(rows: list[tuple[str, ...]]) -> str:
    """Columns padded to one width: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    )


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
