"""Assessments whose buildings lie in rows, 20 px apart, for tests of their review."""

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import shapely
from made_assessment import boxes, grid_of, records_of, write_folder

from skyeye_det.decision.adaptation_file import Card
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.report.page.folder import renew_page
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.own_answers import ANSWERS, write_own_answers
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.sample import draw_sample, sample_to_check
from skyeye_det.scene.review.state import FALSE_BUILDING, GRADE, UNSURE, Review

STEP, COLUMNS = 20, 100
RULE = DecisionRule(purpose="assessment", damage_weights=(1.0, 1.0, 1.0, 1.5))

CARD = Card(
    event="a storm",
    labels=30,
    sampled=30,
    gain=0.1,
    low=0.05,
    high=0.15,
    model="hybrid",
    model_sha256=["ab"],
    skyeye_det="0",
)


def write_assessment(folder: Path, count: int, beside: int = 0, page: bool = False) -> list[str]:
    """Writes DIR with buildings of 10 px, every tenth of them not assessed; returns their ids."""
    grid = grid_of(STEP * COLUMNS, STEP * (count // COLUMNS + 2))
    found = records_of(_in_rows(count, grid))
    ids = [f"beside{k}" for k in range(beside)]
    others = records_of(_in_rows(beside, grid, top=5), ids) if beside else None
    write_folder(folder, grid, found, others)
    if page:
        renew_page(folder)
    return [str(each) for each in found.columns["building_id"]]


def outline_in_px(x: float, y: float, size: float = 12) -> list[list[float]]:
    """Rings of a square."""
    return [shapely.get_coordinates(shapely.box(x, y, x + size, y + size))[:-1].reshape(-1).tolist()]


def write_answered(folder: Path, count: int) -> Path:
    """Writes DIR with the model's own answers, 20 buildings in a row, every tenth of them not assessed."""
    grid = grid_of(STEP * 20, STEP * (count // 20 + 1))
    features = np.random.default_rng(1).normal(size=(count, 4)).astype(np.float16)
    found = replace(records_of(_in_rows(count, grid, columns=20)), features=features)
    write_folder(folder, grid, found, rule=asdict(RULE))
    write_own_answers(folder / ANSWERS, found, ["ab"])
    renew_page(folder)
    return folder


def label(folder: Path, count: int, sample: bool = True) -> None:
    """Says of ``count`` buildings that they are destroyed, and of some that nobody can tell."""
    with closing(ReviewFile(folder)) as file:
        if sample:
            draw_sample(file, max(count, 20), 0)
            drawn = sample_to_check(file)
            ids = [each["id"] for each in drawn["buildings"]] if drawn else []
        else:
            ids = [f"b{k:06x}" for k in range(10 * count // 9) if k % 10 != 9]
        locks = {each["id"]: each["lock"] for each in file.changes(0)[1]}
        for number, each in enumerate(ids[:count]):
            verdict = {1: UNSURE, 2: FALSE_BUILDING}.get(number, GRADE)
            damage = 3 if verdict == GRADE else None
            file.review(0, each, Review.of(verdict, damage, "Ann", ""), "Ann", locks.get(each))


def _in_rows(count: int, grid: Grid, columns: int = COLUMNS, top: int = 0) -> np.ndarray:
    """Outlines of 10 px."""
    x, y = STEP * (np.arange(count) % columns), top + STEP * (np.arange(count) // columns)
    return boxes(np.column_stack([x, y, x + 10, y + 10]), grid)
