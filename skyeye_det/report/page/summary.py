"""What the page knows of the whole scene, from the layers of ``damage.gpkg`` and from ``run.json``."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import shapely

from skyeye_det.damage import DamageClass
from skyeye_det.evaluation.check_estimate import DEVIATIONS
from skyeye_det.prediction.visibility import ASSESSED
from skyeye_det.released import CARD, MODELS, read_card, released_names
from skyeye_det.report.page.buildings import rings_of
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import AREAS, GIVE_ASSESSMENT
from skyeye_det.scene.records import Records
from skyeye_det.scene.review.counted import as_reviewed, is_reviewed
from skyeye_det.scene.review.state import CANNOT_TELL, DRAWN
from skyeye_det.scene.run_record import Run, ShiftOfRun
from skyeye_det.scene.summary import (
    area_columns,
    counts,
    grade_sums,
    grid_cells,
    polygon_members,
)
from skyeye_det.scene.terms import COLOR_NOT_ASSESSED, COLORS, GRADES
from skyeye_det.scene.vector_file import NO_NAME, VectorLayer, valid_polygons

VERSION = 1
"""Of the form of the page's data."""

_LATTICE = 5
_BORDER = 64  # px beyond the grid, to which areas are cut


def scene_summary(run: Run, layers: Mapping[str, VectorLayer], records: Records) -> dict[str, Any]:
    """What ``meta.js`` says but for tiles, chunks and ``not_in_footprints``.

    Args:
        run: of the assessment.
        layers: of its GeoPackage by name, in the grid's CRS; any but the buildings' may lack.
        records: of its buildings.
    """
    grid = run.on_grid()
    return {
        "version": VERSION,
        **{name: getattr(run, name) for name in ("run_id", "model", "finished", "skyeye_det", "outlines")},
        "pre_date": run.pre_date or None,
        "post_date": run.post_date or None,
        "rule": run.rule.purpose,
        "width": grid.width,
        "height": grid.height,
        "pixel_m": grid.resolution,
        "crs": run.grid.crs,
        "lonlat": _lattice(grid),
        "grades": [{"key": GRADES[grade], "color": COLORS[grade]} for grade in DamageClass],
        "not_assessed_color": COLOR_NOT_ASSESSED,
        "status": {"assessed": ASSESSED, "drawn": DRAWN, "cannot_tell": CANNOT_TELL},
        **reviewed_figures(records, grid),
        "seen_share": run.seen_share,
        "not_assessed": _gaps(layers.get("not_assessed")),
        "areas": _places(layers[AREAS], records, grid) if AREAS in layers else None,
        "shift": _shift(run.shift, grid),
        "coverage": _coverage(layers.get("coverage"), grid),
        "limits": _limits(run.model),
        "attribution": f"SkyEye {run.skyeye_det} · Leaflet",
        "sources": {
            side: [_file_name(each.path) for each in run.inputs.get(side, [])] for side in ("pre", "post")
        },
    }


def reviewed_figures(records: Records, grid: Grid) -> dict[str, Any]:
    """What ``meta.js`` says of how many buildings there are, see ``as_reviewed``."""
    reviewed = as_reviewed(records)
    return {
        **_figures(reviewed),
        "counts": [asdict(each) for each in counts(reviewed)],
        "reviewed": int(is_reviewed(records).sum()),
        "by_model": _by_model(records),
        "cells": _cells(reviewed, grid),
    }


def reviewed_areas(records: Records, areas: np.ndarray) -> list[dict[str, Any]]:
    """The same of each of polygons (K,)."""
    reviewed = as_reviewed(records)
    return _counted(reviewed, polygon_members(reviewed, areas))


def _figures(records: Records) -> dict[str, Any]:
    return {
        "buildings": len(records),
        "assessed": int(records.is_assessed.sum()),
        "statuses": Counter(records.columns["status"].tolist()),
    }


def _by_model(records: Records) -> dict[str, Any]:
    """What the page counts reviews into while people make them."""
    found = records.of(records.columns["status"] != DRAWN)
    return {**_figures(found), **grade_sums(found), "deviations": DEVIATIONS}


def _limits(name: str) -> list[str]:
    """What a released model's card says of what it can and may not; nothing of others."""
    if name not in released_names():
        return []
    facts = read_card(MODELS / name / CARD).facts
    more = {"not measured": "not_measured", "licence": "licence", "learnt from": "attribution"}
    told = [f"{words}: {facts[key]}" for words, key in more.items() if key in facts]
    return [*map(str, facts.get("limits", [])), *told]


def _file_name(path: str) -> str:
    """Without folders, and without what follows a ? in an address, such as a key."""
    return PurePosixPath(path.partition("?")[0]).name


def _lattice(grid: Grid) -> dict[str, Any]:
    x, y = np.linspace(0, grid.width, _LATTICE), np.linspace(0, grid.height, _LATTICE)
    places: np.ndarray = np.stack(np.meshgrid(x, y)).reshape(2, -1)
    east, north = grid.transform @ places
    lon, lat = (each.round(7).reshape(_LATTICE, _LATTICE) for each in grid.lonlat(east, north))
    return {"x": x, "y": y, "lon": lon, "lat": lat}


def _shift(shift: ShiftOfRun, grid: Grid) -> dict[str, Any] | None:
    """None where none was estimated, nor given."""
    if not shift.windows and not (shift.dx or shift.dy):
        return None
    return {
        "dx": shift.dx,
        "dy": shift.dy,
        "metres": float(np.hypot(shift.dx, shift.dy) * grid.resolution),
        "applied": not shift.windows or 2 * shift.agreeing > len(shift.windows),
        "agreeing": shift.agreeing,
        "windows": shift.windows,
    }


def _gaps(layer: VectorLayer | None) -> list[dict[str, Any]]:
    if layer is None:
        return []
    areas, sums = shapely.area(layer.geometry), Counter[str]()
    for reason, area in zip(layer.column("reason", GIVE_ASSESSMENT).tolist(), areas.tolist(), strict=True):
        sums[str(reason)] += area
    return [{"reason": reason, "area_m2": round(area, 1)} for reason, area in sums.most_common()]


def _places(layer: VectorLayer, records: Records, grid: Grid) -> list[dict[str, Any]]:
    """Areas with their outlines on the grid; an area beside it has none."""
    around = grid.box(-_BORDER, -_BORDER, grid.width + _BORDER, grid.height + _BORDER)
    cut = shapely.intersection(layer.geometry, around)
    drawn = np.where(shapely.is_empty(cut), layer.geometry, cut)
    names, rings = layer.texts("name", GIVE_ASSESSMENT, NO_NAME), rings_of(_simplified(cut, grid), grid)
    parts = zip(names, reviewed_areas(records, layer.geometry), _boxes(drawn, grid), rings, strict=True)
    return [{"name": name, **row, "box": box, "rings": each} for name, row, box, each in parts]


def _cells(records: Records, grid: Grid) -> list[dict[str, Any]]:
    """Squares, called by east and north of their corner in km."""
    cells, members = grid_cells(records)
    corners = (shapely.bounds(cells).reshape(-1, 4)[:, :2] / 1000).tolist()
    parts = zip(corners, _counted(records, members), _boxes(cells, grid), strict=True)
    return [{"name": f"{x:.1f} {y:.1f}", **row, "box": box} for (x, y), row, box in parts]


def _counted(records: Records, members: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """A row of numbers an area, from the numbers of the buildings in each."""
    found = area_columns(records, members)
    columns = {"buildings": found["buildings"], "assessed": found["assessed"]}
    columns["labelled"] = np.stack([found[name] for name in GRADES], axis=1)
    for end in ("expected", "low", "high"):
        columns[end] = np.stack([found[f"{name}_{end}"] for name in GRADES], axis=1).round(2)
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _coverage(layer: VectorLayer | None, grid: Grid) -> list[list[float]]:
    """Rings in px."""
    if layer is None:
        return []
    return [ring for each in rings_of(_simplified(layer.geometry, grid), grid) for ring in each]


def _simplified(geometry: np.ndarray, grid: Grid) -> np.ndarray:
    """By no more than a px."""
    return valid_polygons(shapely.simplify(geometry, grid.resolution))


def _boxes(geometry: np.ndarray, grid: Grid) -> list[list[float]]:
    """Left, top, right, bottom in px."""
    boxes: list[list[float]] = shapely.bounds(grid.in_px(geometry)).reshape(-1, 4).round(1).tolist()
    return boxes
