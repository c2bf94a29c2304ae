"""GeoTIFFs, written whole, a block at a time, and read back: rasterio says nothing of a full disk."""

import zlib
from collections.abc import Callable, Mapping
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


def write_geotiff(
    path: Path,
    profile: Mapping[str, Any],
    read: Callable[[Window], np.ndarray],
    overviews: str | None = None,
    names: tuple[str, ...] = (),
) -> None:
    """Writes a tiled, deflated GeoTIFF.

    Args:
        path: of the file.
        profile: rasterio's: ``width``, ``height``, ``count``, ``dtype``, ``crs``, ``transform`` and more.
        read: gives the pixels (count, h, w) of a window, block by block.
        overviews: resampling of its overviews, and the file is cloud-optimised; None: it is plain.
        names: of its bands.

    Raises:
        InputError: the disk is full.
    """
    whole = {"driver": "GTiff", "tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, **profile}
    whole |= {"compress": "deflate", "bigtiff": "if_safer"}
    with whole_file(path) as partial:
        plain = partial.with_name(f"{partial.name}.tif")
        plain.unlink(missing_ok=True)  # of a killed run, or a link
        try:
            written = 0
            with rasterio.open(plain, "w", **whole) as file:
                if names:
                    file.descriptions = names
                for _, part in file.block_windows():
                    pixels = read(part)
                    written = zlib.crc32(pixels.tobytes(), written)
                    file.write(pixels, window=part)
            if overviews is None:
                plain.replace(partial)
            else:
                rasterio.shutil.copy(
                    plain,
                    partial,
                    driver="COG",
                    compress="deflate",
                    blocksize=BLOCK,
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
            found = zlib.crc32(file.read(window=part).tobytes(), found)
    return found
