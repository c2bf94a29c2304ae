"""Small georeferenced scenes whose content is known: one field of squares, in any projection and grid."""

import os
from pathlib import Path

import cv2
import numpy as np
import pyogrio
import rasterio
import rasterio.warp
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.warp import Resampling, reproject

UTM = CRS.from_epsg(32615)
CORNER = 366_600.0, 4_104_000.0
"""West and north of the scene in ``UTM``, m."""


def ground(height: int = 320, width: int = 400, seed: int = 0) -> np.ndarray:
    """uint8 (3, h, w): squares of random sizes and tones on a smooth background; never black or white."""
    generator = np.random.default_rng(seed)
    image = np.full((3, height, width), 110, np.uint8)
    for _ in range(height * width // 900):
        y, x = generator.integers(0, height - 20), generator.integers(0, width - 20)
        h, w = generator.integers(6, 20, 2)
        image[:, y : y + h, x : x + w] = generator.integers(30, 220, (3, 1, 1))
    return image + generator.integers(0, 5, image.shape, np.uint8)  # ground has noise


def write(
    path: Path,
    image: np.ndarray,
    crs: CRS | None = UTM,
    transform: Affine | None = None,
    **profile: object,
) -> Path:
    """Writes (bands, h, w) as a GeoTIFF; by default at ``CORNER`` with pixels of half a metre."""
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]) if transform is None else transform
    settings = {"driver": "GTiff", "count": len(image), "height": image.shape[1], "width": image.shape[2]}
    settings |= {"dtype": image.dtype, "crs": crs, "transform": transform}
    with rasterio.open(path, "w", **(settings | profile)) as file:
        file.write(image)
    return path


def moved(image: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """The image moved by px to the right and down; its edges are repeated."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float64)
    size = image.shape[2], image.shape[1]
    return np.stack([cv2.warpAffine(band, matrix, size, borderMode=cv2.BORDER_REPLICATE) for band in image])


def in_degrees(image: np.ndarray, transform: Affine, size: float = 5e-6) -> tuple[np.ndarray, Affine]:
    """The same ground on a grid of EPSG:4326."""
    height, width = image.shape[1:]
    left, top = transform @ (0, 0)
    right, bottom = transform @ (width, height)
    west, south, east, north = rasterio.warp.transform_bounds(UTM, "EPSG:4326", left, bottom, right, top)
    place = Affine(size, 0, west, 0, -size, north)
    result = np.zeros((len(image), round((north - south) / size), round((east - west) / size)), image.dtype)
    reproject(
        image,
        result,
        src_crs=UTM,
        src_transform=transform,
        dst_crs="EPSG:4326",
        dst_transform=place,
        resampling=Resampling.bilinear,
    )
    return result, place


def write_polygons(
    path: Path, *geometries: shapely.Geometry, crs: str | None = "EPSG:32615", **columns: list
) -> str:
    kinds = {each.geom_type for each in geometries if each is not None}
    pyogrio.raw.write(
        path,
        geometry=shapely.to_wkb(np.array(geometries, object)),
        field_data=[np.array(values) for values in columns.values()],
        fields=np.array(list(columns), object),
        geometry_type=kinds.pop() if len(kinds) == 1 else "Polygon" if not kinds else "Unknown",
        crs=crs,
    )
    return str(path)


def moved_by(geometry: shapely.Geometry, x: float, y: float) -> shapely.Geometry:
    return shapely.transform(geometry, lambda points: points + np.array([x, y]))


def break_block(path: Path, column: int = 0, row: int = 0) -> None:
    """Writes over a tile of a compressed GeoTIFF; its size and time stay, as on a disk that fails."""
    with rasterio.open(path) as file:
        offset = int(file.get_tag_item(f"BLOCK_OFFSET_{column}_{row}", "TIFF", bidx=1))
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * 64)
    os.utime(path, ns=times)
