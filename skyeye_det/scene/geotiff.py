"""GeoTIFFs, written whole, a block at a time, and read back: rasterio says nothing of a full disk."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window

from skyeye_det.errors import InputError
from skyeye_det.files import whole_file

BLOCK = 512
"""px, side of the blocks."""


def write_geotiff(path: Path, profile: Mapping[str, Any], read: Callable[[Window], np.ndarray]) -> None:
    """Writes a tiled, deflated GeoTIFF.

    Args:
        path: of the file.
        profile: as of ``whole_geotiff``.
        read: gives the pixels (count, h, w) of a window, block by block.

    Raises:
        InputError: the disk is full.
    """
    with whole_geotiff(path, profile) as write:
        for part in blocks(profile["height"], profile["width"]):
            write(read(part), part)


def blocks(height: int, width: int) -> Iterator[Window]:
    """The blocks of a raster, in the order of the file."""
    for y in range(0, height, BLOCK):
        for x in range(0, width, BLOCK):
            yield Window(x, y, min(BLOCK, width - x), min(BLOCK, height - y))


@contextmanager
def whole_geotiff(
    path: Path, profile: Mapping[str, Any], overviews: str | None = None, names: tuple[str, ...] = ()
) -> Iterator[Callable[[np.ndarray, Window], None]]:
    """A tiled, deflated GeoTIFF, which appears when the block ends.

    Args:
        path: of the file.
        profile: rasterio's: ``width``, ``height``, ``count``, ``dtype``, ``crs``, ``transform`` and more.
        overviews: resampling of its overviews, and the file is cloud-optimised; None: it is plain.
        names: of its bands.

    Yields:
        What writes pixels (count, h, w) to a window of ``blocks``; each is to be written once, in order.

    Raises:
        InputError: the disk is full.
    """
    whole = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, **profile}
    whole |= {"compress": "deflate", "bigtiff": "if_safer"}
    if overviews is not None:
        whole |= {"compress": "zstd", "zstd_level": 1, "sparse_ok": True}  # it is only copied
    written = 0
    with whole_file(path) as partial:
        plain = partial.with_name(f"{partial.name}.tif")
        plain.unlink(missing_ok=True)  # of a killed run, or a link
        try:
            with rasterio.open(plain, "w", **whole) as file:
                if names:
                    file.descriptions = names

                def write(pixels: np.ndarray, window: Window) -> None:
                    nonlocal written
                    written = zlib.crc32(np.ascontiguousarray(pixels).data, written)
                    file.write(pixels, window=window)

                yield write
            if overviews is None:
                plain.replace(partial)
            else:
                with rasterio.Env(COG_TMP_COMPRESSION="ZSTD"):  # of overviews until they are copied; else LZW
                    rasterio.shutil.copy(
                        plain,
                        partial,
                        driver="COG",
                        compress="deflate",
                        blocksize=BLOCK,
                        sparse_ok=True,
                        overview_resampling=overviews,
                    )
            if _checksum(partial) != written:
                raise full_disk(path)
        finally:
            plain.unlink(missing_ok=True)


def full_disk(path: Path) -> InputError:
    """The error of a file that could not be written whole."""
    return InputError(f"{path}: cannot be written; is there room on the disk?")


def _checksum(path: Path) -> int:
    found = 0
    with rasterio.open(path) as file:
        for _, part in file.block_windows():
            found = zlib.crc32(file.read(window=part), found)
    return found
