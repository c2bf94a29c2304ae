"""A random sample of an assessment's buildings to check, kept in its GeoPackage, and what the answers say.

The frame is the assessed buildings of the layer ``buildings`` when the sample is drawn; with each building of
the sample the table keeps all that estimates need. Answers are the reviews of these buildings, whoever made
them and wherever; those of other buildings count in nothing.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

import numpy as np

from skyeye_det.errors import InputError
from skyeye_det.evaluation import check_estimate
from skyeye_det.evaluation.check_estimate import (
    NOT_A_BUILDING,
    OPEN,
    CheckSample,
    Estimated,
    estimate,
    needed,
)
from skyeye_det.evaluation.check_sample import SMALLEST, draw, strata
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import create_attributes, note_change, table_columns
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import PROBABILITIES
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.rows import LAYERS, chunks, state
from skyeye_det.scene.review.state import FALSE_BUILDING, GRADE, UNSURE, Review

TABLE = "review_sample"

_SUMS = [f"stratum_{name}" for name in PROBABILITIES]
_FIELDS = {
    "building_id": "TEXT",
    "building_fid": "INTEGER",
    "stratum": "INTEGER",
    "stratum_size": "INTEGER",
    **dict.fromkeys((*PROBABILITIES, *_SUMS), "REAL"),
    "seed": "INTEGER",
}
"""Of a row a building, in the order to check. ``stratum``: grade x 3 + band of its probability, see
``check_sample.strata``; ``stratum_p_*``: sums of the probabilities of all its buildings."""


def draw_sample(review: ReviewFile, size: int, seed: int) -> int:
    """Draws a sample in place of one that nobody has answered yet.

    Args:
        review: of the assessment.
        size: buildings, all where there are fewer.
        seed: the same one draws the same.

    Returns:
        Buildings of the sample.

    Raises:
        InputError: too few are asked for, nothing is assessed, or there is a sample with answers.
    """
    if size < SMALLEST:
        raise InputError(f"--sample {size}: expected {SMALLEST} buildings or more, found fewer")
    with review.changing() as base:
        if answered := int((_answers(base, _rows(base)) != OPEN).sum()):
            raise InputError(
                f"{review.path}: expected no sample with answers, found one with {answered}; leave out"
                f" --sample to go on with it, or delete the table {TABLE} to begin anew"
            )
        frame = base.execute(
            f'SELECT fid, building_id, damage, {", ".join(PROBABILITIES)} FROM "{BUILDINGS}"'
            " WHERE status = ? AND damage BETWEEN 0 AND 3 ORDER BY fid",
            (ASSESSED,),
        ).fetchall()
        if not frame:
            raise InputError(f"{review.path}: expected assessed buildings to draw from, found none")
        drawn_rows = _drawn(frame, size, seed)
        if table_columns(base, TABLE):
            base.execute(f"DELETE FROM {TABLE}")
        else:
            create_attributes(base, TABLE, _FIELDS)
        base.executemany(
            f"INSERT INTO {TABLE} ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})", drawn_rows
        )
        note_change(base, TABLE)
        return len(drawn_rows)


def _drawn(frame: Sequence[tuple[Any, ...]], size: int, seed: int) -> list[tuple[Any, ...]]:
    """Rows of ``_FIELDS``, of a frame of row number, id, grade and probabilities."""
    grades = np.array([row[2] for row in frame], np.int64)
    probs = np.array([row[3:] for row in frame], np.float64)
    stratum = strata(grades, probs, size)
    sizes = np.bincount(stratum).tolist()
    sums = np.stack([np.bincount(stratum, column) for column in probs.T], axis=1).tolist()
    chosen = draw(stratum, size, seed)
    return [
        (frame[k][1], frame[k][0], code, sizes[code], *frame[k][3:], *sums[code], seed)
        for k, code in zip(chosen.tolist(), stratum[chosen].tolist(), strict=True)
    ]


def sample_to_check(review: ReviewFile) -> dict[str, Any] | None:
    """The sample in the order to check, see ``buildings_to_check``."""
    with review.reading() as base:
        return buildings_to_check(base, [row[:2] for row in _rows(base)], review.grid)


def buildings_to_check(
    base: sqlite3.Connection, found: Sequence[tuple[str, int]], grid: Grid
) -> dict[str, Any] | None:
    """What the page is told of buildings, by their ids and row numbers; None where there are none.

    Returns:
        ``size``; ``buildings``: ``id``, ``layer``, ``chunk`` and ``answered`` of each.
    """
    if not found:
        return None
    answered = (_answers(base, found) != OPEN).tolist()
    places = chunks(base, BUILDINGS, [fid for _, fid in found], grid)
    buildings = [
        {"id": building, "layer": LAYERS.index(BUILDINGS), "chunk": places.get(fid, ""), "answered": done}
        for (building, fid), done in zip(found, answered, strict=True)
    ]
    return {"size": len(buildings), "buildings": buildings}


def sample_estimate(review: ReviewFile) -> dict[str, Any]:
    """What the answers to the sample say of all assessed buildings.

    Returns:
        ``answered``; ``needed``: answers in order that an estimate takes, 0 without a sample. With as many,
        ``counts`` by grade and ``buildings``: ``labelled``, ``estimated``, ``low``, ``high``; ``accuracy``,
        ``accuracy_low``, ``accuracy_high``, 0..1; ``is_assisted``, ``counted``, ``unsure``, ``waiting`` and
        ``merged`` of ``CheckEstimate``.
    """
    with review.reading() as base:
        rows = _rows(base)
        answers = _answers(base, rows)
    table = np.array([row[2:] for row in rows], np.float64).reshape(len(rows), 2 + 2 * len(PROBABILITIES))
    stratum, sizes = table[:, :2].astype(np.int64).T
    sample = CheckSample(stratum, sizes, *np.split(table[:, 2:], 2, axis=1))
    progress = {"answered": int((answers != OPEN).sum()), "needed": needed(stratum)}
    found = estimate(sample, answers) if rows else None
    if found is None:
        return progress
    labelled = zip(found.labelled, found.counts, strict=True)
    return progress | {
        "counts": [_row(count, number) for number, count in labelled],
        "buildings": _row(found.buildings, sum(found.labelled)),
        "accuracy": found.accuracy.value,
        "accuracy_low": found.accuracy.low,
        "accuracy_high": found.accuracy.high,
        **{name: getattr(found, name) for name in ("is_assisted", "counted", "unsure", "waiting", "merged")},
    }


def answered_in_order(base: sqlite3.Connection) -> set[int]:
    """Numbers of the rows of the sample before the first that is open: themselves a random sample."""
    rows = _rows(base)
    is_open = np.append(_answers(base, rows) == OPEN, True)
    return {row[1] for row in rows[: int(is_open.argmax())]}


def drawn(base: sqlite3.Connection) -> set[int]:
    """Numbers of the rows of the sample."""
    return {row[1] for row in _rows(base)}


def _rows(base: sqlite3.Connection) -> list[tuple[Any, ...]]:
    """Id, row number, stratum, its size, probabilities and their sums, in the order to check."""
    if not table_columns(base, TABLE):
        return []
    columns = ", ".join(name for name in _FIELDS if name != "seed")
    return base.execute(f"SELECT {columns} FROM {TABLE} ORDER BY fid").fetchall()


def _answers(base: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> np.ndarray:
    """int64 (n,), of rows that begin with id and row number, see ``check_estimate.estimate``."""
    return np.array([_answer(state(base, BUILDINGS, row[1])) for row in rows], np.int64)


def _answer(review: Review | None) -> int:
    """Of a building that somebody has deleted in a GIS, that it is none."""
    if review is None:
        return NOT_A_BUILDING
    if review.verdict == GRADE:
        return int(review.damage)
    return {FALSE_BUILDING: NOT_A_BUILDING, UNSURE: check_estimate.UNSURE}.get(review.verdict, OPEN)


def _row(found: Estimated, labelled: int) -> dict[str, float]:
    return {"labelled": labelled, "estimated": found.value, "low": found.low, "high": found.high}
