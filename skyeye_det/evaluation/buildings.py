"""Which true building is found by which predicted one, one to one, and how the found ones are classified.

``T`` true and ``N`` predicted buildings of one tile. Nothing here costs an image per building: truth is held
as crops, predicted instances as run lengths (compared by pycocotools, boxes first), and the components of a
class image as one image of labels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.decision.tuning.assessment import NONE, UNKNOWN
from skyeye_det.evaluation.truth import TrueBuildings
from skyeye_det.xview2.score import CLASS_NAMES, harmonic_mean

LEAST_IOU = 0.5
"""A building counts as found by a mask that overlaps it with at least this IoU."""

SIZES = ("below_16", "16_32", "above_32")
"""Groups of buildings by the side of the square of their mask's area, px."""

TRUE_ROWS = (*CLASS_NAMES, "un-classified", "no building")
FOUND_COLUMNS = (*CLASS_NAMES, NOT_ASSESSED, "missed")
_NAN = float("nan")
_BLOCK = 1024  # predicted instances compared with all true ones at a time

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FoundComponents:
    """Buildings of a pair of class images: the 8-connected components of the localization.

    Attributes:
        labels: int32 (h, w), 0 for background, else 1 + index of the component.
        areas: int64 (N,), px.
        damage: int64 (N,): the class, 0..3, that most of its pixels have, the lesser of two as frequent; -1
            where none has any.
    """

    labels: NDArray[np.int32]
    areas: Ints
    damage: Ints

    @classmethod
    def of(cls, localization: NDArray[np.uint8], damage: NDArray[np.uint8]) -> FoundComponents:
        """Components of uint8 (h, w) images; ``localization`` above 0 is building, ``damage`` 0..4."""
        building = (localization > 0).astype(np.uint8)
        count, labels = cv2.connectedComponents(building, connectivity=8, ltype=cv2.CV_32S)
        values = NUM_DAMAGE_CLASSES + 1
        places = np.flatnonzero(building)
        codes = labels.reshape(-1)[places] * np.int64(values) + damage.reshape(-1)[places]
        votes = np.bincount(codes, minlength=count * values).reshape(count, values)[1:]
        grades = np.where(votes[:, 1:].any(axis=1), votes[:, 1:].argmax(axis=1), IGNORE_DAMAGE)
        return cls(labels, votes.sum(axis=1), grades)


class Overlaps(NamedTuple):
    """Pairs with an IoU of at least ``LEAST_IOU``: index (P,) of the true and of the predicted building."""

    true: Ints
    found: Ints
    iou: NDArray[np.float64]


def overlaps_of_masks(true: list[dict[str, Any]], found: list[dict[str, Any]]) -> Overlaps:
    """Overlaps of run lengths that have been checked; sorted by ``found``, then ``true``."""
    pairs = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for start in range(0, len(found) if true else 0, _BLOCK):
        ious = coco_mask.iou(found[start : start + _BLOCK], true, [0] * len(true))
        rows, columns = np.nonzero(ious >= LEAST_IOU)
        pairs.append((columns, rows + start, ious[rows, columns]))
    return Overlaps(*(np.concatenate(parts) for parts in zip(*pairs, strict=True)))


def overlaps_of_components(true: TrueBuildings, found: FoundComponents) -> Overlaps:
    """Overlaps with the components of a class image."""
    boxes = zip(true.corners.tolist(), true.crops, strict=True)
    beneath = [found.labels[y : y + crop.shape[0], x : x + crop.shape[1]][crop > 0] for (x, y), crop in boxes]
    owner = np.repeat(np.arange(len(beneath)), true.areas)
    labels = len(found.areas) + 1
    keys = owner * labels + np.concatenate([np.zeros(0, np.int64), *beneath])
    keys, shared = np.unique(keys, return_counts=True)
    building, label = np.divmod(keys, labels)
    building, label, shared = (part[label > 0] for part in (building, label, shared))
    iou = shared / (true.areas[building] + found.areas[label - 1] - shared)
    kept = iou >= LEAST_IOU
    return Overlaps(building[kept], label[kept] - 1, iou[kept])


def match(overlaps: Overlaps, true_rank: Ints, found_rank: Ints) -> tuple[Ints, Ints]:
    """Pairs buildings one to one, the largest IoU first.

    By IoU and not by score, as COCO does: class images have no scores, and all kinds of model are to be
    measured by one rule. Above 0.5 the choice matters only where masks of one side overlap each other.

    Args:
        overlaps: P possible pairs.
        true_rank: int64 (T,), decides between equal IoUs, lowest first, then ``found_rank`` does.
        found_rank: int64 (N,).

    Returns:
        (index of the true building, index of the predicted one): int64 (M,), M <= P.
    """
    order = np.lexsort((found_rank[overlaps.found], true_rank[overlaps.true], -overlaps.iou))
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for true, found in zip(overlaps.true[order].tolist(), overlaps.found[order].tolist(), strict=True):
        if true not in pairs and found not in taken:
            pairs[true] = found
            taken.add(found)
    return np.array(list(pairs), np.int64), np.array(list(pairs.values()), np.int64)


def match_masks(
    true: TrueBuildings, masks: list[dict[str, Any]], scores: NDArray[np.floating], damage: Ints
) -> tuple[Ints, Ints]:
    """Pairs as ``match`` does, of N predicted instances; between equal IoUs, the better score is first.

    Args:
        true: T buildings of a tile.
        masks: N run lengths that have been checked.
        scores: (N,).
        damage: int64 (N,).
    """
    areas = np.array([coco_mask.area(mask) for mask in masks], np.int64)  # it fails for a list of 256
    overlaps = overlaps_of_masks(true.run_lengths(), masks)
    return match(overlaps, _rank_of_true(true), rank(-scores, areas, damage))


def match_components(true: TrueBuildings, found: FoundComponents) -> tuple[Ints, Ints]:
    """Pairs as ``match`` does; components are numbered by place, whatever the order of the truth."""
    return match(overlaps_of_components(true, found), _rank_of_true(true), np.arange(len(found.areas)))


def _rank_of_true(true: TrueBuildings) -> Ints:
    return rank(true.corners[:, 1], true.corners[:, 0], true.areas, true.damage)


def rank(*keys: NDArray[Any]) -> Ints:
    """Place of each item in an order that does not depend on how they were listed; the first key leads."""
    return np.argsort(np.lexsort(keys[::-1]))


@dataclass(frozen=True, eq=False)
class BuildingCounts:
    """How the buildings of one tile, or of many, were found and classified; adds up.

    Attributes:
        confusion: int64 (6, 6), ``TRUE_ROWS`` by ``FOUND_COLUMNS``; its last cell is 0.
        sizes: int64 (2, 3), true buildings, and found ones, in each of ``SIZES``.
    """

    confusion: Ints
    sizes: Ints

    @classmethod
    def total(cls, counts: Iterable[BuildingCounts]) -> BuildingCounts:
        """Counts of several tiles, in any order."""
        zero = cls(np.zeros((len(TRUE_ROWS), len(FOUND_COLUMNS)), np.int64), np.zeros((2, 3), np.int64))
        return sum(counts, start=zero)

    def __add__(self, other: BuildingCounts) -> BuildingCounts:
        return BuildingCounts(self.confusion + other.confusion, self.sizes + other.sizes)

    @property
    def finding(self) -> Ints:
        """int64 (3,): buildings found, true ones, predicted ones."""
        found = self.confusion[:NONE, :NONE].sum()
        return np.array([found, self.confusion[:NONE].sum(), self.confusion[:, :NONE].sum()])

    def report(self) -> dict[str, Any]:
        """All figures; NaN where there is nothing to measure.

        Returns:
            ``buildings``, ``predicted``, ``found``: numbers; ``precision``, ``recall``, ``f1`` of finding,
            0..1 (precision NaN without predictions, the others without buildings);
            ``by_size.<size>``: ``buildings``, ``found``, ``recall``;
            ``damage_found``: of the found buildings that have a grade, ``classes.<class>`` with
            ``precision``, ``recall``, ``f1``, ``tp``, ``fp``, ``fn``, NaN where none is of the class,
            ``macro_f1`` and ``harmonic_f1`` over the other classes;
            ``damage_end_to_end``: the same where a missed building is a false negative of its grade, and a
            prediction without building a false positive of the grade it was given;
            ``ordinal_error``: mean difference of grade, 0..3, over ``graded``: found buildings with a grade,
            by predictions that have one; ``confusion``: ``rows``, ``columns``, ``counts``.
        """
        found, buildings, predicted = self.finding.tolist()
        grades = self.confusion[:NUM_DAMAGE_CLASSES, :NUM_DAMAGE_CLASSES]
        steps = np.abs(np.subtract.outer(np.arange(NUM_DAMAGE_CLASSES), np.arange(NUM_DAMAGE_CLASSES)))
        graded = int(grades.sum())
        return {
            "buildings": buildings,
            "predicted": predicted,
            "found": found,
            **_named_figures(found, buildings, predicted),
            "by_size": {
                name: {"buildings": true, "found": hit, "recall": hit / true if true else _NAN}
                for name, true, hit in zip(SIZES, *self.sizes.tolist(), strict=True)
            },
            "damage_found": damage_figures(self.confusion[:NUM_DAMAGE_CLASSES, :NONE]),
            "damage_end_to_end": damage_figures(np.delete(self.confusion, UNKNOWN, axis=0)),
            "graded": graded,
            "ordinal_error": float((grades * steps).sum() / graded) if graded else _NAN,
            "confusion": {
                "rows": list(TRUE_ROWS),
                "columns": list(FOUND_COLUMNS),
                "counts": self.confusion.tolist(),
            },
        }


def confusion_of(true: Ints, found: Ints, pairs: tuple[Ints, Ints]) -> Ints:
    """Counts buildings by their grades: int64 (6, 6), ``TRUE_ROWS`` by ``FOUND_COLUMNS``.

    Args:
        true: int64 (T,), grades -1..3, -1 where un-classified.
        found: int64 (N,), grades -1..3, -1 for no grade.
        pairs: of ``match``.
    """
    hits, by = pairs
    grades = np.where(found < 0, UNKNOWN, found)
    rows = np.where(true < 0, UNKNOWN, true)
    columns = np.full(len(rows), NONE)
    columns[hits] = grades[by]
    confusion = np.zeros((len(TRUE_ROWS), len(FOUND_COLUMNS)), np.int64)
    np.add.at(confusion, (rows, columns), 1)
    np.add.at(confusion[NONE], np.delete(grades, by), 1)
    return confusion


def count_buildings(true: TrueBuildings, damage: Ints, pairs: tuple[Ints, Ints]) -> BuildingCounts:
    """Counts the buildings of one tile.

    Predictions have grades ``damage``, int64 (N,), -1..3; ``pairs`` are of ``match``.
    """
    hits, _ = pairs
    confusion = confusion_of(true.damage, damage, pairs)
    groups = size_groups(true.areas)
    sizes = [np.bincount(group, minlength=len(SIZES)) for group in (groups, groups[hits])]
    return BuildingCounts(confusion, np.stack(sizes))


def size_groups(areas: Ints) -> Ints:
    """Index in ``SIZES`` of each area, px."""
    return np.searchsorted((16**2, 32**2 + 1), areas, side="right")


def finding_figures(counts: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall and F1 of (..., 3) counts: found, true, predicted; NaN where not defined.

    Precision is not defined without predictions; recall and F1 are not without true buildings.
    """
    found, true, predicted = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return found / predicted, found / true, np.where(true > 0, 2 * found / (true + predicted), _NAN)


def _named_figures(*counts: int) -> dict[str, float]:
    figures = (float(value) for value in finding_figures(np.array(counts)))
    return dict(zip(("precision", "recall", "f1"), figures, strict=True))


def damage_figures(confusion: Ints) -> dict[str, Any]:
    """Figures of each class, as in ``BuildingCounts.report``.

    The first four rows and columns of ``confusion`` are the classes.
    """
    classes = {}
    for grade, name in enumerate(CLASS_NAMES):
        tp, true, predicted = (
            int(part.sum()) for part in (confusion[grade, grade], confusion[grade], confusion[:, grade])
        )
        row = _named_figures(tp, true, predicted)
        if true == 0:
            row["precision"] = _NAN
        classes[name] = {**row, "tp": tp, "fp": predicted - tp, "fn": true - tp}
    present = [row["f1"] for row in classes.values() if row["f1"] == row["f1"]]
    return {
        "classes": classes,
        "macro_f1": sum(present) / len(present) if present else _NAN,
        "harmonic_f1": harmonic_mean(present) if present else _NAN,
    }
