"""The grid on which two sides meet, and the images and projections that have none."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.crs import CRS
from scenes import ground, in_degrees, write
from test_rasters import HALF, read, sides

from skyeye_det.errors import InputError
from skyeye_det.scene.grid import common_grid


@pytest.mark.parametrize("rotation", [0.0, 20.0])
def test_projections_and_rotated_grids_meet_on_one_grid(tmp_path: Path, rotation: float) -> None:
    image = ground()
    degrees, place = in_degrees(image, HALF)
    pre, post = sides(
        write(tmp_path / "a.tif", image), write(tmp_path / "b.tif", degrees, CRS.from_epsg(4326), place)
    )
    if rotation:
        turned = HALF @ Affine.rotation(rotation, (200, 160))
        pre, _ = sides(write(tmp_path / "c.tif", image, transform=turned), tmp_path / "b.tif")
        grid = common_grid(pre, post)
        found, seen = read(pre, grid)
        middle = ~grid.transform @ (turned @ (200.5, 160.5))
        assert np.abs(found[:, int(middle[1]), int(middle[0])].astype(int) - image[:, 160, 200]).max() <= 40
        assert 0.3 < seen.mean() < 1
        return
    grid = common_grid(pre, post)
    one, _ = read(pre, grid)
    other, seen = read(post, grid)
    assert grid.resolution == 0.5  # the pre image's own
    inner = np.s_[:, 10:-10, 10:-10]
    assert seen[inner[1:]].all()
    assert np.abs(one[inner].astype(int) - other[inner]).mean() < 8


def test_the_finer_image_gives_the_grid_its_resolution(tmp_path: Path) -> None:
    fine = write(tmp_path / "fine.tif", ground())
    coarse = write(tmp_path / "coarse.tif", ground(), transform=HALF @ Affine.scale(1.6))
    for pair in ((fine, coarse), (coarse, fine)):
        assert common_grid(*sides(*pair)).resolution == 0.5


@pytest.mark.parametrize("resolution", [0.0, -1.0, float("nan"), 50.0])
def test_a_resolution_that_is_none_is_refused(tmp_path: Path, resolution: float) -> None:
    path = write(tmp_path / "a.tif", ground())
    with pytest.raises(InputError, match="--resolution .*expected 0.1 to 1 m"):
        common_grid(*sides(path, path), resolution=resolution)


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:4087", "EPSG:3413", "EPSG:4326", "EPSG:2225", "text"])
def test_a_crs_whose_metres_are_none_is_refused(tmp_path: Path, crs: str) -> None:
    path = write(tmp_path / "a.tif", ground())
    with pytest.raises(InputError, match=f"--crs {crs}: expected a (projected )?CRS"):
        common_grid(*sides(path, path), crs=crs)


@pytest.mark.parametrize("west", [265.5, 400_000.0])
def test_coordinates_off_the_globe_are_refused(tmp_path: Path, west: float) -> None:
    path = write(tmp_path / "a.tif", ground(), CRS.from_epsg(4326), Affine(5e-6, 0, west, 0, -5e-6, 37))
    with pytest.raises(InputError, match="expected (longitudes|coordinates)"):
        common_grid(*sides(path, path))


def test_a_scene_across_the_180th_meridian_is_one_scene(tmp_path: Path) -> None:
    image, east = ground(), Affine(0.5, 0, 819_680, 0, -0.5, 8_140_100)  # 179.999 degrees, near Fiji
    path = write(tmp_path / "a.tif", image, CRS.from_epsg(32760), east)
    grid = common_grid(*sides(path, path))
    assert (grid.crs, grid.transform) == (CRS.from_epsg(32760), east)
    pixels, seen = read(sides(path, path)[0], grid)
    assert seen.all()
    assert np.array_equal(pixels, image)


def test_images_that_only_touch_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "a.tif", ground())
    other = write(tmp_path / "b.tif", ground(), transform=Affine.translation(199.998, 0) @ HALF)
    with pytest.raises(InputError, match="expected images of the same place, found that they only touch"):
        common_grid(*sides(one, other))
