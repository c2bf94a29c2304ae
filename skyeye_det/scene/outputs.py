"""The files of an assessment: GeoPackage, raster, table and record of the run, each written whole."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.features import shapes

from skyeye_det.errors import InputError
from skyeye_det.files import whole_file, write_json
from skyeye_det.prediction.store import PredictionStore
from skyeye_det.prediction.visibility import POST_UNSEEN, PRE_UNSEEN, core_visibility
from skyeye_det.scene.geopackage import (
    BUILDINGS,
    damage_style,
    whole_geopackage,
    write_buildings,
    write_layer,
    write_styles,
)
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.rasterize import write_damage
from skyeye_det.scene.records import Records
from skyeye_det.scene.summary import CELL, area_columns, grid_cells

GEOPACKAGE, RASTER, TABLE, RUN = "damage.gpkg", "damage.tif", "summary.csv", "run.json"
_LEAST_GAP = 16  # px; smaller places that cannot be seen are not listed


def write_assessment(
    output: Path, records: Records, store: PredictionStore, grid: Grid, run: Mapping[str, Any]
) -> float:
    """Writes all files of an assessment to its folder.

    Args:
        output: the folder.
        records: of the scene.
        store: with what can be seen in each window.
        grid: of the scene.
        run: what ``run.json`` says.

    Returns:
        Share of the grid, 0..1, that both images show.

    Raises:
        InputError: a file cannot be written.
    """
    cells, members = grid_cells(records)
    summary = area_columns(records, members)
    gaps, reasons, areas = _gaps(store, grid)
    with whole_geopackage(output / GEOPACKAGE) as place:
        write_buildings(place, records, grid)
        write_layer(place, "summary_grid", cells, summary, grid.crs, metadata={"cell": f"{CELL:g} m"})
        write_layer(place, "not_assessed", gaps, {"reason": reasons, "area_m2": areas}, grid.crs)
        write_styles(place, {BUILDINGS: damage_style()})
    write_damage(output / RASTER, records, grid)
    _write_table(output / TABLE, summary, cells)
    shown = 1 - float(areas.sum()) / (grid.width * grid.height * grid.resolution**2)
    write_json(output / RUN, {**run, "seen_share": shown}, pretty=True)
    return shown


def require_unreviewed(output: Path) -> None:
    """Raises InputError where an assessment holds grades by people, which a new one would lose."""
    path = output / GEOPACKAGE
    if not path.is_file():
        return
    try:
        *_, (reviewed,) = pyogrio.raw.read(
            path, layer=BUILDINGS, columns=["reviewed"], where="reviewed = 1", read_geometry=False
        )
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise InputError(
            f"{path}: expected an assessment, found something else; choose another --output"
        ) from error
    if len(reviewed):
        raise InputError(
            f"{path}: expected no building that people have reviewed, found {len(reviewed)}, whose review"
            " would be lost; choose another --output"
        )


def _write_table(path: Path, summary: Mapping[str, np.ndarray], cells: np.ndarray) -> None:
    """A row a cell, with its south-west corner in the grid's CRS."""
    corners = shapely.bounds(cells).reshape(-1, 4)[:, :2]
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["x", "y", *summary])
        for number, (x, y) in enumerate(corners.tolist()):
            rows.writerow([f"{x:.0f}", f"{y:.0f}", *(_short(values[number]) for values in summary.values())])


def _short(value: Any) -> Any:
    return f"{value:.1f}" if isinstance(value, float) else value


def _gaps(store: PredictionStore, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where one of the images shows nothing: polygons in the grid's CRS, reasons, and areas in m²."""
    pieces: dict[str, list[shapely.Geometry]] = {POST_UNSEEN: [], PRE_UNSEEN: []}
    for core, (before, after) in core_visibility(store, store.images[0]):
        offset = grid.transform @ grid.transform.translation(core.x0, core.y0)
        for reason, unseen in ((PRE_UNSEEN, ~before), (POST_UNSEEN, before & ~after)):
            if unseen.any():
                found = shapes(unseen.astype(np.uint8), mask=unseen, transform=offset)
                pieces[reason] += [_polygon(geometry) for geometry, _ in found]
    geometries: list[shapely.Geometry] = []
    reasons: list[str] = []
    for reason, each in pieces.items():
        whole = shapely.get_parts(shapely.union_all(np.array(each, object)))
        large = [part for part in whole.tolist() if part.area >= _LEAST_GAP * grid.resolution**2]
        geometries += large
        reasons += [reason] * len(large)
    drawn = np.array(geometries, object)
    return drawn, np.array(reasons, object), np.asarray(shapely.area(drawn), np.float64)


def _polygon(geometry: Mapping[str, Any]) -> shapely.Polygon:
    exterior, *holes = geometry["coordinates"]
    return shapely.Polygon(exterior, holes)
