"""Measures an assessment against buildings whose damage is known, such as a field survey's.

A true building is found where a predicted one overlaps it with an IoU of 0.5, one to one, the largest IoU
first, as in ``evaluation.buildings``. Outlines that were drawn on another image often lie some metres off: so
finding is also measured by centroids, where one of two buildings holds the other's. Grades are compared over
the pairs by IoU.
"""

from typing import Any

import numpy as np
import shapely

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.calibration import Reliability
from skyeye_det.decision.tuning.assessment import NONE, STEPS, UNKNOWN, grade_totals
from skyeye_det.errors import InputError
from skyeye_det.evaluation.buildings import (
    FOUND_COLUMNS,
    LEAST_IOU,
    TRUE_ROWS,
    Ints,
    Overlaps,
    confusion_of,
    damage_figures,
    finding_figures,
    match,
)
from skyeye_det.scene.graded_buildings import Graded, probabilities
from skyeye_det.scene.vector_file import NO_NAME, VectorLayer, bounds_text
from skyeye_det.xview2.score import CLASS_NAMES

_NAN = float("nan")


def compare(
    predicted: Graded, true: Graded, areas: VectorLayer | None = None, area_column: str = ""
) -> dict[str, Any]:
    """Measures predicted buildings against true ones; all layers are in one CRS.

    Args:
        predicted: of ``predicted_buildings``.
        true: of ``true_buildings``.
        areas: polygons to count in; those of one name count as one.
        area_column: with their names.

    Returns:
        Figures, NaN where there is nothing to measure:
        ``finding``: by ``iou`` and by ``centroid`` ``found``, ``buildings``, ``predicted``, ``precision``,
        ``recall``, ``f1``; ``outside``: ``predicted`` and ``buildings`` beyond the bounds of the others;
        ``left_out``: features without an area of ``predictions`` and ``truth``;
        ``confusion``: ``rows``, ``columns``, ``counts``;
        ``damage_found``: of pairs that both have a grade ``classes.<class>`` with ``precision``, ``recall``,
        ``f1``, ``tp``, ``fp``, ``fn``, and ``macro_f1``, ``harmonic_f1`` over the classes that they have;
        ``damage_end_to_end``: the same where a building that is missed or not assessed is a false negative
        and a prediction without building a false positive;
        ``graded``: number of pairs that both have a grade, ``ordinal_error``: their mean difference, 0..3;
        ``probabilities``: of these pairs, see ``Reliability.report``: ``nll`` is the log loss, ``ece`` the
        expected calibration error;
        ``totals``: of ``all`` and of each class ``buildings``, ``predicted``, ``ratio`` of predicted to true,
        and of a class ``expected``, the sum of probabilities; in those of classes no building counts whose
        true grade is not known, nor what was predicted for it;
        ``areas``: name -> see ``_area_figures``.

    Raises:
        InputError: the layers lie apart, or a column is missing.
    """
    if len(predicted.layer):
        _require_overlap(predicted.layer, true.layer)
    pairs = _matched(predicted, true, _overlaps(predicted, true, LEAST_IOU))
    by_centroid = _matched(predicted, true, _shared_centroids(predicted, true))
    confusion = confusion_of(true.damage, predicted.damage, pairs)
    grades = confusion[:NUM_DAMAGE_CLASSES, :NUM_DAMAGE_CLASSES]
    graded = int(grades.sum())
    steps = STEPS[:NUM_DAMAGE_CLASSES, :NUM_DAMAGE_CLASSES]
    probs = probabilities(predicted)
    return {
        "finding": {
            name: _finding(len(each[0]), len(true.layer), len(predicted.layer))
            for name, each in (("iou", pairs), ("centroid", by_centroid))
        },
        "outside": {
            "predicted": predicted.outside(true.layer),
            "buildings": true.outside(predicted.layer),
        },
        "left_out": {"predictions": predicted.layer.left_out, "truth": true.layer.left_out},
        "confusion": {
            "rows": list(TRUE_ROWS),
            "columns": list(FOUND_COLUMNS),
            "counts": confusion.tolist(),
        },
        "damage_found": damage_figures(grades),
        "damage_end_to_end": damage_figures(np.delete(confusion, UNKNOWN, axis=0)),
        "graded": graded,
        "ordinal_error": float((grades * steps).sum() / graded) if graded else _NAN,
        "probabilities": _reliability(probs, true.damage, pairs).report(),
        "totals": _totals(confusion, probs, true.damage, pairs),
        "areas": _area_figures(predicted, true, pairs, areas, area_column) if areas is not None else {},
    }


def _require_overlap(one: VectorLayer, other: VectorLayer) -> None:
    """Raises InputError where the bounds of two layers in one CRS do not meet."""
    if not shapely.box(*one.bounds).intersects(shapely.box(*other.bounds)):
        raise InputError(
            f"{other.path}: expected places within those of {one.path}, {bounds_text(one.bounds)}, found"
            f" {bounds_text(other.bounds)} ({one.crs.to_string()[:60]}); check the CRS of both files"
        )


def _overlaps(predicted: Graded, true: Graded, least: float) -> Overlaps:
    """Pairs whose outlines meet with an IoU of at least so much."""
    place, found = shapely.STRtree(predicted.layer.geometry).query(true.layer.geometry, "intersects")
    iou = _ious(predicted, true, place, found)
    kept = iou >= least
    return Overlaps(place[kept], found[kept], iou[kept])


def _shared_centroids(predicted: Graded, true: Graded) -> Overlaps:
    """Pairs of which one holds the other's centroid, see ``Graded.middles``."""
    place, found = shapely.STRtree(predicted.layer.geometry).query(true.middles, "intersects")
    other, own = shapely.STRtree(true.layer.geometry).query(predicted.middles, "intersects")
    both = np.stack([np.concatenate([place, own]), np.concatenate([found, other])])
    place, found = np.unique(both, axis=1)
    return Overlaps(place, found, _ious(predicted, true, place, found))


def _ious(predicted: Graded, true: Graded, place: Ints, found: Ints) -> np.ndarray:
    """float64 (P,), of true buildings ``place`` (P,) and predicted ones ``found`` (P,)."""
    one, other = true.layer.geometry[place], predicted.layer.geometry[found]
    shared = shapely.area(shapely.intersection(one, other))
    return np.asarray(shared / (shapely.area(one) + shapely.area(other) - shared))


def _matched(predicted: Graded, true: Graded, overlaps: Overlaps) -> tuple[Ints, Ints]:
    return match(overlaps, true.order, predicted.order)


def _finding(found: int, buildings: int, predicted: int) -> dict[str, Any]:
    counts = {"found": found, "buildings": buildings, "predicted": predicted}
    figures = (float(value) for value in finding_figures(np.array(list(counts.values()))))
    return counts | dict(zip(("precision", "recall", "f1"), figures, strict=True))


def _reliability(probs: np.ndarray, damage: Ints, pairs: tuple[Ints, Ints]) -> Reliability:
    """Of pairs with a true grade and probabilities."""
    own, given = damage[pairs[0]], probs[pairs[1]]
    known = (own >= 0) & ~np.isnan(given).any(axis=1)
    return Reliability.of(given[known], own[known])


def _totals(
    confusion: Ints, probs: np.ndarray, damage: Ints, pairs: tuple[Ints, Ints]
) -> dict[str, dict[str, float]]:
    predicted, true = grade_totals(confusion)
    compared = np.ones(len(probs), np.bool_)
    compared[pairs[1][damage[pairs[0]] < 0]] = False
    expected = np.nansum(probs[compared], axis=0)
    everything = int(confusion[:, :NONE].sum()), int(confusion[:NONE].sum())
    return {
        "all": _ratio(*everything),
        **{
            name: _ratio(int(predicted[grade]), int(true[grade])) | {"expected": float(expected[grade])}
            for grade, name in enumerate(CLASS_NAMES)
        },
    }


def _ratio(predicted: int, buildings: int) -> dict[str, float]:
    ratio = predicted / buildings if buildings else _NAN
    return {"buildings": buildings, "predicted": predicted, "ratio": ratio}


def _area_figures(
    predicted: Graded, true: Graded, pairs: tuple[Ints, Ints], areas: VectorLayer, column: str
) -> dict[str, dict[str, float]]:
    """Counts the buildings whose middle an area holds.

    Returns:
        Name of the area -> ``buildings``: true ones; ``damaged``: of them, of grade 1 or more;
        ``unclassified``; ``predicted``, ``predicted_damaged``, ``not_assessed``; ``matched``: share of the
        true ones that are found, NaN without any.
    """
    if not len(areas):
        raise InputError(f"{areas.path}: expected areas, found an empty layer")
    _require_overlap(true.layer, areas)
    names, numbers = np.unique(
        areas.texts(column, "name the column by --area-name", NO_NAME),
        return_inverse=True,
    )
    is_found = np.zeros(len(true.damage), np.bool_)
    is_found[pairs[0]] = True
    marks = {
        "buildings": (true, np.ones(len(true.damage), np.bool_)),
        "damaged": (true, true.damage > 0),
        "unclassified": (true, true.damage < 0),
        "found": (true, is_found),
        "predicted": (predicted, np.ones(len(predicted.damage), np.bool_)),
        "predicted_damaged": (predicted, predicted.damage > 0),
        "not_assessed": (predicted, predicted.damage < 0),
    }
    members = {id(each): _members(each, areas, numbers) for each in (true, predicted)}
    counts = {
        key: np.bincount(members[id(who)][0], mark[members[id(who)][1]], len(names)).astype(np.int64)
        for key, (who, mark) in marks.items()
    }
    rows = {}
    for number, name in enumerate(names.tolist()):
        row: dict[str, float] = {key: int(values[number]) for key, values in counts.items()}
        found = row.pop("found")
        rows[name] = row | {"matched": found / row["buildings"] if row["buildings"] else _NAN}
    return rows


def _members(buildings: Graded, areas: VectorLayer, numbers: Ints) -> Ints:
    """int64 (2, K): number of an area's name, and index of a building in it, once for each name."""
    area, building = shapely.STRtree(buildings.middles).query(areas.geometry, "intersects")
    return np.unique(np.stack([numbers.reshape(-1)[area], building]), axis=1)
