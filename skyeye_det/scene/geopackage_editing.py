"""Rows of a GeoPackage changed in place, while QGIS may have it open.

A GeoPackage's triggers keep its spatial index by functions that SQLite itself lacks (``ST_MinX`` and others,
OGC 12-128r18, extension *rtree*); a connection of ``connect`` has them.
"""

import sqlite3
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import shapely

from skyeye_det.errors import CodedError, InputError

_PATIENCE = 30.0  # s that a writer waits; SQLite lets others pass who come at the right moment
_BRIEFLY = 5.0  # s, in which other shards of an assessment have read the file
_ENVELOPES = (0, 4, 6, 6, 8)
"""Numbers in the envelope of a geometry, by its kind."""


class BusyFileError(CodedError):
    """Another program keeps a file from being written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="busy_file")


def connect(path: Path) -> sqlite3.Connection:
    """Opens a GeoPackage for changes; commits survive the loss of process and power.

    The journal stays as it is: QGIS keeps a write-ahead log while it has the file open, and is not held up
    then; else the file alone has all of it. While the connection is open, nothing else in this process may
    open the file with an SQLite of its own, as pyogrio does: closing it drops the locks of this one.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        base = sqlite3.connect(
            f"{path.resolve().as_uri()}?mode=rw",
            uri=True,
            timeout=_PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )
        base.text_factory = lambda text: text.decode(errors="replace")
        base.execute("SELECT count(*) FROM gpkg_contents")
        base.execute("PRAGMA synchronous = EXTRA")
        base.execute("PRAGMA wal_autocheckpoint = 1")  # a copy of the file without QGIS's log has all of it
    except sqlite3.Error as error:
        raise InputError(f"{path}: expected a GeoPackage that can be written ({error})") from error
    base.create_function("ST_IsEmpty", 1, _is_empty, deterministic=True)
    for place, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY")):
        base.create_function(name, 1, _bound(place), deterministic=True)
    return base


def require_closed(path: Path) -> None:
    """Brings all of a GeoPackage's log into it, and refuses one that another program has open.

    What SQLite keeps beside a file that is then replaced would be applied to the new one.

    Raises:
        InputError: another program has it open, or it left a log without its file.
    """
    if not path.is_file():
        names = (f"{path.name}{end}" for end in ("-wal", "-journal"))
        if logs := [name for name in names if path.with_name(name).exists()]:
            raise InputError(
                f"{path.parent}: expected {path.name} beside {', '.join(logs)}, found no such file; bring"
                " them together again, or remove what is left"
            )
        return
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, timeout=_BRIEFLY)
        ) as base:
            base.execute("PRAGMA journal_mode = DELETE")
            base.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise BusyFileError(
                f"{path}: another program has it open, such as QGIS; close it there, and start again"
            ) from error
        raise InputError(f"{path}: cannot be replaced ({error})") from error
    except sqlite3.DatabaseError:
        return  # no GeoPackage


@contextmanager
def transaction(base: sqlite3.Connection, path: Path, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """All of a block's changes, or none of them; with ``BEGIN`` one state to read.

    Raises:
        BusyFileError: another program writes, for longer than one waits.
        InputError: the file cannot be written.
    """
    try:
        base.execute(begin)
        try:
            yield
            base.execute("COMMIT")
        finally:
            if base.in_transaction:
                base.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise BusyFileError(
                f"{path}: another program writes to it, such as QGIS; nothing was saved, try again"
            ) from error
        raise CodedError(f"{path}: cannot be used ({error})", code="file_fault", reason=error) from error
    except sqlite3.DatabaseError as error:
        told = f"{path}: expected a sound GeoPackage, found another ({error})"
        raise CodedError(told, code="file_fault", reason=error) from error


def table_columns(base: sqlite3.Connection, table: str) -> list[str]:
    """Names of a table's columns; none where there is no such table."""
    return [str(name) for (name,) in base.execute("SELECT name FROM pragma_table_info(?)", (table,))]


def create_attributes(base: sqlite3.Connection, table: str, columns: Mapping[str, str]) -> None:
    """Makes a table without geometry, which a GIS lists; ``columns``: name -> type."""
    named = (f"{name} {kind}" for name, kind in columns.items())
    fields = ", ".join(["fid INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL", *named])
    base.execute(f'CREATE TABLE "{table}" ({fields})')
    base.execute(
        "INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier) VALUES (?, 'attributes', ?)",
        (table, table),
    )


def note_change(base: sqlite3.Connection, table: str, bounds: Iterable[float] | None = None) -> None:
    """Writes when a table was changed, and widens its extent by bounds: left, bottom, right, top."""
    now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
    base.execute(f"UPDATE gpkg_contents SET last_change = {now} WHERE table_name = ?", (table,))
    if bounds is not None:
        left, bottom, right, top = bounds
        base.execute(
            "UPDATE gpkg_contents SET min_x = min(coalesce(min_x, ?1), ?1), min_y = min(coalesce(min_y, ?2),"
            " ?2), max_x = max(coalesce(max_x, ?3), ?3), max_y = max(coalesce(max_y, ?4), ?4)"
            " WHERE table_name = ?5",
            (left, bottom, right, top, table),
        )


def geometry_blob(geometry: shapely.MultiPolygon, srs_id: int) -> bytes:
    """A geometry, not empty, as a GeoPackage holds it: header, envelope, WKB."""
    left, bottom, right, top = geometry.bounds
    header = struct.pack("<2sBBi4d", b"GP", 0, 0b011, srs_id, left, right, bottom, top)
    return header + shapely.to_wkb(geometry, byte_order=1)


def geometry_of(blob: object) -> shapely.Geometry:
    """The geometry that a GeoPackage holds; an empty one of what is none."""
    return geometries_of([blob])[0]


def geometries_of(blobs: Sequence[object]) -> np.ndarray:
    """As ``geometry_of``, (N,)."""
    found = shapely.from_wkb(np.array([_wkb(blob) for blob in blobs], object), on_invalid="ignore")
    found[shapely.is_missing(found)] = shapely.GeometryCollection()
    return found


def _wkb(blob: object) -> bytes | None:
    if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP":
        return None
    kind = blob[3] >> 1 & 0b111
    return blob[8 + 8 * _ENVELOPES[kind] :] if kind < len(_ENVELOPES) else None


def _is_empty(blob: object) -> int | None:
    return None if blob is None else int(shapely.is_empty(geometry_of(blob)))


def _bound(place: int) -> Callable[[object], float | None]:
    def bound(blob: object) -> float | None:
        value = float(np.asarray(shapely.bounds(geometry_of(blob)))[place])
        return None if value != value else value

    return bound
