"""Grades and probabilities of a scene's buildings as cloud-optimised GeoTIFFs."""

import json
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.features import rasterize
from rasterio.windows import Window

from skyeye_det.scene.geotiff import blocks, whole_geotiff
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import Records
from skyeye_det.scene.terms import GRADES

NO_GRADE = 255


def write_rasters(damage: Path, probability: Path, records: Records, grid: Grid) -> None:
    """Writes two COGs of the buildings, each burnt once for both.

    Args:
        damage: file of grade + 1, ``NO_GRADE`` where a building has none; 0 elsewhere.
        probability: file of the four probabilities in percent; ``NO_GRADE`` where there is none.
        records: the buildings.
        grid: of both files.

    Raises:
        InputError: the disk is full.
    """
    assessed = records.is_assessed
    grades = np.where(assessed, records.columns["damage"] + 1, NO_GRADE)[None].astype(np.uint8)
    percent = np.where(assessed, np.rint(100 * records.probabilities).T, NO_GRADE).astype(np.uint8)
    profile = {"width": grid.width, "height": grid.height, "dtype": "uint8", "crs": grid.crs}
    one = profile | {"transform": grid.transform, "count": 1, "nodata": 0}
    four = one | {"count": 4, "nodata": NO_GRADE}
    names = tuple(f"p_{grade}, %" for grade in GRADES)
    tree = shapely.STRtree(records.geometry)
    with (
        whole_geotiff(damage, one, "mode", ("damage",)) as write_grades,
        whole_geotiff(probability, four, "nearest", names) as write_percent,
    ):
        for window in blocks(*grid.shape):
            owners, there = _owners(records, tree, grid, window)
            places = np.flatnonzero(owners != 0)  # of bool: three times faster
            numbers = there[owners.ravel()[places] - 1]
            for write, values, empty in ((write_grades, grades, 0), (write_percent, percent, NO_GRADE)):
                pixels = np.full((len(values), owners.size), empty, np.uint8)
                for band, value in zip(pixels, values, strict=True):
                    band[places] = value[numbers]
                write(pixels.reshape(-1, *owners.shape), window)


def _owners(
    records: Records, tree: shapely.STRtree, grid: Grid, window: Window
) -> tuple[np.ndarray, np.ndarray]:
    """Which building each pixel belongs to, uint32 (h, w) from 1, 0 of none; the buildings' numbers."""
    transform = grid.transform @ rasterio.Affine.translation(window.col_off, window.row_off)
    ends = window.col_off + window.width, window.row_off + window.height
    there = np.sort(tree.query(grid.box(window.col_off, window.row_off, *ends)))
    shape = window.height, window.width
    if not len(there):
        return np.zeros(shape, np.uint32), there
    drawn = map(json.loads, shapely.to_geojson(records.geometry[there]))  # rasterio does so, ten times slower
    shapes = [(each, number) for number, each in enumerate(drawn, start=1)]
    return rasterize(shapes, shape, transform=transform, dtype="uint32"), there
