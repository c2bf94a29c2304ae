"""How the buildings of tiles were found and graded, as counts that add up over tiles."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.evaluation.object_match import TrueBuildings
from skyeye_det.xview2.score import CLASS_NAMES, harmonic_mean

SIZES = ("below_16", "16_32", "above_32")
"""Groups of buildings by the side of the square of their mask's area, px."""

LEAST_AREAS = (0, 16**2, 32**2 + 1)
"""px, of the masks in each of ``SIZES``."""

TRUE_ROWS = (*CLASS_NAMES, "un-classified", "no building")
FOUND_COLUMNS = (*CLASS_NAMES, "no grade", "missed")
_UNKNOWN, _NONE = NUM_DAMAGE_CLASSES, NUM_DAMAGE_CLASSES + 1
_NAN = float("nan")

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ObjectCounts:
    """Buildings of one tile, or of many.

    Attributes:
        confusion: int64 (6, 6), ``TRUE_ROWS`` by ``FOUND_COLUMNS``; its last cell is 0.
        sizes: int64 (2, 3), true buildings, and found ones, in each of ``SIZES``.
    """

    confusion: Ints
    sizes: Ints

    @classmethod
    def zero(cls) -> ObjectCounts:
        """Counts of no tile."""
        return cls(np.zeros((len(TRUE_ROWS), len(FOUND_COLUMNS)), np.int64), np.zeros((2, 3), np.int64))

    @classmethod
    def total(cls, counts: Iterable[ObjectCounts]) -> ObjectCounts:
        """Counts of several tiles, in any order."""
        return sum(counts, start=cls.zero())

    def __add__(self, other: ObjectCounts) -> ObjectCounts:
        return ObjectCounts(self.confusion + other.confusion, self.sizes + other.sizes)

    @property
    def finding(self) -> Ints:
        """int64 (3,): buildings found, true ones, predicted ones."""
        return np.array(
            [
                self.confusion[:_NONE, :_NONE].sum(),
                self.confusion[:_NONE].sum(),
                self.confusion[:, :_NONE].sum(),
            ]
        )

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
        precision, recall, f1 = (float(value) for value in finding_figures(self.finding))
        grades = self.confusion[:NUM_DAMAGE_CLASSES, :NUM_DAMAGE_CLASSES]
        steps = np.abs(np.subtract.outer(np.arange(NUM_DAMAGE_CLASSES), np.arange(NUM_DAMAGE_CLASSES)))
        graded = int(grades.sum())
        return {
            "buildings": buildings,
            "predicted": predicted,
            "found": found,
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "by_size": {
                name: {"buildings": true, "found": hit, "recall": hit / true if true else _NAN}
                for name, true, hit in zip(SIZES, *self.sizes.tolist(), strict=True)
            },
            "damage_found": self._damage(self.confusion[:NUM_DAMAGE_CLASSES, :_NONE]),
            "damage_end_to_end": self._damage(np.delete(self.confusion, _UNKNOWN, axis=0)),
            "graded": graded,
            "ordinal_error": float((grades * steps).sum() / graded) if graded else _NAN,
            "confusion": {
                "rows": list(TRUE_ROWS),
                "columns": list(FOUND_COLUMNS),
                "counts": self.confusion.tolist(),
            },
        }

    @staticmethod
    def _damage(confusion: Ints) -> dict[str, Any]:
        """Figures of each grade; the first four rows and columns of ``confusion`` are the grades."""
        classes = {}
        for grade, name in enumerate(CLASS_NAMES):
            tp = int(confusion[grade, grade])
            fp, fn = int(confusion[:, grade].sum()) - tp, int(confusion[grade].sum()) - tp
            figures = (float(value) for value in finding_figures(np.array([tp, tp + fn, tp + fp])))
            row = dict(zip(("precision", "recall", "f1"), figures, strict=True))
            if tp + fn == 0:
                row["precision"] = _NAN
            classes[name] = {**row, "tp": tp, "fp": fp, "fn": fn}
        present = [row["f1"] for row in classes.values() if row["f1"] == row["f1"]]
        return {
            "classes": classes,
            "macro_f1": sum(present) / len(present) if present else _NAN,
            "harmonic_f1": harmonic_mean(present) if present else _NAN,
        }


def count_objects(true: TrueBuildings, damage: Ints, pairs: tuple[Ints, Ints]) -> ObjectCounts:
    """Counts the buildings of one tile.

    Args:
        true: T buildings.
        damage: int64 (N,), grade of each prediction, -1..3.
        pairs: (index of the true building, of the prediction that found it), int64 (M,) each.
    """
    rows = np.full(len(true.damage) + len(damage), _NONE)
    columns = np.full(len(rows), _NONE)
    hits, by = pairs
    rows[: len(true.damage)] = np.where(true.damage < 0, _UNKNOWN, true.damage)
    columns[len(true.damage) :] = np.where(damage < 0, _UNKNOWN, damage)
    columns[hits] = columns[len(true.damage) + by]
    kept = np.ones(len(rows), bool)
    kept[len(true.damage) + by] = False
    width = len(FOUND_COLUMNS)
    confusion = np.bincount(rows[kept] * width + columns[kept], minlength=len(TRUE_ROWS) * width)
    size = np.searchsorted(LEAST_AREAS, true.areas, side="right") - 1
    sizes = [np.bincount(group, minlength=len(SIZES)) for group in (size, size[hits])]
    return ObjectCounts(confusion.reshape(len(TRUE_ROWS), width), np.stack(sizes))


def finding_figures(counts: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """Precision, recall and F1 of (..., 3) counts: found, true, predicted; NaN where not defined.

    Precision is not defined without predictions; recall and F1 are not without true buildings.
    """
    found, true, predicted = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return found / predicted, found / true, np.where(true > 0, 2 * found / (true + predicted), _NAN)
