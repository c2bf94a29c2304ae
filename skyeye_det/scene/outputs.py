"""The files of an assessment: GeoPackage, raster, table and record of the run, each written whole."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from rasterio.crs import CRS
from rasterio.features import shapes

from skyeye_det.files import whole_file
from skyeye_det.prediction.store import PredictionStore
from skyeye_det.prediction.visibility import POST_UNSEEN, PRE_UNSEEN, UNREADABLE, core_visibility
from skyeye_det.scene.formats import FORMATS, write_format
from skyeye_det.scene.geopackage import BUILDINGS, damage_style, write_records, write_styles
from skyeye_det.scene.geopackage_editing import require_closed
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.own_answers import ANSWERS
from skyeye_det.scene.rasterize import write_rasters
from skyeye_det.scene.rasters import Side
from skyeye_det.scene.records import Records
from skyeye_det.scene.shift import AGREEING, SAMPLE, Shift
from skyeye_det.scene.summary import CELL, area_columns, grid_cells, polygon_members, worst_areas
from skyeye_det.scene.vector_writing import whole_vector_file, write_layer

PARTS = "parts"
GEOPACKAGE, RASTER, SUMMARY, RUN = "damage.gpkg", "damage.tif", "summary.csv", "run.json"
PROBABILITY = "probability.tif"
RESULTS = (GEOPACKAGE, RASTER, PROBABILITY, SUMMARY, RUN, ANSWERS, *(f"damage.{name}" for name in FORMATS))
GIVE_ASSESSMENT = f"give the {GEOPACKAGE} of an assessment"
"""What mends another file in the place of one."""

BESIDE = "not_in_footprints"
"""Layer of the buildings that no footprint has."""

AREAS, CELLS = "summary_areas", "summary_grid"
"""Layers of what is counted, in the areas that were given and in cells."""

_SHIFT_MEANING = {
    "east_m": "by which this window would move the post image to the east, in metres",
    "north_m": "to the north",
    "left_m": "how far the moved post image is still off here, in metres",
    "agrees": "1: the window agrees with what was applied, where most do",
}
_BOTH = "both"
_LEAST_GAP = 16  # px; smaller places that cannot be seen are not listed


@dataclass(frozen=True, eq=False)
class Assessment:
    """What is known of a scene.

    Attributes:
        records: of its buildings, or of the footprints that were given.
        beside: of buildings that no footprint has; None: no footprints were given.
        areas: polygons (K,) in the grid's CRS, in which buildings are counted; None: none were given.
        area_names: of these.
        sides: before and after.
        grid: of both.
        shift: of the post image.
        aoi: area of interest in the grid's CRS; None: all of it.
    """

    records: Records
    beside: Records | None
    areas: np.ndarray | None
    area_names: Sequence[str]
    sides: tuple[Side, Side]
    grid: Grid
    shift: Shift
    aoi: shapely.Geometry | None = None


def write_assessment(
    output: Path,
    found: Assessment,
    store: PredictionStore,
    formats: Sequence[str] = (),
) -> tuple[float, str]:
    """Writes the files of an assessment for a GIS to its folder, and removes ``run.json`` of an earlier one.

    Args:
        output: the folder.
        found: what is written.
        store: with what can be seen in each window.
        formats: of ``FORMATS``, beside GeoPackage.

    Returns:
        Share of the grid or the AOI, 0..1, that both images show; the worst areas, for the terminal.

    Raises:
        InputError: a file cannot be written.
    """
    grid, records = found.grid, found.records
    cells, members = grid_cells(records)
    summary = area_columns(records, members)
    covered, gaps, reasons = _coverage(store, grid, found.aoi)
    sizes = np.asarray(shapely.area(gaps), np.float64)
    worst = ""
    (output / RUN).unlink(missing_ok=True)  # it comes last: without it the folder is not finished
    for name in FORMATS:
        (output / f"damage.{name}").unlink(missing_ok=True)
    with whole_vector_file(output / GEOPACKAGE) as place:
        write_records(place, BUILDINGS, records, grid)
        if found.beside is not None:
            write_records(place, BESIDE, found.beside, grid)
        if found.areas is not None:
            counted = area_columns(records, polygon_members(records, found.areas))
            names = {"name": np.array(found.area_names, object)}
            write_layer(place, AREAS, found.areas, names | counted, grid.crs)
            worst = worst_areas(found.area_names, counted)
        write_layer(place, CELLS, cells, summary, grid.crs, metadata={"cell": f"{CELL:g} m"})
        write_layer(place, "not_assessed", gaps, {"reason": reasons, "area_m2": sizes}, grid.crs)
        areas = {"area_m2": np.asarray(shapely.area(covered), np.float64)}
        write_layer(place, "coverage", covered, areas, grid.crs, metadata={"coverage": "both images show it"})
        write_layer(place, "source", *_sources(found.sides, grid.crs), grid.crs)
        write_layer(place, "shift", *_shift_map(found.shift, grid), grid.crs, metadata=_SHIFT_MEANING)
        styled = [BUILDINGS] if found.beside is None else [BUILDINGS, BESIDE]
        write_styles(place, dict.fromkeys(styled, damage_style()))
        require_closed(output / GEOPACKAGE)
    write_rasters(output / RASTER, output / PROBABILITY, records, grid)
    write_table(output / SUMMARY, summary, cells)
    for name in formats:
        write_format(output / f"damage.{name}", records, grid.crs, name)
    seen = float(areas["area_m2"].sum())
    shown = seen / max(seen + float(sizes.sum()), 1e-9)
    return shown, worst


def write_table(path: Path, summary: Mapping[str, np.ndarray], cells: np.ndarray) -> None:
    """Writes ``summary.csv``: a row a cell, with its south-west corner in the grid's CRS."""
    corners = shapely.bounds(cells).reshape(-1, 4)[:, :2]
    with whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["x", "y", *summary])
        for number, (x, y) in enumerate(corners.tolist()):
            rows.writerow([f"{x:.0f}", f"{y:.0f}", *(_short(values[number]) for values in summary.values())])


def _short(value: Any) -> Any:
    return f"{value:.1f}" if isinstance(value, float) else value


def _coverage(
    store: PredictionStore, grid: Grid, aoi: shapely.Geometry | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What both images show of the AOI, and where one shows nothing: polygons in the grid's CRS, reasons."""
    pieces: dict[str, list[shapely.Geometry]] = {_BOTH: [], POST_UNSEEN: [], PRE_UNSEEN: [], UNREADABLE: []}
    for core, (before, after) in core_visibility(store, store.images[0]):
        offset = grid.transform @ grid.transform.translation(core.x0, core.y0)
        kinds = [(_BOTH, before & after), (PRE_UNSEEN, ~before), (POST_UNSEEN, before & ~after)]
        if store.unreadable_path(store.images[0], core.window).is_file():
            kinds = [(UNREADABLE, np.ones_like(before))]
        for kind, there in kinds:
            if there.all():
                ends = (offset @ (0, 0), offset @ (there.shape[1], there.shape[0]))
                pieces[kind].append(shapely.box(*ends[0], *ends[1]))
            elif there.any():
                found = shapes(there.astype(np.uint8), mask=there, transform=offset)
                pieces[kind] += [_polygon(geometry) for geometry, _ in found]
    parts: dict[str, list[shapely.Geometry]] = {}
    for kind, each in pieces.items():
        whole = shapely.union_all(np.array(each, object))
        if aoi is not None:
            whole = shapely.intersection(whole, aoi)
        parts[kind] = [
            part
            for part in shapely.get_parts(whole).tolist()
            if part.geom_type == "Polygon" and part.area >= _LEAST_GAP * grid.resolution**2
        ]
    covered = np.array(parts.pop(_BOTH), object)
    drawn = np.array([part for each in parts.values() for part in each], object)
    return covered, drawn, np.array([kind for kind, each in parts.items() for _ in each], object)


def _sources(sides: tuple[Side, Side], crs: CRS) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The files of both sides: their bounds in a CRS, and what they are."""
    rasters = [(side.name, raster) for side in sides for raster in side.rasters]
    boxes = np.array([shapely.box(*raster.bounds(crs)) for _, raster in rasters], object)
    columns = {
        "side": np.array([name for name, _ in rasters], object),
        "path": np.array([raster.path for _, raster in rasters], object),
        "crs": np.array([raster.crs.to_string() for _, raster in rasters], object),
        "bands": np.array([",".join(map(str, raster.bands)) for _, raster in rasters], object),
        "resolution_m": np.array([raster.resolution(crs) for _, raster in rasters], np.float64),
    }
    return boxes, columns


def _shift_map(shift: Shift, grid: Grid) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A square at the middle of each window that was compared, a quarter as large: neighbours overlap."""
    places = np.array([(each.x, each.y) for each in shift.windows]).reshape(-1, 2)
    moves = np.array([(each.dx, -each.dy) for each in shift.windows]).reshape(-1, 2) * grid.resolution
    away = SAMPLE / 4
    squares = [grid.box(x - away, y - away, x + away, y + away) for x, y in places.tolist()]
    left = shift.residuals
    columns = {"east_m": moves[:, 0], "north_m": moves[:, 1], "left_m": left * grid.resolution}
    return np.array(squares, object), columns | {"agrees": left <= AGREEING}


def _polygon(geometry: Mapping[str, Any]) -> shapely.Polygon:
    exterior, *holes = geometry["coordinates"]
    return shapely.Polygon(exterior, holes)
