"""The buildings of an assessment as they count: as people judged them, or else as the model did."""

import numpy as np

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene.records import PROBABILITIES, Records
from skyeye_det.scene.review.state import NOT_A_BUILDING

CANNOT_TELL = "a reviewer cannot tell"
"""``status`` under which a building counts that somebody has looked at in vain."""


def is_judged(records: Records) -> np.ndarray:
    """Bool (N,): has a verdict, see ``Review.verdict``."""
    damage = records.columns["review_damage"]
    known = np.isin(damage, np.arange(NOT_A_BUILDING, NUM_DAMAGE_CLASSES))
    return known | (np.isnan(damage) & (records.columns["reviewed"] == 1))


def as_judged(records: Records) -> Records:
    """Puts people's verdicts in the place of the model's.

    Args:
        records: with ``review_damage`` as float64, NaN where null, and ``reviewed``.

    Returns:
        Without what is no building. A person's grade has the probability 1; who cannot tell leaves none.
    """
    found = records.of(records.columns["review_damage"] != NOT_A_BUILDING)
    judged, damage = is_judged(found), found.columns["review_damage"]
    graded = judged & ~np.isnan(damage)
    columns = dict(found.columns)
    columns["status"] = np.where(graded, ASSESSED, np.where(judged, CANNOT_TELL, columns["status"])).astype(
        object
    )
    columns["damage"] = np.where(graded, np.nan_to_num(damage), columns["damage"]).astype(np.int64)
    columns["damage"][judged & ~graded] = IGNORE_DAMAGE
    for grade, name in enumerate(PROBABILITIES):
        columns[name] = np.where(graded, damage == grade, columns[name])
    return Records(found.geometry, columns, found.missing)
