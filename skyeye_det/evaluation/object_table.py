"""The tables of single buildings: how they were found and graded, and the mask AP."""

from typing import Any

from skyeye_det.evaluation.object_counts import SIZES
from skyeye_det.text_table import aligned, figure, interval, percent

_SIZE_NAMES = dict(zip(SIZES, ("below 16 px", "16 to 32 px", "above 32 px"), strict=True))
_COLUMNS = {"no-damage": "none", "minor-damage": "minor", "major-damage": "major"}
_MASK_ROWS = {"AP": "AP", "AP50": "AP50", "AP75": "AP75", "AR": "AR", "recall50": "recall at IoU 0.5"}


def finding_table(objects: dict[str, Any], intervals: dict[str, Any], share: str) -> str:
    """What was found, and the recall by size of the building."""
    source = "components of the localization PNGs"
    if objects["source"] == "instances":
        source = f"instances of score {objects['score_threshold']:g} and above"
    by_size = aligned(
        [("recall by side of the building", "buildings", "found", "recall")]
        + [
            (name, str(group["buildings"]), str(group["found"]), figure(group["recall"]))
            for name, group in ((_SIZE_NAMES[size], objects["by_size"][size]) for size in SIZES)
        ]
    )
    finding = aligned(
        [
            (f"object {name}", figure(objects[key]), f"{share} {interval(intervals[f'object_{key}'])}")
            for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1"))
        ]
    )
    return (
        f"objects: {source}, found at IoU >= {objects['least_iou']:g}:"
        f" {objects['found']} of {objects['buildings']} buildings by {objects['predicted']} predictions\n"
        f"{finding}\n\n{by_size}"
    )


def grade_table(objects: dict[str, Any]) -> str:
    """Damage of the buildings that were found, and of all."""
    found, all_of_them = objects["damage_found"], objects["damage_end_to_end"]
    rows = [("damage by building", "precision", "recall", "F1", "end to end F1")]
    rows += [
        (
            name,
            *(figure(row[key]) for key in ("precision", "recall", "f1")),
            figure(all_of_them["classes"][name]["f1"]),
        )
        for name, row in found["classes"].items()
    ]
    rows += [
        (label, "", "", figure(found[key]), figure(all_of_them[key]))
        for label, key in (("macro F1", "macro_f1"), ("harmonic F1", "harmonic_f1"))
    ]
    return aligned(rows) + (
        "\nprecision, recall and F1 are of found buildings; end to end, missed ones and predictions without"
        f" building are wrong too\nmean ordinal error {figure(objects['ordinal_error'])} grades"
        f" ({objects['graded']} found buildings with a grade)"
    )


def confusion_table(objects: dict[str, Any]) -> str:
    """True by predicted grade; what is missed or made up has a column and a row of its own."""
    confusion = objects["confusion"]
    columns = [_COLUMNS.get(name, name) for name in confusion["columns"]]
    rows = [("true \\ predicted", *columns)]
    rows += [
        (name, *map(str, counts)) for name, counts in zip(confusion["rows"], confusion["counts"], strict=True)
    ]
    shown = [
        at for at, name in enumerate(rows[0]) if name != "no grade" or any(int(row[at]) for row in rows[1:])
    ]
    return aligned([[row[at] for at in shown] for row in rows])


def mask_table(masks: dict[str, float]) -> str:
    """COCO's figures for all buildings and by size."""
    rows = [("masks, %", "all", *(_SIZE_NAMES[size] for size in SIZES))]
    rows += [
        (label, percent(masks[key]), *(_of_size(masks, f"{key}_{size}") for size in SIZES))
        for key, label in _MASK_ROWS.items()
    ]
    return (
        aligned(rows)
        + "\nAP and AR: mean over IoU 0.50 to 0.95, of all scores, 1,000 instances a tile at most"
    )


def _of_size(masks: dict[str, float], key: str) -> str:
    return percent(masks[key]) if key in masks else ""
