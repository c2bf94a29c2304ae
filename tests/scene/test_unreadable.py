"""Files whose pixels cannot be read, or that vanish while they are read."""

from pathlib import Path

import numpy as np
import pytest
from scenes import break_block, ground, write

from skyeye_det.errors import UnreadableError
from skyeye_det.prediction.windows import cut_windows
from skyeye_det.scene.grid import common_grid
from skyeye_det.scene.rasters import open_side
from skyeye_det.scene.reading import SideReader

TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}


def opened(path: Path):
    side = open_side("post", [str(path)])
    return side, common_grid(side, side)


def test_a_broken_block_is_told_with_file_and_window_and_others_are_read(tmp_path: Path) -> None:
    side, grid = opened(write(tmp_path / "a.tif", ground(), **TILED))
    break_block(tmp_path / "a.tif", 1, 0)
    first, *others = cut_windows(grid.shape, 192, 64)
    with SideReader(side, grid) as reader:
        with pytest.raises(UnreadableError, match=r"a\.tif: .* in the window 0-0 of 192 x 192 px, found"):
            reader.read(first)
        for window in others:
            if window.x >= 128:
                assert np.array_equal(reader.read(window)[0], window.of(ground()))


@pytest.mark.parametrize("how", ["cut off", "removed"])
def test_a_file_that_is_lost_while_it_is_read_is_told(tmp_path: Path, how: str) -> None:
    path = write(tmp_path / "a.tif", ground(), **TILED)
    side, grid = opened(path)
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:60_000])
    *_, last = cut_windows(grid.shape, 192, 64)
    with (
        SideReader(side, grid) as reader,
        pytest.raises(UnreadableError, match=rf"a\.tif: expected pixels .* {last.name} of 192 x 192 px"),
    ):
        reader.read(last)


def test_the_stretch_comes_from_what_can_be_read_where_the_rest_is_to_be_skipped(tmp_path: Path) -> None:
    image = ground(1100, 1100).astype(np.uint16) * 8
    side, grid = opened(write(tmp_path / "a.tif", image, **TILED))
    with SideReader(side, grid) as reader:
        whole = reader.stretch
    break_block(tmp_path / "a.tif", 1, 0)
    with pytest.raises(UnreadableError, match=r"a\.tif: expected pixels that can be read, found"):
        SideReader(side, grid)
    with SideReader(side, grid, skip_unreadable=True) as reader:
        assert np.allclose(reader.stretch.low, whole.low, rtol=0.1)
        assert np.allclose(reader.stretch.high, whole.high, rtol=0.1)
