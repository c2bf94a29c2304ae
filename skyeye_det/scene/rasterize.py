"""``damage.tif``: the grades of a scene's buildings as a cloud-optimised GeoTIFF, 0 nothing, 1 to 4."""

from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import shapely
from rasterio.features import rasterize
from rasterio.windows import Window

from skyeye_det.files import whole_file
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import Records

_BLOCK = 512
_STRIP = 2048  # px of the squares that are painted at once
NOT_ASSESSED = 255


def write_damage(path: Path, records: Records, grid: Grid) -> None:
    """Writes grade + 1 of each building, ``NOT_ASSESSED`` where it has none."""
    values = np.where(records.is_assessed, records.columns["damage"] + 1, NOT_ASSESSED).tolist()
    tree = shapely.STRtree(records.geometry)
    profile = {
        "driver": "GTiff",
        "width": grid.width,
        "height": grid.height,
        "count": 1,
        "dtype": "uint8",
        "crs": grid.crs,
        "transform": grid.transform,
        "tiled": True,
        "blockxsize": _BLOCK,
        "blockysize": _BLOCK,
        "compress": "deflate",
    }
    with whole_file(path) as partial:
        plain = partial.with_name(f"{partial.name}.tif")
        plain.unlink(missing_ok=True)  # of a killed run, or a link
        try:
            with rasterio.open(plain, "w", **profile) as file:
                for y in range(0, grid.height, _STRIP):
                    for x in range(0, grid.width, _STRIP):
                        window = Window(x, y, min(_STRIP, grid.width - x), min(_STRIP, grid.height - y))
                        file.write(_painted(records, values, tree, grid, window), 1, window=window)
            rasterio.shutil.copy(plain, partial, driver="COG", compress="deflate", overview_resampling="mode")
        finally:
            plain.unlink(missing_ok=True)


def _painted(
    records: Records, values: list[int], tree: shapely.STRtree, grid: Grid, window: Window
) -> np.ndarray:
    transform = grid.transform @ rasterio.Affine.translation(window.col_off, window.row_off)
    left, top = transform @ (0, 0)
    right, bottom = transform @ (window.width, window.height)
    there = tree.query(shapely.box(left, bottom, right, top)).tolist()
    shape = window.height, window.width
    if not there:
        return np.zeros(shape, np.uint8)
    shapes = [(records.geometry[index], values[index]) for index in there]
    return rasterize(shapes, shape, transform=transform, dtype="uint8")
