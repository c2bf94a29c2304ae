"""Buildings graded anew by an adaptation: records before they are written, and those of an assessment."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from skyeye_det import __version__
from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.decision.adaptation import (
    KINDS,
    NONE,
    Adaptation,
    Choice,
    Labels,
    choose,
)
from skyeye_det.decision.adaptation_file import Card, write_adaptation
from skyeye_det.decision.label_groups import groups_in_place, random_groups
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError
from skyeye_det.files import read_json
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene.formats import FORMATS
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import (
    connect,
    geometries_of,
    note_change,
    table_columns,
    transaction,
)
from skyeye_det.scene.outputs import GEOPACKAGE, PROBABILITY, RASTER, RUN, TABLE, write_table
from skyeye_det.scene.own_answers import ANSWERS, OwnAnswers, read_own_answers
from skyeye_det.scene.rasterize import write_rasters
from skyeye_det.scene.records import PROBABILITIES, Records, grade_columns
from skyeye_det.scene.review.rows import prepare, reviewed_states
from skyeye_det.scene.review.sample import answered_in_order
from skyeye_det.scene.review.state import GRADE
from skyeye_det.scene.run_record import Run
from skyeye_det.scene.summary import CELL, area_columns, grid_cells, polygon_members, summary_table

ADAPTATION = "adaptation.json"

_RAW = [f"raw_{name}" for name in PROBABILITIES]
_CHANGED = ("damage", "damage_label", *PROBABILITIES, "damage_gra", "unosat_class", *_RAW)


def adapted_records(records: Records, adaptation: Adaptation, rule: DecisionRule) -> Records:
    """Records with other probabilities and grades; the model's own are in ``raw_p_*``."""
    assessed, raw = records.is_assessed, records.probabilities
    probs, damage = _graded(adaptation, raw, records.features, rule, records.columns["damage"])
    damage = np.where(assessed, damage, IGNORE_DAMAGE)
    values = {name: np.where(assessed, probs[:, grade], 0.0) for grade, name in enumerate(PROBABILITIES)}
    values |= {name: raw[:, grade] for grade, name in enumerate(_RAW)}
    columns = grade_columns(damage, assessed)
    missing = dict.fromkeys(_RAW, ~assessed) | {"unosat_class": columns["unosat_class"] == 0}
    return replace(
        records,
        columns=records.columns | values | columns,
        missing=records.missing | missing,
    )


def adapt_folder(folder: Path, event: str = "", undo: bool = False) -> str:
    """Grades the buildings of an assessment anew, by those that people have reviewed.

    Always from the model's own answers, whatever was done before. One transaction changes the GeoPackage;
    then rasters and table are written. A killed run is done again.

    Args:
        folder: of the assessment, that nobody else writes to.
        event: name for the adaptation's card.
        undo: whether to bring back the model's own answers instead.

    Returns:
        What was done, and whether it helps, for the terminal.

    Raises:
        InputError: no assessment, none with the model's own answers, or a file cannot be written.
    """
    run = Run.of(read_json(folder / RUN), str(folder / RUN))
    answers = read_own_answers(folder / ANSWERS)
    path = folder / GEOPACKAGE
    with closing(connect(path)) as base, transaction(base, path):
        prepare(base)
        rows = _rows(base, path, answers)
        labels, places = _labels(base, rows, answers)
        features = answers.features[answers.damage >= 0]
        choice = _UNDONE if undo else choose(labels, features)
        # Elsewhere, buildings are not those that the sample was drawn from: neighbours are left out together.
        elsewhere = _UNDONE if undo else choose(replace(labels, groups=places), features)
        records = _updated(base, rows, answers, choice.adaptation, run.rule)
        cells = _count_anew(base, records)
    write_rasters(folder / RASTER, folder / PROBABILITY, records, run.on_grid())
    if cells is not None:
        write_table(folder / TABLE, area_columns(records, cells[1]), cells[0])
    if elsewhere.adaptation.kind == NONE:
        (folder / ADAPTATION).unlink(missing_ok=True)
    else:
        sampled = int(labels.is_sampled.sum())
        card = Card(
            event=event or folder.resolve().name.encode(errors="replace").decode(),
            labels=len(labels),
            sampled=sampled,
            gain=elsewhere.gain,
            low=elsewhere.low,
            high=elsewhere.high,
            model=run.model,
            model_sha256=answers.model_sha256,
            skyeye_det=__version__,
        )
        write_adaptation(folder / ADAPTATION, elsewhere.adaptation, card)
    told = [_told(labels, choice), summary_table(records)]
    if choice.adaptation.kind != elsewhere.adaptation.kind == NONE:
        told.append(f"no {ADAPTATION}: whether this helps in other places the labels do not tell")
    others = [f"damage.{name}" for name in FORMATS]
    if stale := [name for name in others if (folder / name).is_file()]:
        told.append(f"note: {', '.join(stale)} still show the grades of `skyeye assess`")
    return "\n".join(told)


_UNDONE = Choice(Adaptation(), 0.0, 0.0, 0.0, float("nan"), "so it was asked")


def _told(labels: Labels, choice: Choice) -> str:
    kind = choice.adaptation.kind
    many = f"{len(labels)} labels, {int(labels.is_sampled.sum())} of them of the random sample"
    if kind == NONE:
        return f"{many}; the model's own grades stand: {choice.reason}"
    what = "another prior and temperature" if kind == KINDS[1] else "prior, temperature and features"
    share = [100 * value / choice.loss for value in (choice.gain, choice.low, choice.high)]
    return (
        f"{many}; adapted: {what}\n{choice.reason}: {share[0]:.0f} % better, 90 % interval"
        f" {share[1]:.0f} to {share[2]:.0f} %{'; it may not help' if choice.low <= 0 else ''}"
    )


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of the file that the model has answered, with the number of each among the answers."""

    fids: np.ndarray
    numbers: np.ndarray
    geometry: np.ndarray


def _rows(base: sqlite3.Connection, path: Path, answers: OwnAnswers) -> _Rows:
    """Known by row number and id: who copies rows in a GIS makes new numbers."""
    found = base.execute(f'SELECT fid, building_id, status, geom FROM "{BUILDINGS}" ORDER BY fid').fetchall()
    known = [
        row
        for row in found
        if 1 <= row[0] <= len(answers) and answers.ids[row[0] - 1] == str(row[1]) and row[3] is not None
    ]
    if len(answers) and not known:
        raise InputError(f"{path}: expected the buildings of {ANSWERS}, found others; they are of two runs")
    fids = np.array([row[0] for row in known], np.int64)
    return _Rows(fids, fids - 1, geometries_of([row[3] for row in known]))


def _labels(base: sqlite3.Connection, rows: _Rows, answers: OwnAnswers) -> tuple[Labels, np.ndarray]:
    """Of the buildings that have a grade of the model and one of a person; and their groups in place."""
    sampled = answered_in_order(base)
    reviews = reviewed_states(base, BUILDINGS)
    chosen = [
        place
        for place, (fid, number) in enumerate(zip(rows.fids.tolist(), rows.numbers.tolist(), strict=True))
        if fid in reviews and reviews[fid].verdict == GRADE and answers.damage[number] >= 0
    ]
    fids, numbers = rows.fids[chosen], rows.numbers[chosen]
    points = shapely.get_coordinates(shapely.centroid(rows.geometry[chosen])).reshape(-1, 2)
    labels = Labels(
        probs=answers.probs[numbers],
        grades=np.array([int(reviews[fid].damage) for fid in fids.tolist()], np.int64),
        groups=random_groups(len(chosen)),
        is_sampled=np.isin(fids, list(sampled)),
        features=answers.features[numbers],
    )
    return labels, groups_in_place(points)


def _graded(
    adaptation: Adaptation,
    raw: np.ndarray,
    features: np.ndarray | None,
    rule: DecisionRule,
    own: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (N, 4) and grades (N,); the model's own where nothing is changed."""
    if adaptation.kind == NONE:
        return np.asarray(raw, np.float64), own
    if adaptation.direction and (features is None or features.shape[1] != len(adaptation.direction)):
        raise InputError(
            f"--adaptation: expected one for buildings with {0 if features is None else features.shape[1]}"
            f" features, found {len(adaptation.direction)}; give one that was made by this model without"
            " footprints"
        )
    probs = adaptation.apply(raw, features)
    return probs, (probs * np.asarray(rule.damage_weights)).argmax(axis=1)


def _updated(
    base: sqlite3.Connection, rows: _Rows, answers: OwnAnswers, adaptation: Adaptation, rule: DecisionRule
) -> Records:
    """Writes the rows that have a grade, and gives all rows that the model has answered."""
    there = table_columns(base, BUILDINGS)
    for name in _RAW:
        if name not in there:
            base.execute(f'ALTER TABLE "{BUILDINGS}" ADD COLUMN {name} REAL')
    raw, own = answers.probs[rows.numbers], answers.damage[rows.numbers].astype(np.int64)
    probs, damage = _graded(adaptation, raw, answers.features[rows.numbers], rule, own)
    assessed = own >= 0
    damage = np.where(assessed, damage, IGNORE_DAMAGE)
    names = [name for name in _CHANGED if name in there or name in _RAW]
    grades = grade_columns(damage[assessed], assessed[assessed])
    values = [
        dict(zip(_CHANGED, (grade, label, *new, gra, unosat or None, *old), strict=True)) | {"fid": fid}
        for fid, grade, label, gra, unosat, new, old in zip(
            rows.fids[assessed].tolist(),
            *(each.tolist() for each in grades.values()),
            probs[assessed].tolist(),
            raw[assessed].tolist(),
            strict=True,
        )
    ]
    pairs = ", ".join(f"{name} = :{name}" for name in names)
    base.executemany(f'UPDATE "{BUILDINGS}" SET {pairs} WHERE fid = :fid', values)
    note_change(base, BUILDINGS)
    columns = {
        "status": np.where(assessed, ASSESSED, "").astype(object),
        "damage": damage,
        **{name: probs[:, grade] for grade, name in enumerate(PROBABILITIES)},
    }
    return Records(rows.geometry, columns, {})


def _count_anew(base: sqlite3.Connection, records: Records) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Writes the summaries of cells and areas; gives the cells, with the numbers of the buildings in each."""
    cells, members = grid_cells(records)
    by_corner = {tuple(corner): each for corner, each in zip(_corners(cells), members, strict=True)}

    def in_cells(outlines: np.ndarray) -> list[np.ndarray]:
        return [by_corner.get(tuple(corner), np.zeros(0, np.int64)) for corner in _corners(outlines)]

    _write_counts(base, "summary_areas", records, lambda outlines: polygon_members(records, outlines))
    return _write_counts(base, "summary_grid", records, in_cells)


def _corners(cells: np.ndarray) -> list[list[int]]:
    return np.rint(shapely.bounds(cells).reshape(-1, 4)[:, :2] / CELL).astype(np.int64).tolist()


def _write_counts(
    base: sqlite3.Connection,
    layer: str,
    records: Records,
    members_of: Callable[[np.ndarray], list[np.ndarray]],
) -> tuple[np.ndarray, list[np.ndarray]] | None:
    there = table_columns(base, layer)
    if not there:
        return None
    rows = base.execute(f'SELECT fid, geom FROM "{layer}" ORDER BY fid').fetchall()
    outlines = geometries_of([blob for _, blob in rows])
    members = members_of(outlines)
    counted = {name: each.tolist() for name, each in area_columns(records, members).items() if name in there}
    if rows and counted:
        pairs = ", ".join(f"{name} = ?" for name in counted)
        fids = [fid for fid, _ in rows]
        base.executemany(
            f'UPDATE "{layer}" SET {pairs} WHERE fid = ?', zip(*counted.values(), fids, strict=True)
        )
        note_change(base, layer)
    return outlines, members
