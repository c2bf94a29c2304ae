"""A comparison as text for people."""

from typing import Any

from skyeye_det.text_table import aligned, figure

_FIGURES = ("precision", "recall", "f1")
_FINDING = {"iou": "by IoU of 0.5 or more", "centroid": "by centroid"}
_AREA_COLUMNS = {
    "buildings": "true",
    "damaged": "true damaged",
    "unclassified": "un-classified",
    "predicted": "predicted",
    "predicted_damaged": "predicted damaged",
    "not_assessed": "not assessed",
}


def comparison_tables(report: dict[str, Any]) -> str:
    """Tables of what ``compare.compare`` returns; figures that are not defined read ``n/a``."""
    tables = [_finding(report), _confusion(report["confusion"]), _grades(report), _totals(report["totals"])]
    if report["areas"]:
        tables.append(_areas(report["areas"]))
    return "\n\n".join(tables)


def _finding(report: dict[str, Any]) -> str:
    rows: list[tuple[str, ...]] = [("buildings", "true", "predicted", "found", "precision", "recall", "F1")]
    for key, words in _FINDING.items():
        row = report["finding"][key]
        counts = (str(row[name]) for name in ("buildings", "predicted", "found"))
        rows.append((words, *counts, *(figure(row[name]) for name in _FIGURES)))
    lines = [aligned(rows)]
    if count := report["outside"]["buildings"]:
        lines.append(f"{count} true buildings lie outside the bounds of the predictions, and count as missed")
    if count := report["outside"]["predicted"]:
        lines.append(f"{count} predictions lie outside the bounds of the truth, and count as no building")
    lines += [
        f"{count} features of the {name} have no area, and were left out"
        for name, count in report["left_out"].items()
        if count
    ]
    return "\n".join(lines)


def _confusion(confusion: dict[str, Any]) -> str:
    rows = [("true \\ predicted", *confusion["columns"])]
    rows += [
        (name, *map(str, counts)) for name, counts in zip(confusion["rows"], confusion["counts"], strict=True)
    ]
    return aligned(rows)


def _grades(report: dict[str, Any]) -> str:
    found, all_of_them, sure = (report[key] for key in ("damage_found", "damage_end_to_end", "probabilities"))
    rows = [("grades", "precision", "recall", "F1", "end to end F1")]
    for name, row in found["classes"].items():
        end_to_end = figure(all_of_them["classes"][name]["f1"])
        rows.append((name, *(figure(row[key]) for key in _FIGURES), end_to_end))
    for label, key in (("macro F1", "macro_f1"), ("harmonic F1", "harmonic_f1")):
        rows.append((label, "", "", figure(found[key]), figure(all_of_them[key])))
    return (
        f"{aligned(rows)}\nof the {report['graded']} pairs by IoU that both have a grade; end to end, what is"
        " missed, not assessed or no building is wrong too\n"
        f"mean ordinal error {figure(report['ordinal_error'])} grades; log loss {figure(sure['nll'])},"
        f" expected calibration error {figure(sure['ece'])} of the probabilities of {sure['buildings']} pairs"
    )


def _totals(totals: dict[str, dict[str, float]]) -> str:
    rows = [("totals", "true", "predicted", "predicted/true", "expected")]
    for name, row in totals.items():
        expected = f"{row['expected']:.1f}" if "expected" in row else ""
        counts = (str(row["buildings"]), str(row["predicted"]))
        rows.append((name, *counts, figure(row["ratio"], 2), expected))
    return (
        f"{aligned(rows)}\nexpected: sum of probabilities; the rows of grades leave out un-classified"
        " buildings, and what was predicted for them"
    )


def _areas(areas: dict[str, dict[str, float]]) -> str:
    rows = [("area", *_AREA_COLUMNS.values(), "matched")]
    for name, row in areas.items():
        rows.append((name, *(str(row[key]) for key in _AREA_COLUMNS), figure(row["matched"], 2)))
    return (
        f"{aligned(rows)}\ndamaged: grade 1 or more; matched: share of the true buildings that are found by"
        " IoU"
    )
