"""Reports of assessments that no model has made, with images."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from made_assessment import boxes, grid_of, records_of, run_of, write_folder
from scenes import ground, write

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.report.page.folder import REPORT, write_page
from skyeye_det.scene.own_answers import ANSWERS, write_own_answers
from skyeye_det.scene.rasters import open_side
from skyeye_det.scene.reading import SideReader
from skyeye_det.scene.run_record import Run

HOSTILE, EAST = "<img src=x onerror=window.hurt=1>", "Río East"
"""Names of the western and the eastern half: text, never markup."""

STEP = 60
"""px between the buildings' left and upper edges."""


def write_report(folder: Path, columns: int, rows: int) -> Path:
    """Writes an assessment of buildings in columns and rows; the third has been reviewed as destroyed.

    Returns:
        The folder of its page.
    """
    width, height = columns * STEP + 100, rows * STEP + 100
    grid = grid_of(width, height)
    left, top = np.meshgrid(np.arange(columns) * STEP + 60, np.arange(rows) * STEP + 60)
    corners = np.stack([left, top, left + 30, top + 24], axis=2).reshape(-1, 4)
    records = records_of(boxes(corners, grid))
    for name, value in {"reviewed": True, "review_damage": 3, "review_by": "A. Nalyst"}.items():
        records.columns[name][2:3] = value
    records.missing["review_damage"][2:3] = False
    west, east = boxes(np.array([[0, 0, width // 2, height], [width // 2, 0, width, height]]), grid)
    run = {"rule": asdict(DecisionRule(purpose="assessment"))}
    write_folder(folder, grid, records, areas={HOSTILE: west, EAST: east}, **run)
    features = np.random.default_rng(0).normal(size=(len(records), 8)).astype(np.float16)
    write_own_answers(folder / ANSWERS, replace(records, features=features), ["ab"])
    sides = []
    for seed, side in enumerate(("pre", "post")):
        image = write(folder / f"{side}.tif", ground(height, width, seed))
        sides.append(SideReader(open_side(side, [str(image)]), grid))
    write_page(folder, (sides[0], sides[1]), grid, Run.of(run_of(grid, **run), ""))
    return folder / REPORT
