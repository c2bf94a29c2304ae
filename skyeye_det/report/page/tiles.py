"""Both images of a scene as pyramids of small JPEG tiles, in the frame of the assessment's grid.

Tile Z/X/Y begins at column X * 256 * 2^(max_zoom - Z); at ``max_zoom`` it shows the grid's own px.
"""

from collections.abc import Generator, Iterator
from itertools import product
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.errors import UnreadableError
from skyeye_det.files import write_bytes
from skyeye_det.prediction.windows import Window
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.reading import SideReader

TILE = 256
"""px."""

_BLOCK = 1024  # px, read at once
_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 75, cv2.IMWRITE_JPEG_OPTIMIZE, 1]


def max_zoom(shape: tuple[int, int]) -> int:
    """The zoom of a grid's (height, width) own px; at 0 all of it is in one tile."""
    return max(-(-max(shape) // TILE) - 1, 0).bit_length()


def block_count(shape: tuple[int, int]) -> int:
    """How often ``draw_tiles`` yields for a grid (height, width)."""
    return -(-shape[0] // _BLOCK) * -(-shape[1] // _BLOCK)


def draw_tiles(folder: Path, reader: SideReader, grid: Grid) -> Iterator[None]:
    """Writes ``Z/X/Y.jpg`` of one side but for tiles that are black; yields after each block that is read.

    Memory is that of a block and of a tile's parts at each zoom, whatever the scene's size.

    Args:
        folder: of this side's tiles.
        reader: of the side.
        grid: of the scene.

    Raises:
        InputError: an image cannot be read, or a tile cannot be written.
    """
    yield from _Pyramid(folder, reader, grid).tile(0, 0, 0)


def tile_bits(folder: Path, shape: tuple[int, int]) -> dict[str, str]:
    """Which tiles of one side are there: zoom -> ``1`` or ``0`` a tile, row by row.

    Args:
        folder: of this side's tiles.
        shape: (height, width) of the grid.
    """
    most, bits = max_zoom(shape), {}
    for zoom in range(most + 1):
        rows, columns = (-(-length // (TILE << (most - zoom))) for length in shape)
        there = {(path.parent.name, path.stem) for path in (folder / str(zoom)).glob("*/*.jpg")}
        places = product(range(rows), range(columns))
        bits[str(zoom)] = "".join("01"[(str(x), str(y)) in there] for y, x in places)
    return bits


class _Pyramid:
    def __init__(self, folder: Path, reader: SideReader, grid: Grid):
        self._folder, self._reader, self._shape = folder, reader, grid.shape
        self._most = max_zoom(grid.shape)

    def tile(
        self, zoom: int, x: int, y: int, block: np.ndarray | None = None
    ) -> Generator[None, None, np.ndarray | None]:
        """Writes a tile and all finer ones below it.

        Args:
            zoom: of the tile.
            x: its column.
            y: its row.
            block: uint8 (side, side, 3), its px of the grid, where these are read already.

        Returns:
            uint8 (TILE, TILE, 3); None where it is black.
        """
        side = TILE << (self._most - zoom)
        if x * side >= self._shape[1] or y * side >= self._shape[0]:
            return None
        if block is None and side <= _BLOCK:
            block = self._read(x * side, y * side, side)
            yield
        if block is not None and side == TILE:
            pixels = block
        else:
            pixels = np.zeros((2 * TILE, 2 * TILE, 3), np.uint8)
            half = side // 2
            for row, column in product((0, 1), (0, 1)):
                part = None if block is None else block[row * half :, column * half :][:half, :half]
                finer = yield from self.tile(zoom + 1, 2 * x + column, 2 * y + row, part)
                if finer is not None:
                    pixels[row * TILE :, column * TILE :][:TILE, :TILE] = finer
            pixels = cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_AREA)  # mean of 2 x 2
        if not pixels.any():
            return None
        coded = cv2.imencode(".jpg", np.ascontiguousarray(pixels[..., ::-1]), _QUALITY)[1]
        write_bytes(self._folder / str(zoom) / str(x) / f"{y}.jpg", coded.tobytes())
        return pixels

    def _read(self, x: int, y: int, side: int) -> np.ndarray:
        """uint8 (side, side, 3), black beyond the grid and where it may and cannot be read."""
        height, width = min(side, self._shape[0] - y), min(side, self._shape[1] - x)
        block = np.zeros((side, side, 3), np.uint8)
        try:
            image, _ = self._reader.read(Window(x, y, width, height, self._shape))
        except UnreadableError:
            if not self._reader.skip_unreadable:
                raise
            return block
        block[:height, :width] = image.transpose(1, 2, 0)
        return block
