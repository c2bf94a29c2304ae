"""Who reads an assessment shall know that it is adapted: a row of its GeoPackage, written with the grades."""

import sqlite3
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skyeye_det.decision.adaptation import LEAST_LABELS, Choice, Labels
from skyeye_det.errors import InputError
from skyeye_det.scene.geopackage_editing import connect, create_attributes, note_change, table_columns
from skyeye_det.scene.run_record import Run

TABLE = "adaptation"
UNDONE, ELSEWHERE = "undone", "elsewhere"
"""Kinds beside ``adaptation.KINDS``: the model's grades were brought back; ``assess --adaptation``."""

_FIELDS = {
    "time": "TEXT",
    "kind": "TEXT",
    "file": "TEXT",
    "labels": "INTEGER",
    "sampled": "INTEGER",
    "loss": "REAL",
    "gain": "REAL",
    "low": "REAL",
    "high": "REAL",
    "is_in_files": "BOOLEAN",
}


class AdaptationRecord(msgspec.Struct, frozen=True):
    """What was done last: the model adapted, found better as it is, or brought back.

    Attributes:
        time: when.
        kind: of ``adaptation.KINDS``, or ``UNDONE``.
        file: content of ``adaptation.json``; None: there is none.
        labels: of people, that it was chosen by.
        sampled: how many of these are of the random sample.
        loss, gain, low, high: see ``adaptation.Choice``; None where nothing was compared.
        is_in_files: whether rasters, table and ``adaptation.json`` show it too.
    """

    time: str
    kind: str
    file: str | None = None
    labels: int = 0
    sampled: int = 0
    loss: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    is_in_files: bool = False

    @classmethod
    def of(cls, labels: Labels, choice: Choice, is_undone: bool, file: str | None) -> "AdaptationRecord":
        """What is written now."""
        time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        if is_undone:
            return cls(time, UNDONE)
        numbers = (choice.loss, choice.gain, choice.low, choice.high) if np.isfinite(choice.loss) else ()
        sampled = int(labels.is_sampled.sum())
        return cls(time, choice.adaptation.kind, file, len(labels), sampled, *numbers)


def write_adaptation_record(base: sqlite3.Connection, record: AdaptationRecord) -> None:
    """Writes it in place of an earlier one."""
    if table_columns(base, TABLE):
        base.execute(f"DROP TABLE {TABLE}")
    create_attributes(base, TABLE, _FIELDS)
    base.execute(
        f"INSERT INTO {TABLE} ({', '.join(_FIELDS)}) VALUES ({', '.join('?' * len(_FIELDS))})",
        msgspec.structs.astuple(record),
    )
    note_change(base, TABLE)


def read_adaptation_record(base: sqlite3.Connection) -> AdaptationRecord | None:
    """None where nobody has adapted; InputError where the table is another."""
    if not (there := table_columns(base, TABLE)):
        return None
    names = [name for name in _FIELDS if name in there]  # an earlier version wrote no ``file``
    try:
        row = base.execute(f"SELECT {', '.join(names)} FROM {TABLE} LIMIT 1").fetchone()
        return row and msgspec.convert(dict(zip(names, row, strict=True)), AdaptationRecord, strict=False)
    except (sqlite3.OperationalError, msgspec.ValidationError) as error:
        raise InputError(f"{TABLE}: expected a row of `skyeye adapt`, found another ({error})") from error


def note_files(base: sqlite3.Connection, record: AdaptationRecord) -> None:
    """Says that the files beside show it, where it still stands."""
    base.execute(f"UPDATE {TABLE} SET is_in_files = 1 WHERE time = ?", (record.time,))


def shown_adaptation(path: Path, run: Run) -> dict[str, Any] | None:
    """What the page is told: ``time``, ``kind`` and numbers of an ``AdaptationRecord``; None: not adapted.

    Args:
        path: of the GeoPackage.
        run: the record of the assessment; ``ELSEWHERE``, with ``event`` and ``labels``, stands in it.
    """
    with closing(connect(path)) as base:
        record = read_adaptation_record(base)
    if record is not None:
        return shown_record(record)
    if run.adaptation is None:
        return None
    return {"time": "", "kind": ELSEWHERE, "event": run.adaptation.event, "labels": run.adaptation.labels}


def shown_record(record: AdaptationRecord) -> dict[str, Any]:
    """As of ``shown_adaptation``."""
    told: dict[str, Any] = msgspec.to_builtins(record)
    del told["is_in_files"], told["file"]
    return told | {"least": LEAST_LABELS}
