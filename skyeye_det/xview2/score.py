"""The xView2 score, from pixel counts that add up over tiles.

Formula of the official scorer (xView2 challenge, ``xview2_metrics.py``), pooled over all pixels of all tiles:

    F1 = 2PR / (P + R), 0 where TP = 0
    damage_f1 = 4 / sum over the classes of 1 / (F1 + 1e-6)
    score = 0.3 * localization_f1 + 0.7 * damage_f1

Damage predictions count only inside the predicted localization, and only where the target has a classified
building.

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
EPSILON = 1e-6
_ROWS = 1 + NUM_DAMAGE_CLASSES
_BLOCK = 1 << 18  # pixels counted at a time: the codes of a dense image stay in the cache
_NAN = float("nan")

CLASS_NAMES = tuple(grade.subtype for grade in DamageClass)
"""Names of the damage classes in a report, in order of severity."""

CLASS_F1_KEYS = tuple(f"damage_f1_{name.replace('-', '_')}" for name in CLASS_NAMES)
"""Keys of their F1, as the official scorer spells the classes."""


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

    def as_array(self) -> np.ndarray:
        """TP, FP and FN as the rows of one array (3, 5); ``PixelCounts(*array)`` goes back."""
        return np.stack([self.tp, self.fp, self.fn])

    def score(self) -> dict[str, float]:
        """The official score; a class without a true positive has F1 = 0, be it absent or missed.

        Returns:
            ``score``, ``damage_f1``, ``localization_f1`` and ``damage_f1_<class>`` with the class as the
            official scorer spells it (``no_damage`` ... ``destroyed``); all in 0..1.
        """
        localization, *damage = (self._official_f1(row) for row in range(_ROWS))
        damage_f1 = harmonic_mean(damage)
        return {
            "score": _weighted(localization, damage_f1),
            "damage_f1": damage_f1,
            "localization_f1": localization,
        } | dict(zip(CLASS_F1_KEYS, damage, strict=True))

    def report(self) -> dict:
        """Precision, recall and F1 of everything, where what the targets lack is not defined.

        Returns:
            ``localization`` and ``damage.<class>``: each a dict of ``precision``, ``recall``, ``f1`` (0..1,
            NaN where the targets have no such pixel), ``tp``, ``fp``, ``fn`` (pixels); ``damage_f1`` and
            ``damage_macro_f1``: harmonic and arithmetic mean over the classes that the targets have;
            ``score``: weighted sum of ``localization.f1`` and ``damage_f1``, NaN where either is;
            ``absent_classes``: names.
        """
        localization, *damage = (self._row(row) for row in range(_ROWS))
        present = [row["f1"] for row in damage if not np.isnan(row["f1"])]
        damage_f1 = harmonic_mean(present) if present else _NAN
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
    table = _count_codes(
        _flat(localization > 0 if localization.dtype != np.uint8 else localization),
        _flat(damage),
        _flat(target_localization > 0 if target_localization.dtype != np.uint8 else target_localization),
        _flat(target_damage),
    )
    counts = np.empty((3, _ROWS), np.int64)
    hits = table[1, 1].sum()
    counts[:, 0] = hits, table[:, 1].sum() - hits, table[1].sum() - hits
    confusion = table[:, 1].sum(axis=0)  # target by prediction
    confusion[:, 0] += table[:, 0].sum(axis=(0, 2))  # damage outside the localization is no answer
    confusion[0] = 0
    diagonal = np.diagonal(confusion)
    counts[0, 1:] = diagonal[1:]
    counts[1, 1:] = (confusion.sum(axis=0) - diagonal)[1:]
    counts[2, 1:] = (confusion.sum(axis=1) - diagonal)[1:]
    return PixelCounts(*counts)


def _flat(image: np.ndarray) -> np.ndarray:
    """uint8 (h * w,), contiguous."""
    return np.ascontiguousarray(image, np.uint8).reshape(-1)


def _count_codes(found: np.ndarray, damage: np.ndarray, true: np.ndarray, grade: np.ndarray) -> np.ndarray:
    """Number of pixels of each kind, int64 (2, 2, 5, 5): true building, found, true damage, damage.

    Pixels that are background in ``found``, ``true`` and ``grade`` may be left out: they count for nothing.
    """
    counts = np.zeros(4 * _ROWS**2, np.int64)
    for start in range(0, found.size, _BLOCK):
        planes = _not_empty([plane[start : start + _BLOCK] for plane in (found, true, grade, damage)])
        code = np.minimum(planes[0], 1)
        code += np.minimum(planes[1], 1) * np.uint8(2)
        code *= np.uint8(_ROWS)
        code += planes[2]
        code *= np.uint8(_ROWS)
        code += planes[3]
        counts += np.bincount(code, minlength=len(counts))
    return counts.reshape(2, 2, _ROWS, _ROWS)


def _not_empty(planes: list[np.ndarray]) -> list[np.ndarray]:
    """The pixels of the words of eight in which one of the first three planes has something.

    Buildings fill 3 % of xBD's pixels: looking at eight at a time leaves little to count.
    """
    whole = planes[0].size // 8 * 8
    words = [plane[:whole].view(np.uint64) for plane in planes]
    filled = words[0] | words[1]
    filled |= words[2]
    places = np.flatnonzero(filled != 0)  # of bool: twice as fast as of numbers
    if 2 * places.size > words[0].size:
        return planes
    return [
        np.concatenate([word[places].view(np.uint8), plane[whole:]])
        for word, plane in zip(words, planes, strict=True)
    ]


def harmonic_mean(values: list[float]) -> float:
    """The official scorer's mean of at least one F1: a millionth is added to each."""
    return len(values) / sum((value + EPSILON) ** -1 for value in values)


def _weighted(localization_f1: float, damage_f1: float) -> float:
    return LOCALIZATION_WEIGHT * localization_f1 + DAMAGE_WEIGHT * damage_f1
