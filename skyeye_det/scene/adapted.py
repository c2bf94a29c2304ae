"""Buildings graded anew by an adaptation: records before they are written, and those of an assessment."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import shapely

from skyeye_det import __version__
from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.decision.adaptation import NONE, PRIOR, Adaptation, Choice, Labels, choose
from skyeye_det.decision.adaptation_file import Card, adaptation_json, parse_adaptation, write_adaptation
from skyeye_det.decision.label_groups import groups_in_place, random_groups
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError
from skyeye_det.scene.adaptation_record import (
    AdaptationRecord,
    note_files,
    read_adaptation_record,
    write_adaptation_record,
)
from skyeye_det.scene.answered_rows import (
    RAW,
    AnsweredRows,
    answered_rows,
    count_anew,
    counted_cells,
    read_grades,
    write_grades,
)
from skyeye_det.scene.formats import FORMATS
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geopackage_editing import connect, transaction
from skyeye_det.scene.outputs import GEOPACKAGE, PROBABILITY, RASTER, RUN, SUMMARY, write_table
from skyeye_det.scene.own_answers import ANSWERS, read_own_answers
from skyeye_det.scene.rasterize import write_rasters
from skyeye_det.scene.records import PROBABILITIES, Records, grade_columns
from skyeye_det.scene.review.rows import prepare, reviews_of
from skyeye_det.scene.review.sample import answered_in_order
from skyeye_det.scene.review.state import GRADE
from skyeye_det.scene.run_record import Run
from skyeye_det.scene.summary import summary_table

ADAPTATION = "adaptation.json"


def adapted_records(records: Records, adaptation: Adaptation, rule: DecisionRule) -> Records:
    """Records with other probabilities and grades; the model's own are in ``raw_p_*``."""
    assessed, raw = records.is_assessed, records.probabilities
    probs, damage = _graded(adaptation, raw, records.features, rule, records.columns["damage"])
    damage = np.where(assessed, damage, IGNORE_DAMAGE)
    values = {name: np.where(assessed, probs[:, grade], 0.0) for grade, name in enumerate(PROBABILITIES)}
    values |= {name: raw[:, grade] for grade, name in enumerate(RAW)}
    columns = grade_columns(damage, assessed)
    missing = dict.fromkeys(RAW, ~assessed) | {"unosat_class": columns["unosat_class"] == 0}
    return replace(
        records,
        columns=records.columns | values | columns,
        missing=records.missing | missing,
    )


@dataclass(frozen=True, eq=False)
class Adapted:
    """An assessment whose GeoPackage is graded anew.

    Attributes:
        record: what was done.
        told: the same and whether it helps, for the terminal.
        records: the buildings that the model has answered, with the model's own probabilities.
    """

    record: AdaptationRecord
    told: str
    records: Records


def adapt_folder(folder: Path, event: str = "", undo: bool = False) -> str:
    """Grades the buildings of an assessment anew, by those that people have reviewed.

    Always from the model's own answers, whatever was done before. One transaction changes the GeoPackage;
    the files beside are written after it. A killed run is done again.

    Args:
        folder: of the assessment, that nobody else writes to.
        event: name for the adaptation's card.
        undo: whether to bring back the model's own answers instead.

    Returns:
        What was done, and whether it helps, for the terminal.

    Raises:
        InputError: no assessment, none with the model's own answers, or a file cannot be written.
    """
    path = folder / GEOPACKAGE
    with closing(connect(path)) as base, transaction(base, path):
        found = adapt_geopackage(base, folder, event, undo)
    try:
        write_adapted_files(folder)
    except InputError as error:
        raise InputError(
            f"{error}; {path} is adapted, the files beside it are not: run `skyeye adapt` again"
        ) from error
    return found.told


def adapt_geopackage(base: sqlite3.Connection, folder: Path, event: str = "", undo: bool = False) -> Adapted:
    """As ``adapt_folder``, within a transaction of the folder's GeoPackage, and no other file is written.

    A transaction may fail at its end. What belongs into ``ADAPTATION`` is kept with the grades.
    """
    run = Run.read(folder / RUN)
    answers = read_own_answers(folder / ANSWERS)
    prepare(base)
    rows = answered_rows(base, folder / GEOPACKAGE, answers)
    labels, places = _labels(base, rows)
    features = answers.features[answers.damage >= 0]
    choice = _UNDONE if undo else choose(labels, features)
    # Elsewhere, buildings are not those that the sample was drawn from: neighbours are left out together.
    elsewhere = _UNDONE if undo else choose(replace(labels, groups=places), features)
    raw, own = answers.probs[rows.numbers], answers.damage[rows.numbers].astype(np.int64)
    probs, damage = _graded(choice.adaptation, raw, answers.features[rows.numbers], run.rule, own)
    damage = np.where(own >= 0, damage, IGNORE_DAMAGE)
    write_grades(base, rows, probs, damage)
    records = rows.records(damage, probs)
    count_anew(base, records)
    told = [_told(labels, choice), summary_table(records)]
    file = None
    if elsewhere.adaptation.kind != NONE:
        named = event or folder.resolve().name.encode(errors="replace").decode()
        card = _card(named, labels, elsewhere, run.model, answers.model_sha256)
        file = adaptation_json(elsewhere.adaptation, card).decode()
    elif choice.adaptation.kind != NONE:
        told.append(f"no {ADAPTATION}: whether this helps in other places the labels do not tell")
    record = AdaptationRecord.of(labels, choice, undo, file)
    write_adaptation_record(base, record)
    others = [f"damage.{name}" for name in FORMATS]
    if stale := [name for name in others if (folder / name).is_file()]:
        told.append(f"note: {', '.join(stale)} still show the grades of `skyeye assess`")
    return Adapted(record, "\n".join(told), records)


def write_adapted_files(folder: Path) -> None:
    """Writes ``ADAPTATION``, rasters and table by the GeoPackage where they do not show it yet.

    Raises:
        InputError: as ``adapt_folder``.
    """
    path, place = folder / GEOPACKAGE, folder / RUN
    with closing(connect(path)) as base:
        with transaction(base, path, "BEGIN"):
            record = read_adaptation_record(base)
            if record is None or record.is_in_files:
                return
            grid = Run.read(place).on_grid()
            rows = answered_rows(base, path, read_own_answers(folder / ANSWERS))
            probs, damage = read_grades(base, rows)
            records = rows.records(damage, probs)
            cells = counted_cells(base, records)
        _write_for_other_scenes(folder / ADAPTATION, record.file)
        write_rasters(folder / RASTER, folder / PROBABILITY, records, grid)
        if cells is not None:
            write_table(folder / SUMMARY, *cells)
        with transaction(base, path):
            note_files(base, record)


def _write_for_other_scenes(path: Path, content: str | None) -> None:
    """Writes the file, or removes an earlier one; the content may be a stranger's."""
    if content is not None:
        try:
            found = parse_adaptation(path, content.encode())
        except InputError as error:
            raise InputError(
                f"{path.with_name(GEOPACKAGE)}: expected the adaptation that was done last, found none;"
                " run `skyeye adapt` again"
            ) from error
        write_adaptation(path, *found)
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be removed ({error.strerror or error})") from error


_UNDONE = Choice(Adaptation(), 0.0, 0.0, 0.0, float("nan"), "so it was asked")


def _card(event: str, labels: Labels, choice: Choice, model: str, model_sha256: list[str | None]) -> Card:
    return Card(
        event=event,
        labels=len(labels),
        sampled=int(labels.is_sampled.sum()),
        gain=choice.gain,
        low=choice.low,
        high=choice.high,
        model=model,
        model_sha256=model_sha256,
        skyeye_det=__version__,
    )


def _told(labels: Labels, choice: Choice) -> str:
    kind = choice.adaptation.kind
    many = f"{len(labels)} labels, {int(labels.is_sampled.sum())} of them of the random sample"
    if kind == NONE:
        return f"{many}; the model's own grades stand: {choice.reason}"
    what = "another prior and temperature" if kind == PRIOR else "prior, temperature and features"
    share = [100 * value / choice.loss for value in (choice.gain, choice.low, choice.high)]
    return (
        f"{many}; adapted: {what}\n{choice.reason}: {share[0]:.0f} % better, 90 % interval"
        f" {share[1]:.0f} to {share[2]:.0f} %{'; it may not help' if choice.low <= 0 else ''}"
    )


def _labels(base: sqlite3.Connection, rows: AnsweredRows) -> tuple[Labels, np.ndarray]:
    """Of the buildings that have a grade of the model and one of a person; and their groups in place."""
    answers = rows.answers
    sampled = answered_in_order(base)
    reviews = reviews_of(base, BUILDINGS)
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
    return probs, rule.graded(probs)
