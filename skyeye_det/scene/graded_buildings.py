"""Buildings of a vector file with their grades: predicted ones of an assessment, true ones of any survey."""

from dataclasses import dataclass

import numpy as np
import shapely

from skyeye_det.damage import DAMAGE_BY_SUBTYPE, IGNORE_DAMAGE
from skyeye_det.errors import InputError, shown
from skyeye_det.evaluation.buildings import Ints, rank
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.scene import terms
from skyeye_det.scene.outputs import GIVE_ASSESSMENT
from skyeye_det.scene.review.state import DRAWN
from skyeye_det.scene.vector_file import VectorLayer, middles


@dataclass(frozen=True, eq=False)
class Graded:
    """N buildings with their grades.

    Attributes:
        layer: their outlines.
        damage: int64 (N,), -1..3; -1 where un-classified, or not assessed.
    """

    layer: VectorLayer
    damage: Ints

    @property
    def middles(self) -> np.ndarray:
        """(N,) shapely points, see ``vector_file.middles``."""
        return middles(self.layer.geometry)

    @property
    def order(self) -> Ints:
        """int64 (N,), by place and size, whatever the order in the file; decides between equal IoUs."""
        bounds = shapely.bounds(self.layer.geometry).reshape(-1, 4)
        return rank(*bounds.T, self.damage)

    def outside(self, other: VectorLayer) -> int:
        """How many lie outside the bounds of another layer; 0 where that is empty and has none."""
        if not len(other):
            return 0
        return int((~shapely.intersects(self.layer.geometry, shapely.box(*other.bounds))).sum())


def predicted_buildings(layer: VectorLayer) -> Graded:
    """The buildings of an assessment with the grades of the model, whatever people have reviewed or drawn."""
    status = layer.column("status", GIVE_ASSESSMENT)
    layer, status = layer.of(status != DRAWN), status[status != DRAWN]
    assessed = status == ASSESSED
    grades = _grades(layer, "damage", GIVE_ASSESSMENT)
    return Graded(layer, np.where(assessed, grades, IGNORE_DAMAGE))


def true_buildings(layer: VectorLayer, column: str) -> Graded:
    """The buildings of a survey.

    Args:
        layer: of outlines.
        column: that holds the grades, see ``terms.grade_of``.

    Raises:
        InputError: there is no building, no such column, or a value that is no grade.
    """
    if not len(layer):
        raise InputError(f"{layer.path}: expected true buildings, found an empty layer")
    return Graded(layer, _grades(layer, column, "name the column of grades by --damage-column"))


def probabilities(predicted: Graded) -> np.ndarray:
    """float64 (N, 4); NaN of a building without grade, or whose grade is not the model's."""
    columns = [predicted.layer.column(f"p_{name}", GIVE_ASSESSMENT) for name in terms.GRADES]
    try:
        probs = np.stack(columns, axis=1).astype(np.float64)
    except ValueError as error:
        raise InputError(
            f"{predicted.layer.path}: expected numbers as probabilities, found others ({error});"
            f" {GIVE_ASSESSMENT}"
        ) from error
    probs[(predicted.damage < 0) | np.isnan(probs).any(axis=1)] = np.nan
    return probs


def _grades(layer: VectorLayer, column: str, mend: str) -> Ints:
    """int64 (N,), -1..3."""
    values = layer.column(column, mend).tolist()
    found = [terms.grade_of(value) for value in values]
    if None in found:
        wrong = values[found.index(None)]
        raise InputError(
            f"{layer.path}: column {shown(column)}: expected 0 to 3, null, {', '.join(DAMAGE_BY_SUBTYPE)} or"
            f" words of Copernicus EMS, found {shown(wrong)}; {mend}"
        )
    return np.array(found, np.int64)
