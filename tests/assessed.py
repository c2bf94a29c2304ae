"""A finished assessment without a model: squares in a row, with grades and probabilities."""

import json
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from scenes import CORNER, UTM

from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.masks import EMPTY_CROP
from skyeye_det.scene.geopackage import BUILDINGS, damage_style, write_records, write_styles
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE, RUN
from skyeye_det.scene.records import Origin, Records, building_records
from skyeye_det.scene.shift import Shift

PAGE = "<!doctype html><title>page</title><!--server--><script>skyeye = {}</script>"
_STEP = 20  # px between buildings, which are 10 px wide
_COLUMNS = 100
_TEXTS = {"pre_date": "", "post_date": "", "model": "tiny", "run_id": "abc"}


def probabilities(count: int, seed: int = 0) -> np.ndarray:
    """(count, 4), most of them of the first grade."""
    generator = np.random.default_rng(seed)
    return generator.dirichlet((3, 0.5, 0.3, 0.3), count).astype(np.float32)


def write_assessment(folder: Path, probs: np.ndarray, unseen: int = 1, beside: int = 0) -> list[str]:
    """Writes DIR with a building a row of ``probs`` (N, 4); the last ``unseen`` ones are not assessed.

    Returns:
        Ids of the buildings, in their order.
    """
    height = _STEP * (len(probs) // _COLUMNS + 2)
    grid = Grid(UTM, Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]), _STEP * _COLUMNS, height)
    folder.mkdir(parents=True, exist_ok=True)
    found = _records(grid, probs, 0, unseen)
    path = folder / GEOPACKAGE
    write_records(path, BUILDINGS, found, grid)
    if beside:
        write_records(path, BESIDE, _records(grid, probabilities(beside), 5, 0), grid)
    write_styles(path, {BUILDINGS: damage_style()})
    told = {"crs": grid.crs.to_string(), "transform": list(grid.transform[:6])}
    (folder / RUN).write_text(json.dumps({"grid": told | {"width": grid.width, "height": grid.height}}))
    (folder / "report").mkdir()
    (folder / "report" / "index.html").write_text(PAGE)
    return [str(each) for each in found.columns["building_id"]]


def _records(grid: Grid, probs: np.ndarray, y0: int, unseen: int) -> Records:
    count = len(probs)
    places = [(_STEP * (k % _COLUMNS), y0 + _STEP * (k // _COLUMNS)) for k in range(count)]
    seen = np.ones((count, 3))
    seen[count - unseen :] = 0
    buildings = Buildings(
        shape=grid.shape,
        masks=[(place, np.ones((10, 10), np.bool_)) for place in places],
        values=[EMPTY_CROP] * count,
        scores=np.full(count, 0.9, np.float32),
        damage=probs.argmax(axis=1) if count else np.zeros(0, np.int64),
        damage_probs=probs,
        sources=["instance"] * count,
        rule=DecisionRule(),
    )
    still = Shift(0, 0, 0, (), float("nan"))
    return building_records(buildings.graded_where_seen(lambda _: seen), "mask", Origin(grid, still, _TEXTS))


def outline_in_px(x: float, y: float, size: float = 12) -> list[list[float]]:
    """Rings of a square."""
    return [shapely.get_coordinates(shapely.box(x, y, x + size, y + size))[:-1].reshape(-1).tolist()]
