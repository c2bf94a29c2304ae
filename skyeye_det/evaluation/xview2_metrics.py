"""The xView2 score, from pixel counts that add up over tiles.

Formula of the official scorer (xView2 challenge, ``xview2_metrics.py``), pooled over all pixels of all tiles:

    damage predictions count only inside the predicted localization, and only where the target has a
    classified building F1 = 2PR / (P + R), 0 where TP = 0
    damage_f1 = 4 / sum over the classes of 1 / (F1 + 1e-6)
    score = 0.3 * localization_f1 + 0.7 * damage_f1

A class that the targets do not have makes this score meaningless (one F1 of 0 pulls ``damage_f1`` to 4e-6).
So :meth:`PixelCounts.score` is the official figure, and :meth:`PixelCounts.report` takes the mean over the
classes that the targets have, and says "not defined" (NaN) of the others, whatever was predicted: it is for
events and small splits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass

LOCALIZATION_WEIGHT, DAMAGE_WEIGHT = 0.3, 0.7
_EPSILON = 1e-6
_ROWS = 1 + NUM_DAMAGE_CLASSES
_NAN = float("nan")

CLASS_NAMES = tuple(grade.subtype for grade in DamageClass)
"""Names of the damage classes in a report, in order of severity."""


@dataclass(frozen=True, eq=False)
class PixelCounts:
    """True positive, false positive and false negative pixels; row 0 localization, 1..4 the damage classes.

    Attributes:
        tp: int64 (5,).
        fp: int64 (5,).
        fn: int64 (5,).
    """

    tp: np.ndarray
    fp: np.ndarray
    fn: np.ndarray

    @classmethod
    def zero(cls) -> PixelCounts:
        """Counts of no tile."""
        return cls(*(np.zeros(_ROWS, np.int64) for _ in range(3)))

    @classmethod
    def total(cls, counts: Iterable[PixelCounts]) -> PixelCounts:
        """Counts of several tiles, in any order."""
        return sum(counts, start=cls.zero())

    def __add__(self, other: PixelCounts) -> PixelCounts:
        return PixelCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    def score(self) -> dict[str, float]:
        """The official score; a class without a true positive has F1 = 0, be it absent or missed.

        Returns:
            ``score``, ``damage_f1``, ``localization_f1`` and ``damage_f1_<class>`` with the class as the
            official scorer spells it (``no_damage`` ... ``destroyed``); all in 0..1.
        """
        localization, *damage = (self._official_f1(row) for row in range(_ROWS))
        damage_f1 = _harmonic_mean(damage)
        return {
            "score": _weighted(localization, damage_f1),
            "damage_f1": damage_f1,
            "localization_f1": localization,
        } | {f"damage_f1_{name.replace('-', '_')}": f1 for name, f1 in zip(CLASS_NAMES, damage, strict=True)}

    def report(self) -> dict:
        """Precision, recall and F1 of everything, where what the targets lack is not defined.

        Returns:
            ``localization`` and ``damage.<class>``: each a dict of ``precision``, ``recall``, ``f1`` (0..1,
            NaN where the targets have no such pixel), ``tp``, ``fp``, ``fn`` (pixels); ``damage_f1``:
            harmonic and
            ``damage_macro_f1``: arithmetic mean over the classes that the targets have; ``score``: weighted
            sum of ``localization.f1`` and ``damage_f1``, NaN where either is; ``absent_classes``: names.
        """
        localization, *damage = (self._row(row) for row in range(_ROWS))
        present = [row["f1"] for row in damage if not np.isnan(row["f1"])]
        damage_f1 = _harmonic_mean(present) if present else _NAN
        return {
            "score": _weighted(localization["f1"], damage_f1),
            "localization": localization,
            "damage": dict(zip(CLASS_NAMES, damage, strict=True)),
            "damage_f1": damage_f1,
            "damage_macro_f1": sum(present) / len(present) if present else _NAN,
            "absent_classes": [
                name for name, row in zip(CLASS_NAMES, damage, strict=True) if np.isnan(row["f1"])
            ],
        }

    def _precision_recall(self, row: int) -> tuple[float, float]:
        tp, fp, fn = int(self.tp[row]), int(self.fp[row]), int(self.fn[row])
        return (tp / (tp + fp), tp / (tp + fn)) if tp else (0.0, 0.0)

    def _official_f1(self, row: int) -> float:
        precision, recall = self._precision_recall(row)
        return (2 * precision * recall) / (precision + recall) if precision and recall else 0.0

    def _row(self, row: int) -> dict[str, float]:
        counts = {"tp": int(self.tp[row]), "fp": int(self.fp[row]), "fn": int(self.fn[row])}
        if counts["tp"] + counts["fn"] == 0:
            return {"precision": _NAN, "recall": _NAN, "f1": _NAN, **counts}
        precision, recall = self._precision_recall(row)
        return {"precision": precision, "recall": recall, "f1": self._official_f1(row), **counts}


def count_pixels(
    localization: np.ndarray, damage: np.ndarray, target_localization: np.ndarray, target_damage: np.ndarray
) -> PixelCounts:
    """Counts one tile.

    Args:
        localization: predicted, unsigned integer (h, w); every value above 0 is a building.
        damage: predicted, unsigned integer (h, w), 0..4; ignored where ``localization`` is 0.
        target_localization: as ``localization``; un-classified buildings are in it.
        target_damage: 0..4; 0 where there is no building, and on un-classified ones, which do not count for
            damage.

    Returns:
        Pixel counts of this tile.

    Raises:
        ValueError: images of different shape or with values that have no meaning.
    """
    images = (localization, damage, target_localization, target_damage)
    if any(image.shape != localization.shape or image.ndim != 2 for image in images):
        raise ValueError(f"expected four images of one shape, found {[image.shape for image in images]}")
    for image in (damage, target_damage):
        if image.size and not 0 <= image.min() <= image.max() <= NUM_DAMAGE_CLASSES:
            raise ValueError(f"expected damage 0..{NUM_DAMAGE_CLASSES}, found {image.min()}..{image.max()}")
    found, true = localization > 0, target_localization > 0
    counts = np.empty((3, _ROWS), np.int64)
    hits = np.count_nonzero(found & true)
    counts[:, 0] = hits, np.count_nonzero(found) - hits, np.count_nonzero(true) - hits
    judged = target_damage > 0
    answer = (damage * found)[judged].astype(np.int64)
    pairs = np.bincount(target_damage[judged] * np.int64(_ROWS) + answer, minlength=_ROWS**2)
    confusion = pairs.reshape(_ROWS, _ROWS)  # target by prediction
    diagonal = np.diagonal(confusion)
    counts[0, 1:] = diagonal[1:]
    counts[1, 1:] = (confusion.sum(axis=0) - diagonal)[1:]
    counts[2, 1:] = (confusion.sum(axis=1) - diagonal)[1:]
    return PixelCounts(*counts)


def _harmonic_mean(values: list[float]) -> float:
    return len(values) / sum((value + _EPSILON) ** -1 for value in values)


def _weighted(localization_f1: float, damage_f1: float) -> float:
    return LOCALIZATION_WEIGHT * localization_f1 + DAMAGE_WEIGHT * damage_f1
