"""Buildings of an assessment that are suggested for a review; answers count as picked, not as sampled."""

from pathlib import Path

import numpy as np
import shapely

from skyeye_det.evaluation.suggestion import suggest
from skyeye_det.scene.answered_rows import answered_rows, read_grades
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.own_answers import read_own_answers
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.rows import reviews_of
from skyeye_det.scene.review.sample import drawn

Suggested = list[tuple[str, int]]
"""Id and row number of each building, in the order to label."""


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
        known = np.isin(rows.fids, [*reviews_of(base, BUILDINGS), *drawn(base)])
    there = np.flatnonzero(damage >= 0)
    places = shapely.get_coordinates(shapely.centroid(rows.geometry[there]))
    chosen = there[suggest(probs[there], found.features[rows.numbers[there]], places, known[there], count)]
    return [(found.ids[rows.numbers[k]], int(rows.fids[k])) for k in chosen.tolist()]
