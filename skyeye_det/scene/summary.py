"""How many buildings of each grade a scene or a part of it has, with intervals.

The calibrated probabilities say how many there may be: a sum of independent draws, whose deviation is the
root of the sum of p (1 - p). What buildings have wrong in common is not in it, nor what was missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from skyeye_det.damage import DamageClass
from skyeye_det.evaluation.check_estimate import DEVIATIONS
from skyeye_det.scene import terms
from skyeye_det.scene.records import Records
from skyeye_det.scene.vector_file import middles
from skyeye_det.text_table import aligned

CELL = 500.0
"""m, side of the cells in which UNOSAT counts."""

_ENDS = ("", "_expected", "_low", "_high")


@dataclass(frozen=True)
class Count:
    """Buildings of one grade.

    Attributes:
        labelled: how many have it as their grade.
        expected: sum of its probabilities.
        low, high: 90 % interval of the expected number.
    """

    labelled: int
    expected: float
    low: float
    high: float


def grade_sums(records: Records) -> dict[str, np.ndarray]:
    """Sums over the assessed buildings, (4,) by grade, which add up over parts of a scene.

    Returns:
        ``labelled``: how many have the grade; ``expected``: sum of its probabilities; ``variance`` of that;
        ``certain``: how many have it with the probability 1.
    """
    assessed = records.is_assessed
    probs = records.probabilities[assessed]
    return {
        "labelled": np.bincount(records.columns["damage"][assessed], minlength=len(DamageClass)),
        "expected": probs.sum(axis=0),
        "variance": (probs * (1 - probs)).sum(axis=0),
        "certain": (probs == 1).sum(axis=0),
    }


def counts(records: Records) -> list[Count]:
    """A ``Count`` a grade, of the assessed buildings."""
    sums = grade_sums(records)
    expected, certain, reach = sums["expected"], sums["certain"], DEVIATIONS * np.sqrt(sums["variance"])
    low = np.maximum(expected - reach, certain)
    high = np.minimum(expected + reach, records.is_assessed.sum() - certain.sum() + certain)
    rows = zip(*(each.tolist() for each in (sums["labelled"], expected, low, high)), strict=True)
    return [Count(*row) for row in rows]


def area_columns(records: Records, members: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Columns of areas, from the numbers of the buildings in each."""
    rows = []
    for numbers in members:
        inside = records.of(numbers)
        found = counts(inside)
        row: dict[str, float] = {"buildings": len(inside), "assessed": int(inside.is_assessed.sum())}
        for name, count in zip(terms.GRADES, found, strict=True):
            row |= {
                name: count.labelled,
                f"{name}_expected": count.expected,
                f"{name}_low": count.low,
                f"{name}_high": count.high,
            }
        rows.append(row)
    names = ["buildings", "assessed", *(f"{name}{end}" for name in terms.GRADES for end in _ENDS)]
    whole = {"buildings", "assessed", *terms.GRADES}
    return {
        name: np.array([row[name] for row in rows], np.int64 if name in whole else np.float64)
        for name in names
    }


def grid_cells(records: Records) -> tuple[np.ndarray, list[np.ndarray]]:
    """Squares of ``CELL`` m that hold buildings' middles, and the numbers of the buildings in each."""
    points = middles(records.geometry)
    places = np.stack([shapely.get_x(points), shapely.get_y(points)], axis=1) // CELL
    cells, inverse = np.unique(places.astype(np.int64), axis=0, return_inverse=True)
    x, y = (cells * CELL).T if len(cells) else (np.zeros(0), np.zeros(0))
    numbers = inverse.reshape(-1)
    ends = np.cumsum(np.bincount(numbers, minlength=len(cells)))
    members = np.split(np.argsort(numbers, kind="stable"), ends)[: len(cells)]
    return shapely.box(x, y, x + CELL, y + CELL), members


def polygon_members(records: Records, polygons: np.ndarray) -> list[np.ndarray]:
    """Numbers of the buildings whose middles each polygon (K,) holds."""
    tree = shapely.STRtree(middles(records.geometry))
    return [np.sort(tree.query(each, predicate="intersects")) for each in polygons]


def worst_areas(names: Sequence[str], summary: dict[str, np.ndarray], most: int = 5) -> str:
    """For the terminal: the areas with the most buildings that are expected to be major or destroyed."""
    severe = summary["major_expected"] + summary["destroyed_expected"]
    order = [index for index in np.argsort(-severe, kind="stable")[:most].tolist() if severe[index] >= 0.5]
    rows = [("worst areas", "buildings", "major or destroyed")]
    rows += [(names[each], str(int(summary["buildings"][each])), f"{severe[each]:.0f}") for each in order]
    return aligned(rows, "<>") if order else ""


def summary_table(records: Records) -> str:
    """For the terminal: each grade with its number and interval, and how many were not assessed."""
    rows = [("damage", "buildings", "expected", "90 % interval")]
    for name, count in zip(terms.GRADES, counts(records), strict=True):
        rows.append(
            (name, str(count.labelled), f"{count.expected:.0f}", f"{count.low:.0f} to {count.high:.0f}")
        )
    rows.append(("not assessed", str(int((~records.is_assessed).sum())), "", ""))
    return aligned(rows, "<>")
