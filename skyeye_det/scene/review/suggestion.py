"""Buildings of an assessment that are suggested for a review; answers count as picked, not as sampled."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from skyeye_det.evaluation.suggestion import suggest
from skyeye_det.scene.answered_rows import answered_rows, read_grades
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.own_answers import read_own_answers
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.rows import LAYERS, chunks, reviewed_states, state
from skyeye_det.scene.review.sample import drawn
from skyeye_det.scene.review.state import NO_VERDICT

Suggested = list[tuple[int, str]]
"""Row number and id of each building, in the order to label."""


def suggested_buildings(review: ReviewFile, answers: Path, count: int) -> Suggested:
    """Chooses assessed buildings that nobody has reviewed and that are not of the sample.

    Args:
        review: of the assessment.
        answers: file of the model's own answers.
        count: how many; fewer where no more are left.

    Raises:
        InputError: there are no such answers, or as ``ReviewFile.reading``.
    """
    found = read_own_answers(answers)
    with review.reading() as base:
        rows = answered_rows(base, review.path, found)
        probs, damage = read_grades(base, rows)
        known = np.isin(rows.fids, [*reviewed_states(base, BUILDINGS), *drawn(base)])
    there = np.flatnonzero(damage >= 0)
    places = shapely.get_coordinates(shapely.centroid(rows.geometry[there]))
    chosen = there[suggest(probs[there], found.features[rows.numbers[there]], places, known[there], count)]
    return [(int(rows.fids[k]), found.ids[rows.numbers[k]]) for k in chosen.tolist()]


def suggested_to_check(review: ReviewFile, suggested: Suggested) -> dict[str, Any] | None:
    """As ``sample_to_check``; None where none are suggested."""
    if not suggested:
        return None
    with review.reading() as base:
        places = chunks(base, BUILDINGS, [fid for fid, _ in suggested], review.grid)
        answered = [_is_answered(base, fid) for fid, _ in suggested]
    buildings = [
        {"id": each, "layer": LAYERS.index(BUILDINGS), "chunk": places.get(fid, ""), "answered": done}
        for (fid, each), done in zip(suggested, answered, strict=True)
    ]
    return {"size": len(buildings), "buildings": buildings}


def _is_answered(base: sqlite3.Connection, fid: int) -> bool:
    """Of a building that somebody has deleted in a GIS too."""
    found = state(base, BUILDINGS, fid)
    return found is None or found.verdict != NO_VERDICT
