"""Columns of numbers in SQLite files, such as GeoPackages, in which SQLite keeps any text too."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from skyeye_det.errors import InputError, shown
from skyeye_det.files import open_plain

_SQLITE = b"SQLite format 3"
_NUMERIC = re.compile(r"INT|REAL|DOUBLE|FLOAT|BOOL", re.IGNORECASE)


def require_numbers(path: Path, layer: str, names: list[str]) -> None:
    """Raises InputError where SQLite keeps texts in columns of numbers, which GDAL reads as 0: no damage.

    Args:
        path: of any vector file; one that is not SQLite's is left alone.
        layer: its name.
        names: of the columns that GDAL reads as numbers.
    """
    if not path.is_file() or not _is_sqlite(path):
        return
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            kinds = base.execute("SELECT name, type FROM pragma_table_info(?)", (layer,)).fetchall()
            for name in [name for name, kind in kinds if name in names and _NUMERIC.search(kind)]:
                column, table = (each.replace('"', '""') for each in (name, layer))
                kind = f'typeof("{column}")'
                sql = f'SELECT rowid, "{column}" FROM "{table}" WHERE {kind} IN (?, ?)'
                if found := base.execute(f"{sql} LIMIT 1", ("text", "blob")).fetchone():
                    raise InputError(
                        f"{path}: {layer}: column {shown(name)}: expected numbers or null, found"
                        f" {shown(repr(found[1]))} in row {found[0]}; correct it in a GIS"
                    )
    except sqlite3.Error as error:
        raise InputError(f"{path}: expected a sound file, found another ({error})") from error


def _is_sqlite(path: Path) -> bool:
    with open_plain(path) as file:
        return file.read(len(_SQLITE)) == _SQLITE
