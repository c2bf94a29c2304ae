"""Assessments whose buildings lie in rows, 20 px apart, for tests of their review."""

from pathlib import Path

import numpy as np
import shapely
from made_assessment import boxes, grid_of, records_of, write_folder

from skyeye_det.report.page.folder import renew_page

STEP, COLUMNS = 20, 100


def write_assessment(folder: Path, count: int, beside: int = 0, page: bool = False) -> list[str]:
    """Writes DIR with buildings of 10 px, every tenth of them not assessed; returns their ids."""
    grid = grid_of(STEP * COLUMNS, STEP * (count // COLUMNS + 2))

    def rows(number: int, y: int) -> np.ndarray:
        left, top = STEP * (np.arange(number) % COLUMNS), y + STEP * (np.arange(number) // COLUMNS)
        return boxes(np.column_stack([left, top, left + 10, top + 10]), grid)

    found = records_of(rows(count, 0))
    others = records_of(rows(beside, 5), [f"beside{k}" for k in range(beside)]) if beside else None
    write_folder(folder, grid, found, others)
    if page:
        renew_page(folder)
    return [str(each) for each in found.columns["building_id"]]


def outline_in_px(x: float, y: float, size: float = 12) -> list[list[float]]:
    """Rings of a square."""
    return [shapely.get_coordinates(shapely.box(x, y, x + size, y + size))[:-1].reshape(-1).tolist()]
