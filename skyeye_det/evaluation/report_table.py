"""The report of a score as text for people."""

from typing import Any

from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.evaluation.buildings import SIZES
from skyeye_det.text_table import aligned, figure, interval
from skyeye_det.xview2.score import CLASS_F1_KEYS, CLASS_NAMES

_HEADINGS = ("tiles", "score", "local. F1", "damage F1", "macro F1", *CLASS_NAMES)
_BUILDING_HEADINGS = ("bldg. precision", "bldg. recall", "bldg. macro F1")
_SIZE_NAMES = dict(zip(SIZES, ("below 16 px", "16 to 32 px", "above 32 px"), strict=True))
_COLUMNS = {"no-damage": "none", "minor-damage": "minor", "major-damage": "major"}
_MASK_ROWS = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR": "AR", "recall50": "recall at IoU 0.5"}
_FIGURES = ("precision", "recall", "f1")
_INTERVAL = "90 % interval"


def format_report(report: dict[str, Any]) -> str:
    """The official score, figures by class, single buildings, mask AP, and the score per event.

    Of what ``submission_score.score_submission`` returns; figures that are not defined read ``n/a``.
    """
    buildings, masks = report["buildings"], report["instances"]
    tables = [_official_table(report), _class_table(report)]
    if buildings is not None:
        tables += [_finding_table(buildings, report["intervals"])]
        tables += [_grade_table(buildings), _confusion_table(buildings["confusion"])]
    if masks is not None:
        tables.append(_mask_table(masks))
    resampling = report["resampling"]
    intervals = (
        f"intervals: percentiles of {resampling['draws']:,} draws of as many tiles, seed"
        f" {resampling['seed']}; n/a: fewer than 2 tiles, or a class that the targets lack"
    )
    return "\n\n".join([*tables, _event_table(report), "\n".join([*report["notes"], intervals])])


def _official_table(report: dict[str, Any]) -> str:
    official, overall = report["official"], report["overall"]
    ends = {key: f"{_INTERVAL} {interval(pair)}" for key, pair in report["intervals"].items()}
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


def _class_table(report: dict[str, Any]) -> str:
    found = {"localization": report["overall"]["localization"], **report["overall"]["damage"]}
    rows = [("pixels", "precision", "recall", "F1", _INTERVAL)]
    for (name, row), key in zip(found.items(), ("localization_f1", *CLASS_F1_KEYS), strict=True):
        rows.append((name, *(figure(row[each]) for each in _FIGURES), interval(report["intervals"][key])))
    return aligned(rows)


def _finding_table(buildings: dict[str, Any], intervals: dict[str, Any]) -> str:
    """What was found, and the recall by size of the building."""
    source = "instances" if buildings["source"] == "instances" else "components of the localization PNGs"
    by_size = [("recall by side of the building", "buildings", "found", "recall")]
    for size, name in _SIZE_NAMES.items():
        row = buildings["by_size"][size]
        by_size.append((name, str(row["buildings"]), str(row["found"]), figure(row["recall"])))
    finding = [
        (f"building {name}", figure(buildings[key]), f"{_INTERVAL} {interval(intervals[f'building_{key}'])}")
        for name, key in zip(("precision", "recall", "F1"), _FIGURES, strict=True)
    ]
    return (
        f"buildings: {source}, found at IoU >= {buildings['least_iou']:g}:"
        f" {buildings['found']} of {buildings['buildings']} by {buildings['predicted']} predictions\n"
        f"{aligned(finding)}\n\n{aligned(by_size)}"
    )


def _grade_table(buildings: dict[str, Any]) -> str:
    """Damage of the buildings that were found, and of all."""
    found, all_of_them = buildings["damage_found"], buildings["damage_end_to_end"]
    rows = [("damage by building", "precision", "recall", "F1", "end to end F1")]
    for name, row in found["classes"].items():
        end_to_end = figure(all_of_them["classes"][name]["f1"])
        rows.append((name, *(figure(row[key]) for key in _FIGURES), end_to_end))
    for label, key in (("macro F1", "macro_f1"), ("harmonic F1", "harmonic_f1")):
        rows.append((label, "", "", figure(found[key]), figure(all_of_them[key])))
    return aligned(rows) + (
        "\nprecision, recall and F1 are of found buildings; end to end, missed ones and predictions without"
        f" building are wrong too\nmean ordinal error {figure(buildings['ordinal_error'])} grades"
        f" ({buildings['graded']} found buildings with a grade)"
    )


def _confusion_table(confusion: dict[str, Any]) -> str:
    """True by predicted grade; what is missed or made up has a column and a row of its own."""
    rows = [["true \\ predicted", *(_COLUMNS.get(name, name) for name in confusion["columns"])]]
    for name, counts in zip(confusion["rows"], confusion["counts"], strict=True):
        rows.append([name, *map(str, counts)])
    columns = [
        column for column in zip(*rows, strict=True) if column[0] != NOT_ASSESSED or any(map(int, column[1:]))
    ]
    return aligned(list(zip(*columns, strict=True)))


def _mask_table(masks: dict[str, float]) -> str:
    """COCO's figures for all buildings and by size."""
    rows = [("masks, %", "all", *_SIZE_NAMES.values())]
    for key, label in _MASK_ROWS.items():
        names = (key, *(f"{key}_{size}" for size in SIZES))
        rows.append((label, *(figure(masks[name], 1) if name in masks else "" for name in names)))
    note = "AP and AR: mean over IoU 0.50 to 0.95, of all scores, 1,000 instances a tile at most"
    return f"{aligned(rows)}\n{note}"


def _event_table(report: dict[str, Any]) -> str:
    whole = {"tiles": report["tiles"], **report["overall"], "buildings": report["buildings"]}
    rows = [("event", *_HEADINGS, *(() if report["buildings"] is None else _BUILDING_HEADINGS))]
    for name, row in {**report["events"], "all": whole}.items():
        values = [row["score"], row["localization"]["f1"], row["damage_f1"], row["damage_macro_f1"]]
        values += [row["damage"][each]["f1"] for each in CLASS_NAMES]
        if buildings := row["buildings"]:
            values += [buildings["precision"], buildings["recall"], buildings["damage_found"]["macro_f1"]]
        rows.append((name, str(row["tiles"]), *map(figure, values)))
    note = "per event, damage F1 and score are over the classes that the event has; n/a: not in its targets"
    return f"{aligned(rows)}\n{note}"
