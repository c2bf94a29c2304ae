"""Made-up scenes of any size: two georeferenced images that need no licence, and the buildings they show.

The scene before lies in one UTM zone, the scene after in the next one, on coarser pixels and a known shift
off its place, with missing data along an edge and a cloud: what pairs of real images bring with them.

px are those of the scene before, x right and y down; px (0, 0) is the corner of the first pixel.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window

from skyeye_det.damage import IGNORE_DAMAGE, SUBTYPE_BY_DAMAGE
from skyeye_det.errors import InputError
from skyeye_det.files import read_json, sole_writer, write_json
from skyeye_det.progress import progress
from skyeye_det.sample.dataset import GENERATOR_VERSION, MANIFEST
from skyeye_det.sample.mosaic import (
    CLOUD,
    NODATA,
    MosaicBuilding,
    mosaic_tiles,
    strip_width,
    tile_numbers,
    tiles_a_side,
)
from skyeye_det.sample.scene import draw_recipe
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.geotiff import BLOCK, full_disk, write_geotiff
from skyeye_det.scene.vector_writing import whole_vector_file, write_layer

PRE, POST, TRUTH = ("pre/nw.tif", "pre/ne.tif", "pre/sw.tif", "pre/se.tif"), "post.tif", "truth.gpkg"
PRE_CRS, POST_CRS = "EPSG:32615", "EPSG:32616"
PRE_PIXEL, POST_PIXEL = 0.5, 0.55
"""m."""

CORNER = 720_000.0, 4_104_000.0
"""West and north of the scene in ``PRE_CRS``, m: near the next zone, whose grid is 3.6 degrees askew here."""

SHIFT = 2.1, -1.3
"""m to the east and to the north in ``PRE_CRS``, by which the scene after shows everything off its place."""

SMALLEST, LARGEST = 256, 32768
_PIXELS = {"count": 3, "dtype": "uint8", "photometric": "RGB"}
_SCRATCH = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "bigtiff": "IF_SAFER"}


def make_scene(output: Path, size: int, seed: int) -> int | None:
    """Writes a scene of ``size`` x ``size`` px before, the same for the same seed and size.

    ``sample.json`` comes first and says what the folder is for, so that a killed run can be begun anew.

    Args:
        output: folder; made where missing. It must be empty or hold the same scene.
        size: ``SMALLEST`` to ``LARGEST`` px.
        seed: 0 or more.

    Returns:
        Number of buildings; None where the scene was there already.

    Raises:
        InputError: an argument is out of range, or the folder holds something else or cannot be written.
    """
    if not SMALLEST <= size <= LARGEST:
        raise InputError(f"--size: expected {SMALLEST} to {LARGEST} px, found {size}")
    if seed < 0:
        raise InputError(f"--seed: expected 0 or more, found {seed}")
    with sole_writer(output):
        contents = _contents(size, seed)
        if _is_there(output, contents):
            return None
        write_json(output / MANIFEST, contents, pretty=True)
        with _scratch(output / ".pre.mosaic") as before, _scratch(output / ".post.mosaic") as after:
            buildings = _draw(before, after, size, seed)
            with rasterio.open(before) as mosaic:
                _write_pre(output, mosaic, size)
            with rasterio.open(after) as mosaic:
                _write_post(output / POST, mosaic)
        _write_truth(output / TRUTH, buildings)
    return len(buildings)


def pre_transform() -> Affine:
    """From px of the scene before to ``PRE_CRS``."""
    return Affine(PRE_PIXEL, 0, CORNER[0], 0, -PRE_PIXEL, CORNER[1])


def _contents(size: int, seed: int) -> dict[str, Any]:
    """What ``sample.json`` says; lengths in m, places in ``PRE_CRS``."""
    side = size * PRE_PIXEL
    return {
        "made": "scene",
        "generator": GENERATOR_VERSION,
        "seed": seed,
        "size": size,
        "event": draw_recipe(seed, next(tile_numbers(seed))).hazard.event,
        "shift_m": {"east": SHIFT[0], "north": SHIFT[1]},
        "pre": {"crs": PRE_CRS, "pixel_m": PRE_PIXEL, "west": CORNER[0], "north": CORNER[1]},
        "post": {"crs": POST_CRS, "pixel_m": POST_PIXEL, "nodata": NODATA},
        "missing_east_m": strip_width(size) * PRE_PIXEL,
        "cloud_x_y_radius_m": [
            [round(value, 3) for value in (CORNER[0] + x * side, CORNER[1] - y * side, radius * side)]
            for x, y, radius in CLOUD
        ],
        "files": [*PRE, POST, TRUTH],
    }


def _is_there(output: Path, contents: Mapping[str, Any]) -> bool:
    """Whether the folder holds all of the scene; InputError where it holds something else."""
    # Hidden files may be what a killed run left.
    if all(path.name.startswith(".") for path in output.iterdir()):
        return False
    path = output / MANIFEST
    if not path.is_file():
        raise InputError(
            f"{output}: expected an empty folder or a made-up scene with {MANIFEST}, found other files; give"
            " another --output"
        )
    there = read_json(path)
    for key, value in contents.items():
        found = there.get(key) if isinstance(there, dict) else None
        if found != value:
            raise InputError(
                f"{path}: expected {key} {value}, found {found}; give another --output or delete the folder"
            )
    return all((output / name).is_file() for name in contents["files"])


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A file of this run alone; what a killed run left of it is overwritten by the next."""
    try:
        path.unlink(missing_ok=True)  # a link would be written through
        yield path
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _draw(before: Path, after: Path, size: int, seed: int) -> list[MosaicBuilding]:
    """Draws the scene into two mosaics of px of the scene before."""
    profile = _PIXELS | _SCRATCH | {"width": size, "height": size, "crs": PRE_CRS}
    # What is off its place in the scene after is where its pixels are said to lie.
    moved = Affine.translation(*SHIFT) @ pre_transform()
    buildings: list[MosaicBuilding] = []
    with (
        rasterio.open(before, "w", transform=pre_transform(), **profile) as pre,
        rasterio.open(after, "w", transform=moved, nodata=NODATA, **profile) as post,
    ):
        tiles = mosaic_tiles(seed, size)
        for tile in progress(tiles, tiles_a_side(size) ** 2, "sample scene", "tile"):
            window = Window(tile.left, tile.top, tile.pre.shape[1], tile.pre.shape[0])
            pre.write(tile.pre.transpose(2, 0, 1), window=window)
            post.write(tile.post.transpose(2, 0, 1), window=window)
            buildings += tile.buildings
    for path in (before, after):
        if path.stat().st_size < 3 * size**2:  # rasterio says nothing of a full disk
            raise full_disk(path)
    return buildings


def _write_pre(output: Path, mosaic: DatasetReader, size: int) -> None:
    """The scene before in four files."""
    half = round(size / 2)
    spans = (0, half), (half, size)
    for name, ((top, bottom), (left, right)) in zip(PRE, product(spans, spans), strict=True):
        place = pre_transform() @ Affine.translation(left, top)
        grid = {"width": right - left, "height": bottom - top, "crs": PRE_CRS, "transform": place}

        def read(part: Window, left: int = left, top: int = top) -> np.ndarray:
            there = Window(part.col_off + left, part.row_off + top, part.width, part.height)
            return np.asarray(mosaic.read(window=there))

        write_geotiff(output / name, _PIXELS | grid, read)


def _write_post(path: Path, mosaic: DatasetReader) -> None:
    """The scene after in its own projection, around which nothing is known."""
    west, south, east, north = transform_bounds(PRE_CRS, POST_CRS, *mosaic.bounds)
    left, top = math.floor(west), math.ceil(north)
    grid: dict[str, Any] = {
        "crs": POST_CRS,
        "transform": Affine(POST_PIXEL, 0, left, 0, -POST_PIXEL, top),
        "width": math.ceil((east - left) / POST_PIXEL),
        "height": math.ceil((top - south) / POST_PIXEL),
        "nodata": NODATA,
    }
    # By itself GDAL allows places to be off by an eighth of a pixel.
    with WarpedVRT(mosaic, resampling=Resampling.bilinear, tolerance=0.001, **grid) as warped:
        write_geotiff(path, _PIXELS | grid, lambda part: np.asarray(warped.read(window=part)))


def _write_truth(path: Path, buildings: list[MosaicBuilding]) -> None:
    damage = np.array([each.damage for each in buildings], np.int32)
    columns = {
        "damage": damage,
        "damage_label": np.array([SUBTYPE_BY_DAMAGE[grade] for grade in damage.tolist()], object),
        "visible": np.array([each.visible for each in buildings], np.float64),
    }
    pixels = [shapely.MultiPolygon([(outer, holes) for outer, *holes in each.parts]) for each in buildings]
    outlines = shapely.transform(
        np.array(pixels, object), lambda places: np.array(CORNER) + places * (PRE_PIXEL, -PRE_PIXEL)
    )
    missing = {"damage": damage == IGNORE_DAMAGE}
    # A GeoPackage notes when it was written, and the same seed gives the same bytes.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2000-01-01T00:00:00.000Z"})
    try:
        with whole_vector_file(path) as place:
            write_layer(place, BUILDINGS, outlines, columns, CRS.from_string(PRE_CRS), missing)
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})
