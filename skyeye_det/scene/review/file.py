"""Reviews of an assessment, kept in its GeoPackage, where QGIS sees and edits the same rows.

Every change is one transaction with a row in ``review_history``. Who changes a building names the state that
was seen, by its lock; where that has changed since, nothing is written and the newer state is told. What QGIS
changes has no history: it is found by comparing the reviewed rows.
"""

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skyeye_det.errors import CodedError, shown
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import connect, geometry_blob, transaction
from skyeye_det.scene.outputs import GEOPACKAGE, RUN
from skyeye_det.scene.review import history, rows
from skyeye_det.scene.review.frame import outline_of
from skyeye_det.scene.review.rows import LAYERS, Record
from skyeye_det.scene.review.state import NO_VERDICT, Review
from skyeye_det.scene.run_record import Run

Answer = tuple[int, Record]
"""The version after a change, and the building as it is."""

_NOTHING = Review()


class ConflictError(CodedError):
    """Somebody has changed a building since; ``record`` is how it is now."""

    def __init__(self, message: str, record: Record) -> None:
        super().__init__(message, code="conflict")
        self.record = record


class NotThereError(CodedError):
    """No such building, or no change to take back."""


class ReviewFile:
    """The reviews of one assessment; its methods may be called by several threads.

    Attributes:
        path: of the GeoPackage.
        grid: of the assessment.
    """

    def __init__(self, folder: Path) -> None:
        """Opens the assessment of a folder.

        Raises:
            InputError: none is there, or it cannot be written.
        """
        self.path, run = folder / GEOPACKAGE, folder / RUN
        self.grid = Run.read(run).on_grid()
        self._base = connect(self.path)
        self._turn = threading.RLock()
        self._known: dict[tuple[str, int], tuple[int, Record]] = {}
        self._version, self._data_version = 0, -1
        with self.changing() as base:
            self._layers = rows.prepare(base)

    def close(self) -> None:
        """Closes the file."""
        self._base.close()

    @contextmanager
    def changing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, see ``geopackage_editing.transaction``; of one thread at a time."""
        with self._turn, transaction(self._base, self.path):
            yield self._base

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """As ``changing``, to read one state of the file."""
        with self._turn, transaction(self._base, self.path, "BEGIN"):
            yield self._base

    def changes(self, since: int) -> tuple[int, list[Record]]:
        """What has changed after a version, by whomever.

        Args:
            since: a version that was told before; 0: all that is reviewed.

        Returns:
            The version now, and the buildings as they are.

        Raises:
            InputError: as ``changing``.
        """
        with self.reading() as base:
            (found,) = base.execute("PRAGMA data_version").fetchone()
            if found != self._data_version:  # another program has written
                for name in self._layers:
                    self._compare(base, name)
                self._data_version = found
            told = [(key, record) for key, (version, record) in self._known.items() if version > since]
            return self._version, [record | {"model": rows.by_model(base, *key)} for key, record in told]

    def review(self, layer: int, building: str, review: Review, by: str, lock: str | None) -> Answer:
        """Writes what somebody says of a building; a drawn one without a verdict is removed.

        Args:
            layer: number of ``LAYERS``.
            building: its id.
            review: its new state.
            by: who says it.
            lock: of the state that was seen; None: one without a review.

        Raises:
            ConflictError: another state than that is there.
            NotThereError: no such building.
            InputError: as ``changing``.
        """
        name = LAYERS[layer]
        with self._turn:
            with self.changing() as base:
                fid = rows.find(base, name, building) if name in self._layers else None
                before = None if fid is None else rows.state(base, name, fid)
                if fid is None or before is None:
                    told = f"{name}: expected the id of a building, found {shown(building)}"
                    raise NotThereError(told, code="no_such_building", id=building)
                if before.lock != (lock or _NOTHING.lock):
                    raise self._conflict(name, fid, building)
                outline = rows.drawn_outline(base, name, fid) if review.verdict == NO_VERDICT else None
                if outline is None:
                    rows.write_state(base, name, fid, review)
                else:
                    rows.delete(base, name, fid)
                action = history.REVIEWED if outline is None else history.REMOVED
                history.keep(
                    base, history.Change(action, by, name, building, fid, before, review, outline=outline)
                )
                record = self._record(name, fid, building)
            return self._noted(name, fid, record)

    def draw(self, rings: Sequence[Sequence[float]], review: Review) -> Answer:
        """Adds a building that the model missed.

        Args:
            rings: its outline, see ``frame.outline_of``.
            review: its state.

        Raises:
            InputError: no outline of a building, or as ``changing``.
        """
        drawn = outline_of(rings, self.grid)
        building = f"review-{secrets.token_hex(6)}"
        with self._turn:
            with self.changing() as base:
                outline = geometry_blob(drawn, rows.srs_of(base))
                fid = rows.insert_drawn(base, building, outline, review)
                change = (history.DRAWN, review.by, BUILDINGS, building, fid, _NOTHING, review)
                history.keep(base, history.Change(*change, outline=outline))
                record = self._record(BUILDINGS, fid, building)
            return self._noted(BUILDINGS, fid, record)

    def undo(self, by: str) -> Answer:
        """Takes back the last change of a reviewer that is not taken back yet.

        Raises:
            ConflictError: somebody has changed the building since.
            NotThereError: there is none.
            InputError: as ``changing``.
        """
        with self._turn:
            with self.changing() as base:
                found = history.last_of(base, by)
                if found is None or found[1].layer not in self._layers:
                    told = f"expected a change by {shown(by)} to take back, found none"
                    raise NotThereError(told, code="nothing_to_undo", by=by)
                number, last = found
                name, fid, building = last.layer, last.fid, last.building
                left = None if last.action == history.REMOVED else last.after
                if rows.state(base, name, fid) != left:
                    raise self._conflict(name, fid, building)
                if last.action == history.REMOVED:
                    rows.insert_drawn(base, building, last.outline, last.before, fid)
                elif last.action == history.DRAWN:
                    rows.delete(base, name, fid)
                else:
                    rows.write_state(base, name, fid, last.before)
                change = (history.TAKEN_BACK, by, name, building, fid, last.after, last.before, number)
                history.keep(base, history.Change(*change, outline=last.outline))
                record = self._record(name, fid, building)
            return self._noted(name, fid, record)

    def _conflict(self, name: str, fid: int, building: str) -> ConflictError:
        told = "this building was changed since you saw it; look at it, and save again"
        return ConflictError(told, self._record(name, fid, building))

    def _record(self, name: str, fid: int, building: str) -> Record:
        found = rows.records(self._base, name, [fid], self.grid)
        record = found.get(fid) or rows.record(name, building, _NOTHING, gone=True)
        return record | {"model": rows.by_model(self._base, name, fid)}

    def _noted(self, name: str, fid: int, record: Record) -> Answer:
        """After the commit of a change of ours, which the next poll then need not look for."""
        self._version += 1
        self._known[name, fid] = self._version, record
        return self._version, record

    def _compare(self, base: sqlite3.Connection, name: str) -> None:
        """Notes which rows differ from what is known of them."""
        found = {fid: review.lock for fid, review in rows.reviews_of(base, name).items()}
        before = {fid: record for (layer, fid), (_, record) in self._known.items() if layer == name}
        left = {
            fid for fid, record in before.items() if not record["deleted"] and record["lock"] != _NOTHING.lock
        }
        changed = {fid for fid, lock in found.items() if fid not in before or before[fid]["lock"] != lock} | (
            left - found.keys()
        )
        told = rows.records(base, name, sorted(changed), self.grid)
        for fid in sorted(changed):
            gone = rows.record(name, before[fid]["id"] if fid in before else "", _NOTHING, gone=True)
            self._version += 1
            self._known[name, fid] = self._version, told.get(fid, gone)
