"""The report of a score as text for people and as JSON for programs."""

from typing import Any

from skyeye_det.evaluation.object_table import confusion_table, finding_table, grade_table, mask_table
from skyeye_det.text_table import aligned, figure, interval
from skyeye_det.xview2.score import CLASS_F1_KEYS, CLASS_NAMES

_HEADINGS = ("tiles", "score", "local. F1", "damage F1", "macro F1", *CLASS_NAMES)
_OBJECT_HEADINGS = ("obj. precision", "obj. recall", "obj. macro F1")


def format_report(report: dict[str, Any]) -> str:
    """The official score, figures by class, single buildings, mask AP, and the score per event.

    Args:
        report: what :func:`skyeye_det.evaluation.submission_score.score_submission` returns.

    Returns:
        Lines of text; what is not defined reads ``n/a``.
    """
    share = f"{100 * report['resampling']['level']:g} % interval"
    objects = report["objects"]
    tables = [_official_table(report, share), _class_table(report, share)]
    if objects is not None:
        tables.append(finding_table(objects, report["intervals"], share))
        tables += [grade_table(objects), confusion_table(objects)]
    if report["instances"] is not None:
        tables.append(mask_table(report["instances"]))
    tables.append(_event_table(report))
    return "\n\n".join([*tables, "\n".join([*report["notes"], _resampling_line(report)])])


def _official_table(report: dict[str, Any], share: str) -> str:
    official, overall = report["official"], report["overall"]
    ends = {key: f"{share} {interval(pair)}" for key, pair in report["intervals"].items()}
    lines = [
        f"official score   {figure(official['score'])}   {ends['score']}   ({report['tiles']} tiles)",
        f"localization F1  {figure(official['localization_f1'])}   {ends['localization_f1']}",
        f"damage F1        {figure(official['damage_f1'])}   {ends['damage_f1']}"
        "   (harmonic mean of the four classes)",
        f"damage macro F1  {figure(overall['damage_macro_f1'])}   (arithmetic mean)",
    ]
    if absent := overall["absent_classes"]:
        lines.append(
            f"the targets have no {', '.join(absent)}: the official score counts 0 for it; over the other"
            f" classes it is {figure(overall['score'])}, damage F1 {figure(overall['damage_f1'])}"
        )
    if extra := report["tiles_without_target"]:
        lines.append(f"{extra} predicted tiles have no target and were left alone")
    return "\n".join(lines)


def _class_table(report: dict[str, Any], share: str) -> str:
    rows = {"localization": report["overall"]["localization"], **report["overall"]["damage"]}
    keys = ("localization_f1", *CLASS_F1_KEYS)
    return aligned(
        [("pixels", "precision", "recall", "F1", share)]
        + [
            (
                name,
                *(figure(row[column]) for column in ("precision", "recall", "f1")),
                interval(report["intervals"][key]),
            )
            for (name, row), key in zip(rows.items(), keys, strict=True)
        ]
    )


def _event_table(report: dict[str, Any]) -> str:
    whole = {"tiles": report["tiles"], **report["overall"], "objects": report["objects"]}
    rows = {**report["events"], "all": whole}
    headings = _HEADINGS if report["objects"] is None else (*_HEADINGS, *_OBJECT_HEADINGS)
    return aligned([("event", *headings)] + [(name, *_event_row(row)) for name, row in rows.items()]) + (
        "\nper event, damage F1 and score are over the classes that the event has; n/a: not in its targets"
    )


def _event_row(row: dict[str, Any]) -> list[str]:
    values = [row["score"], row["localization"]["f1"], row["damage_f1"], row["damage_macro_f1"]]
    values += [row["damage"][name]["f1"] for name in CLASS_NAMES]
    if row["objects"] is not None:
        values += [row["objects"][key] for key in ("precision", "recall")]
        values.append(row["objects"]["damage_found"]["macro_f1"])
    return [str(row["tiles"]), *map(figure, values)]


def _resampling_line(report: dict[str, Any]) -> str:
    resampling = report["resampling"]
    return (
        f"intervals: percentiles of {resampling['draws']:,} draws of as many tiles, seed"
        f" {resampling['seed']}; n/a: fewer than 2 tiles, or a class that the targets lack"
    )
