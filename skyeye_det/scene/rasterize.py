"""Grades and probabilities of a scene's buildings as cloud-optimised GeoTIFFs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.windows import Window

from skyeye_det.scene.geotiff import write_geotiff
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import Records
from skyeye_det.scene.terms import GRADES

NOT_ASSESSED = 255


def write_damage(path: Path, records: Records, grid: Grid) -> None:
    """Writes grade + 1 of each building, ``NOT_ASSESSED`` where it has none; 0 elsewhere."""
    values = np.where(records.is_assessed, records.columns["damage"] + 1, NOT_ASSESSED)
    _write(path, records, values[:, None], grid, 0, ["damage"], "mode")


def write_probability(path: Path, records: Records, grid: Grid) -> None:
    """Writes each building's four probabilities in percent; ``NOT_ASSESSED`` where there is none."""
    percent = np.where(records.is_assessed[:, None], np.rint(100 * records.probabilities), NOT_ASSESSED)
    _write(path, records, percent, grid, NOT_ASSESSED, [f"p_{grade}, %" for grade in GRADES], "nearest")


def _write(
    path: Path,
    records: Records,
    values: np.ndarray,
    grid: Grid,
    empty: int,
    names: Sequence[str],
    overviews: str,
) -> None:
    """A COG with a band a column of values (N, B), ``empty`` where no building is."""
    tree = shapely.STRtree(records.geometry)
    profile = {
        "width": grid.width,
        "height": grid.height,
        "count": len(names),
        "dtype": "uint8",
        "crs": grid.crs,
        "transform": grid.transform,
        "nodata": empty,
    }
    write_geotiff(
        path,
        profile,
        lambda window: _painted(records, values, tree, grid, window, empty),
        overviews,
        tuple(names),
    )


def _painted(
    records: Records, values: np.ndarray, tree: shapely.STRtree, grid: Grid, window: Window, empty: int
) -> np.ndarray:
    """(B, h, w) uint8."""
    transform = grid.transform @ rasterio.Affine.translation(window.col_off, window.row_off)
    left, top = transform @ (0, 0)
    right, bottom = transform @ (window.width, window.height)
    there = np.sort(tree.query(shapely.box(left, bottom, right, top))).tolist()
    shape = window.height, window.width
    if not there:
        return np.full((values.shape[1], *shape), empty, np.uint8)
    shapes = [(records.geometry[index], number) for number, index in enumerate(there, start=1)]
    owners = rasterize(shapes, shape, transform=transform, dtype="uint32")
    table = np.concatenate([np.full((1, values.shape[1]), empty), values[there]]).astype(np.uint8)
    return np.ascontiguousarray(table[owners].transpose(2, 0, 1))
