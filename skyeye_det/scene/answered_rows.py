"""The rows of ``damage.gpkg`` that a model has answered: graded and counted anew, and read again."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from skyeye_det.damage import IGNORE_DAMAGE, DamageClass
from skyeye_det.errors import CodedError, InputError
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import geometries_of, note_change, table_columns
from skyeye_det.scene.outputs import AREAS, CELLS
from skyeye_det.scene.own_answers import ANSWERS, OwnAnswers
from skyeye_det.scene.records import PROBABILITIES, Records, grade_columns
from skyeye_det.scene.summary import CELL, area_columns, grid_cells, polygon_members

RAW = tuple(f"raw_{name}" for name in PROBABILITIES)
"""Names of the columns of the model's own probabilities."""

_CHANGED = ("damage", "damage_label", *PROBABILITIES, "damage_gra", "unosat_class", *RAW)


@dataclass(frozen=True, eq=False)
class AnsweredRows:
    """N rows.

    Attributes:
        fids: (N,), their numbers in the file.
        numbers: (N,), of their buildings among the answers.
        geometry: (N,) shapely.
        answers: the model's own, of all buildings.
    """

    fids: np.ndarray
    numbers: np.ndarray
    geometry: np.ndarray
    answers: OwnAnswers

    def records(self, damage: np.ndarray, probs: np.ndarray) -> Records:
        """Of grades (N,), -1 of what is not assessed, and probabilities (N, 4); with the model's own ones."""
        raw = self.answers.probs[self.numbers].astype(np.float64)
        columns = {
            "building_id": np.array([self.answers.ids[k] for k in self.numbers.tolist()], object),
            "status": np.where(damage >= 0, ASSESSED, "").astype(object),
            "damage": damage,
            **{name: probs[:, grade] for grade, name in enumerate(PROBABILITIES)},
            **{name: raw[:, grade] for grade, name in enumerate(RAW)},
        }
        return Records(self.geometry, columns, {})


def answered_rows(base: sqlite3.Connection, path: Path, answers: OwnAnswers) -> AnsweredRows:
    """Known by row number and id: who copies rows in a GIS makes new numbers.

    Raises:
        InputError: the buildings are those of another run.
    """
    found = base.execute(f'SELECT fid, building_id, geom FROM "{BUILDINGS}" ORDER BY fid').fetchall()
    known = [
        row
        for row in found
        if 1 <= row[0] <= len(answers) and answers.ids[row[0] - 1] == str(row[1]) and row[2] is not None
    ]
    if len(answers) and not known:
        told = f"{path}: expected the buildings of {ANSWERS}, found others; they are of two runs"
        raise CodedError(told, code="two_runs")
    fids = np.array([row[0] for row in known], np.int64)
    return AnsweredRows(fids, fids - 1, geometries_of([row[2] for row in known]), answers)


def write_grades(base: sqlite3.Connection, rows: AnsweredRows, probs: np.ndarray, damage: np.ndarray) -> None:
    """Writes probabilities (N, 4) and grades (N,) beside the model's own; rows without a grade stay."""
    there = table_columns(base, BUILDINGS)
    for name in RAW:
        if name not in there:
            base.execute(f'ALTER TABLE "{BUILDINGS}" ADD COLUMN {name} REAL')
    assessed = damage >= 0
    names = [name for name in _CHANGED if name in there or name in RAW]
    grades = grade_columns(damage[assessed], assessed[assessed])
    values = [
        dict(zip(_CHANGED, (grade, label, *new, gra, unosat or None, *old), strict=True)) | {"fid": fid}
        for fid, grade, label, gra, unosat, new, old in zip(
            rows.fids[assessed].tolist(),
            *(each.tolist() for each in grades.values()),
            probs[assessed].tolist(),
            rows.answers.probs[rows.numbers][assessed].tolist(),
            strict=True,
        )
    ]
    pairs = ", ".join(f"{name} = :{name}" for name in names)
    base.executemany(f'UPDATE "{BUILDINGS}" SET {pairs} WHERE fid = :fid', values)
    note_change(base, BUILDINGS)


def read_grades(base: sqlite3.Connection, rows: AnsweredRows) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 4) and grades (N,) as they stand in the file; NaN and -1 of what has none."""
    columns = ", ".join(("damage", *PROBABILITIES))
    sql = f'SELECT fid, {columns} FROM "{BUILDINGS}" WHERE damage BETWEEN 0 AND 3'
    found = {fid: values for fid, *values in base.execute(sql)}
    none = [IGNORE_DAMAGE, *[np.nan] * len(DamageClass)]
    try:
        table = np.array([found.get(fid, none) for fid in rows.fids.tolist()], np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{BUILDINGS}: expected numbers in {columns}, found others ({error})") from error
    table = table.reshape(-1, len(none))
    table[~np.isfinite(table).all(axis=1)] = none
    return table[:, 1:], table[:, 0].astype(np.int64)


def count_anew(base: sqlite3.Connection, records: Records) -> None:
    """Writes the summaries of cells and areas."""
    for layer, outlines, members in (
        (AREAS, area_outlines(base, AREAS), polygon_members),
        (CELLS, area_outlines(base, CELLS), _cell_members),
    ):
        if outlines is not None:
            _write_counts(base, layer, area_columns(records, members(records, outlines)))


def counted_cells(
    base: sqlite3.Connection, records: Records
) -> tuple[dict[str, np.ndarray], np.ndarray] | None:
    """What is counted in each cell, and the outlines of the layer; None where there is no such layer."""
    outlines = area_outlines(base, CELLS)
    return None if outlines is None else (area_columns(records, _cell_members(records, outlines)), outlines)


def area_outlines(base: sqlite3.Connection, layer: str) -> np.ndarray | None:
    """Polygons (K,) of a layer of areas, in the order of its rows; None where there is no such layer."""
    if not table_columns(base, layer):
        return None
    rows = base.execute(f'SELECT geom FROM "{layer}" ORDER BY fid').fetchall()
    return geometries_of([blob for (blob,) in rows])


def _cell_members(records: Records, outlines: np.ndarray) -> list[np.ndarray]:
    cells, members = grid_cells(records)
    by_corner = {tuple(corner): each for corner, each in zip(_corners(cells), members, strict=True)}
    return [by_corner.get(tuple(corner), np.zeros(0, np.int64)) for corner in _corners(outlines)]


def _corners(cells: np.ndarray) -> list[list[int]]:
    return np.rint(shapely.bounds(cells).reshape(-1, 4)[:, :2] / CELL).astype(np.int64).tolist()


def _write_counts(base: sqlite3.Connection, layer: str, counted: Mapping[str, np.ndarray]) -> None:
    there = table_columns(base, layer)
    written = {name: each.tolist() for name, each in counted.items() if name in there}
    fids = [fid for (fid,) in base.execute(f'SELECT fid FROM "{layer}" ORDER BY fid')]
    if fids and written:
        pairs = ", ".join(f"{name} = ?" for name in written)
        base.executemany(
            f'UPDATE "{layer}" SET {pairs} WHERE fid = ?', zip(*written.values(), fids, strict=True)
        )
        note_change(base, layer)
