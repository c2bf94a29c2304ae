"""``review_history``: a row for every change that a reviewer made, in the order they were made."""

import sqlite3
from dataclasses import dataclass

from skyeye_det.errors import InputError
from skyeye_det.scene.geopackage_editing import create_attributes, note_change, table_columns
from skyeye_det.scene.review.state import COLUMNS, Review

TABLE = "review_history"
REVIEWED, DRAWN, REMOVED, TAKEN_BACK = "reviewed", "drawn", "removed", "taken back"

_BEFORE = tuple(f"{name}_before" for name in COLUMNS)
_TYPES = ("BOOLEAN", "MEDIUMINT", "TEXT", "TEXT")
_STATES = dict(zip((*_BEFORE, *COLUMNS), _TYPES * 2, strict=True))
_FIELDS = {
    "time": "TEXT",
    "action": "TEXT",
    "changed_by": "TEXT",
    "layer": "TEXT",
    "building_id": "TEXT",
    "building_fid": "INTEGER",
    **_STATES,
    "takes_back": "INTEGER",
    "outline": "BLOB",
}
_WRITTEN = [name for name in _FIELDS if name != "time"]


@dataclass(frozen=True)
class Change:
    """A reviewer's change of a building.

    Attributes:
        action: ``REVIEWED``, ``DRAWN``, ``REMOVED`` or ``TAKEN_BACK``.
        by: whose change.
        layer: name of the building's.
        building: its id.
        fid: number of its row.
        before, after: states of its review.
        takes_back: number of the change that this one takes back.
        outline: of a building that was drawn or removed, as the GeoPackage holds it.
    """

    action: str
    by: str
    layer: str
    building: str
    fid: int
    before: Review
    after: Review
    takes_back: int | None = None
    outline: bytes | None = None


def prepare(base: sqlite3.Connection) -> None:
    """Makes the table where it is not there yet."""
    found = table_columns(base, TABLE)
    if not found:
        create_attributes(base, TABLE, _FIELDS)
    elif lacking := set(_FIELDS) - set(found):
        raise InputError(f"{TABLE}: expected a table of {', '.join(_FIELDS)}, found none of {lacking}")


def keep(base: sqlite3.Connection, change: Change) -> None:
    """Adds a change."""
    prepare(base)
    values = (
        *(change.action, change.by, change.layer, change.building, change.fid),
        *(*change.before.row, *change.after.row, change.takes_back, change.outline),
    )
    base.execute(
        f"INSERT INTO {TABLE} (time, {', '.join(_WRITTEN)})"
        f" VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'){', ?' * len(values)})",
        values,
    )
    note_change(base, TABLE)


def last_of(base: sqlite3.Connection, by: str) -> tuple[int, Change] | None:
    """A reviewer's last change that is not taken back, with its number."""
    if not table_columns(base, TABLE):
        return None
    row = base.execute(
        f"SELECT fid, {', '.join(_WRITTEN)} FROM {TABLE} AS one WHERE changed_by = ? AND action <> ?"
        f" AND NOT EXISTS (SELECT 1 FROM {TABLE} WHERE takes_back = one.fid) ORDER BY fid DESC LIMIT 1",
        (by, TAKEN_BACK),
    ).fetchone()
    if row is None:
        return None
    number, action, who, layer, building, fid, *states, takes_back, outline = row
    before, after = Review.of_row(states[:4]), Review.of_row(states[4:])
    return number, Change(action, who, layer, building, fid, before, after, takes_back, outline)
