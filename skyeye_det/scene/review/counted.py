"""The buildings of an assessment as they count: as people say of them, or else as the model does."""

import sqlite3

import numpy as np
import shapely

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.evaluation.check_estimate import NOT_A_BUILDING
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import geometries_of
from skyeye_det.scene.records import PROBABILITIES, Records
from skyeye_det.scene.review.state import CANNOT_TELL


def is_reviewed(records: Records) -> np.ndarray:
    """Bool (N,): has a verdict, see ``Review.verdict``."""
    damage = records.columns["review_damage"]
    known = np.isin(damage, np.arange(NOT_A_BUILDING, NUM_DAMAGE_CLASSES))
    return known | (np.isnan(damage) & (records.columns["reviewed"] == 1))


def as_reviewed(records: Records) -> Records:
    """Puts people's verdicts in the place of the model's.

    Args:
        records: with ``review_damage`` as float64, NaN where null, and ``reviewed``.

    Returns:
        Without what is no building. A person's grade has the probability 1; who cannot tell leaves none.
    """
    found = records.of(records.columns["review_damage"] != NOT_A_BUILDING)
    reviewed, damage = is_reviewed(found), found.columns["review_damage"]
    graded = reviewed & ~np.isnan(damage)
    columns = dict(found.columns)
    columns["status"] = np.where(graded, ASSESSED, np.where(reviewed, CANNOT_TELL, columns["status"])).astype(
        object
    )
    columns["damage"] = np.where(graded, np.nan_to_num(damage), columns["damage"]).astype(np.int64)
    columns["damage"][reviewed & ~graded] = IGNORE_DAMAGE
    for grade, name in enumerate(PROBABILITIES):
        columns[name] = np.where(graded, damage == grade, columns[name])
    return Records(found.geometry, columns, found.missing)


def graded_only(status: np.ndarray, damage: np.ndarray, probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``status`` and ``damage`` (N,) of rows; where a grade or its probabilities lack, another and -1."""
    graded = np.isin(damage, np.arange(NUM_DAMAGE_CLASSES)) & np.isfinite(probs).all(axis=1)
    assessed, status = np.asarray(status == ASSESSED), status.copy()
    status[assessed & ~graded] = NOT_ASSESSED
    return status, np.where(assessed & graded, damage, IGNORE_DAMAGE).astype(np.int64)


def buildings_of(base: sqlite3.Connection) -> Records:
    """All buildings of an open GeoPackage, with the columns that ``as_reviewed`` needs."""
    names = ("status", "damage", *PROBABILITIES, "reviewed", "review_damage")
    found = base.execute(f'SELECT geom, {", ".join(names)} FROM "{BUILDINGS}" ORDER BY fid').fetchall()
    table = np.array(found, object).reshape(len(found), 1 + len(names))
    geometry = geometries_of(table[:, 0].tolist())
    there = np.isfinite(shapely.bounds(geometry).reshape(-1, 4)).all(axis=1)
    numbers = table[there, 2:].astype(np.float64)
    probs = numbers[:, 1 : 1 + len(PROBABILITIES)]
    texts = np.array([str(each or "") for each in table[there, 1].tolist()], object)
    status, damage = graded_only(texts, numbers[:, 0], probs)
    columns = dict(zip((*PROBABILITIES, "reviewed", "review_damage"), numbers[:, 1:].T, strict=True))
    return Records(geometry[there], {"status": status, "damage": damage, **columns}, {})
