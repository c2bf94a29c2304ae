"""Assessments that no model has made: ``damage.gpkg`` and ``run.json`` of any number of buildings."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from affine import Affine
from scenes import CORNER, UTM

from skyeye_det import __version__
from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.files import write_json
from skyeye_det.prediction.visibility import ASSESSED, POST_UNSEEN
from skyeye_det.report.page.folder import renew_page
from skyeye_det.scene.geopackage import BUILDINGS, write_records
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE, RUN
from skyeye_det.scene.records import Records
from skyeye_det.scene.summary import area_columns, grid_cells, polygon_members
from skyeye_det.scene.vector_writing import whole_vector_file, write_layer


def grid_of(width: int, height: int) -> Grid:
    """Of half a metre a pixel, its corner at ``CORNER``."""
    return Grid(UTM, Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]), width, height)


def boxes(places: np.ndarray, grid: Grid) -> np.ndarray:
    """Multipolygons (N,) in coordinates of (N, 4) left, top, right, bottom in px."""
    left, top = grid.transform @ places[:, :2].T
    right, bottom = grid.transform @ places[:, 2:].T
    return shapely.multipolygons(shapely.box(left, bottom, right, top)[:, None])


def scattered(count: int, grid: Grid, seed: int = 0) -> np.ndarray:
    """Turned houses of 8 to 20 m, anywhere on a grid."""
    generator = np.random.default_rng(seed)
    middle = generator.uniform(20, [grid.width - 20, grid.height - 20], (count, 2))
    half, turn = generator.uniform(8, 20, (count, 2)), generator.uniform(0, np.pi, count)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * half[:, None]
    turned = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], axis=1).reshape(-1, 2, 2)
    places = corners @ turned + middle[:, None]
    x, y = grid.transform @ places.reshape(-1, 2).T
    rings = np.column_stack([x, y]).reshape(count, 5, 2)
    return shapely.multipolygons(shapely.polygons(rings)[:, None])


def records_of(geometry: np.ndarray, ids: Sequence[str] | None = None, seed: int = 0) -> Records:
    """With random grades; every tenth is not assessed."""
    count, generator = len(geometry), np.random.default_rng(seed)
    probs = generator.dirichlet([2, 0.5, 0.5, 1], count)
    damage, unseen = probs.argmax(axis=1), np.arange(count) % 10 == 9
    numbers = dict(zip(("p_no_damage", "p_minor", "p_major", "p_destroyed"), probs.T, strict=True))
    columns = {
        "building_id": np.array([f"b{k:06x}" for k in range(count)] if ids is None else ids, object),
        "damage": damage.astype(np.int32),
        "damage_label": np.array([SUBTYPE_BY_DAMAGE[grade] for grade in damage.tolist()], object),
        **numbers,
        "score": generator.uniform(0.3, 1, count),
        "outline_from": np.full(count, "model", object),
        "status": np.where(unseen, POST_UNSEEN, ASSESSED).astype(object),
        "valid_fraction": np.where(unseen, 0.0, 1.0),
        "area_m2": shapely.area(geometry),
        "shift_m": generator.uniform(0, 2, count),
        "reviewed": np.zeros(count, np.bool_),
        "review_damage": np.zeros(count, np.int32),
        "review_by": np.full(count, "", object),
        "review_note": np.full(count, "", object),
    }
    missing = dict.fromkeys(("damage", *numbers), unseen)
    return Records(geometry, columns, missing | {"review_damage": np.ones(count, np.bool_)})


def run_of(grid: Grid, **other: Any) -> dict[str, Any]:
    """What ``run.json`` says."""
    place = {"crs": grid.crs.to_string(), "transform": list(grid.transform[:6])}
    windows = [{"x": 100.0, "y": 100.0, "dx": -2.0, "dy": 1.0, "peak": 0.5}]
    return {
        "skyeye_det": __version__,
        "finished": "2026-01-01T00:00:00+00:00",
        "inputs": {"pre": [{"path": "/data/pre.tif"}], "post": [{"path": "/data/post.tif"}]},
        "grid": place | {"width": grid.width, "height": grid.height},
        "shift": {"dx": -2.0, "dy": 1.0, "agreeing": 1, "windows": windows, "spread": 0.0},
        "rule": {"purpose": "assessment"},
        "outlines": "right-angled",
        "pre_date": "",
        "post_date": "2011-06-01",
        "model": "hybrid",
        "run_id": "0123456789ab",
        "seen_share": 0.9,
    } | other


def write_folder(
    folder: Path,
    grid: Grid,
    records: Records,
    beside: Records | None = None,
    areas: dict[str, shapely.Geometry] | None = None,
    **run: Any,
) -> Path:
    """Writes ``damage.gpkg`` and ``run.json`` of a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cells, members = grid_cells(records)
    whole = boxes(np.array([[0, 0, grid.width, grid.height]]), grid)
    with whole_vector_file(folder / GEOPACKAGE) as place:
        write_records(place, BUILDINGS, records, grid)
        if beside is not None:
            write_records(place, BESIDE, beside, grid)
        if areas is not None:
            outlines = np.array(list(areas.values()), object)
            names = {"name": np.array(list(areas), object)}
            counted = area_columns(records, polygon_members(records, outlines))
            write_layer(place, "summary_areas", outlines, names | counted, grid.crs)
        write_layer(place, "summary_grid", cells, area_columns(records, members), grid.crs)
        gaps = {"reason": np.array([POST_UNSEEN], object), "area_m2": shapely.area(whole)}
        write_layer(place, "not_assessed", whole, gaps, grid.crs)
        write_layer(place, "coverage", whole, {"area_m2": shapely.area(whole)}, grid.crs)
    write_json(folder / RUN, run_of(grid, **run))
    return folder


def main() -> None:
    """``python tests/made_assessment.py DIR COUNT SIZE``: a page of COUNT buildings, without images."""
    folder, count, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    grid = grid_of(size, size)
    renew_page(write_folder(folder, grid, records_of(scattered(count, grid))))


if __name__ == "__main__":
    main()
