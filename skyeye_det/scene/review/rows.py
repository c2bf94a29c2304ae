"""The buildings' rows of a GeoPackage, as far as reviews touch them, and what the page is told of them."""

import sqlite3
from typing import Any

import numpy as np

from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.errors import CodedError, InputError, shown
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import geometries_of, geometry_of, note_change, table_columns
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import BESIDE
from skyeye_det.scene.records import PROBABILITIES
from skyeye_det.scene.review.counted import graded_only
from skyeye_det.scene.review.frame import chunk_names, rings_in_px
from skyeye_det.scene.review.state import COLUMNS, DRAWN, FALSE_BUILDING, GRADE, HAS_REVIEW, Review
from skyeye_det.scene.terms import COPERNICUS_NOT_ASSESSED

LAYERS = (BUILDINGS, BESIDE)
"""By the number that the page gives them."""

Record = dict[str, Any]
"""What the page is told of a building: ``id``; ``layer``, number of ``LAYERS``; ``damage``, ``verdict``,
``by``, ``note`` and ``lock`` of its ``Review``; ``rings``: in px of a drawn building, else None; ``deleted``:
whether it is gone; in answers also ``model``, see ``by_model``."""

_SOURCE = "review"
"""``outline_from`` of a building that a reviewer drew."""

_MODEL = ("status", "damage", *PROBABILITIES)
_NEEDED = {"fid", "geom", "building_id", "outline_from", *_MODEL, *COLUMNS}
_STATE = ", ".join(COLUMNS)


def prepare(base: sqlite3.Connection) -> list[str]:
    """The layers of ``LAYERS`` that are there, with the indices that reviews need.

    Raises:
        InputError: no assessment.
    """
    found = [name for name in LAYERS if name == BUILDINGS or table_columns(base, name)]
    for name in found:
        if lacking := _NEEDED - set(table_columns(base, name)):
            raise InputError(
                f"the layer {name}: expected the columns of an assessment, found no"
                f" {', '.join(sorted(lacking))}; give the folder of an assessment"
            )
        # So that 200,000 buildings are not gone through for each review.
        base.execute(f'CREATE INDEX IF NOT EXISTS "{name}_id" ON "{name}" (building_id)')
        base.execute(f'CREATE INDEX IF NOT EXISTS "{name}_reviewed" ON "{name}" (fid) WHERE {HAS_REVIEW}')
    return found


def find(base: sqlite3.Connection, name: str, building: str) -> int | None:
    """The row of a building, by its id; InputError where several have it, as after a split in QGIS."""
    sql = f'SELECT min(fid), count(*) FROM "{name}" WHERE building_id = ?'
    fid, count = base.execute(sql, (building,)).fetchone()
    if count > 1:
        raise CodedError(
            f"{name}: expected an id of its own for every building, found {count} with {shown(building)};"
            " give the parts other values of building_id in QGIS",
            code="shared_id",
            count=count,
            id=building,
        )
    return None if fid is None else int(fid)


def state(base: sqlite3.Connection, name: str, fid: int) -> Review | None:
    """The review of a row; None where there is no such row."""
    row = base.execute(f'SELECT {_STATE} FROM "{name}" WHERE fid = ?', (fid,)).fetchone()
    return None if row is None else Review.of_row(row)


def write_state(base: sqlite3.Connection, name: str, fid: int, review: Review) -> None:
    """Writes the review of a row."""
    values = ", ".join(f"{column} = ?" for column in COLUMNS)
    base.execute(f'UPDATE "{name}" SET {values} WHERE fid = ?', (*review.row, fid))
    note_change(base, name)


def drawn_outline(base: sqlite3.Connection, name: str, fid: int) -> bytes | None:
    """The outline, as the file holds it, of a row that a reviewer drew; None of others."""
    row = base.execute(
        f'SELECT geom FROM "{name}" WHERE fid = ? AND outline_from = ? AND status = ?', (fid, _SOURCE, DRAWN)
    ).fetchone()
    return None if row is None else row[0]


def insert_drawn(
    base: sqlite3.Connection, building: str, outline: bytes | None, review: Review, fid: int | None = None
) -> int:
    """Adds a building that a reviewer drew.

    Args:
        base: in a transaction.
        building: its id.
        outline: as the file holds it.
        review: of it.
        fid: number of the row; None: the next one.

    Returns:
        Number of the row.
    """
    geometry = geometry_of(outline)
    values = {
        "fid": fid,
        "geom": outline,
        "building_id": building,
        "damage_label": NOT_ASSESSED,
        "damage_gra": COPERNICUS_NOT_ASSESSED,
        "outline_from": _SOURCE,
        "status": DRAWN,
        "area_m2": geometry.area,
        **dict(zip(COLUMNS, review.row, strict=True)),
    }
    there = table_columns(base, BUILDINGS)
    names = [name for name in values if name in there]
    done = base.execute(
        f'INSERT INTO "{BUILDINGS}" ({", ".join(names)}) VALUES ({", ".join("?" * len(names))})',
        [values[name] for name in names],
    )
    note_change(base, BUILDINGS, geometry.bounds)
    return int(done.lastrowid or 0)


def delete(base: sqlite3.Connection, name: str, fid: int) -> None:
    """Removes a row."""
    base.execute(f'DELETE FROM "{name}" WHERE fid = ?', (fid,))
    note_change(base, name)


def srs_of(base: sqlite3.Connection) -> int:
    """Number by which the file knows the CRS of the buildings."""
    sql = "SELECT srs_id FROM gpkg_geometry_columns WHERE table_name = ?"
    return int(base.execute(sql, (BUILDINGS,)).fetchone()[0])


def reviews_of(base: sqlite3.Connection, name: str) -> dict[int, Review]:
    """Row number -> review, of all rows that people have written to."""
    rows = base.execute(f'SELECT fid, {_STATE} FROM "{name}" WHERE {HAS_REVIEW}')
    return {fid: Review.of_row(values) for fid, *values in rows}


def chunks(base: sqlite3.Connection, name: str, fids: list[int], grid: Grid) -> dict[int, str]:
    """The page's chunks that rows lie in, by their numbers; those that are not there are left out."""
    sql = f'SELECT fid, geom FROM "{name}" WHERE fid = ?'
    rows = [row for fid in fids for row in base.execute(sql, (fid,))]
    places = chunk_names(geometries_of([blob for _, blob in rows]), grid)
    return dict(zip((fid for fid, _ in rows), places, strict=True))


def records(base: sqlite3.Connection, name: str, fids: list[int], grid: Grid) -> dict[int, Record]:
    """What the page is told of rows, by their numbers; those that are not there are left out."""
    told = {}
    sql = f'SELECT building_id, outline_from, geom, {_STATE} FROM "{name}" WHERE fid = ?'
    for fid in fids:
        for building, source, blob, *values in base.execute(sql, (fid,)):
            rings = rings_in_px(geometry_of(blob), grid) if source == _SOURCE else None
            told[fid] = record(name, str(building or ""), Review.of_row(values), rings)
    return told


def by_model(base: sqlite3.Connection, name: str, fid: int) -> dict[str, Any] | None:
    """What the model says of a row: ``status``; ``damage`` and ``p`` (4), None of one without a grade.

    None of a row that a reviewer drew, and of none.
    """
    row = base.execute(f'SELECT {", ".join(_MODEL)} FROM "{name}" WHERE fid = ?', (fid,)).fetchone()
    if row is None or row[0] == DRAWN:
        return None
    text, *cells = row
    numbers = np.array([[_number(each) for each in cells]])
    (status,), (damage,) = graded_only(np.array([str(text or "")], object), numbers[:, 0], numbers[:, 1:])
    is_graded = damage != IGNORE_DAMAGE
    return {
        "status": status,
        "damage": int(damage) if is_graded else None,
        "p": numbers[0, 1:].tolist() if is_graded else None,
    }


def _number(value: object) -> float:
    """NaN of what is none: SQLite's columns hold anything."""
    return float(value) if isinstance(value, int | float) else np.nan


def record(
    name: str, building: str, review: Review, rings: list[list[float]] | None = None, gone: bool = False
) -> Record:
    """What the page is told of one building."""
    return {
        "id": building,
        "layer": LAYERS.index(name),
        "damage": review.damage if review.verdict in (GRADE, FALSE_BUILDING) else None,
        "verdict": review.verdict,
        "by": review.by,
        "note": review.note,
        "lock": review.lock,
        "rings": rings,
        "deleted": gone,
    }
