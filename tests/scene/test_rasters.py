import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.rpc import RPC
from scenes import CORNER, UTM, ground, write

from skyeye_det.errors import InputError
from skyeye_det.prediction.visibility import visible
from skyeye_det.prediction.windows import Window
from skyeye_det.scene import reading
from skyeye_det.scene.grid import COARSEST, common_grid
from skyeye_det.scene.rasters import open_side
from skyeye_det.scene.reading import SideReader

HALF = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])


def sides(pre: Path, post: Path):
    return open_side("pre", [str(pre)]), open_side("post", [str(post)])


def read(side, grid, source=None):
    with SideReader(side, grid, source) as reader:
        return reader.read(Window(0, 0, grid.width, grid.height, grid.shape))


def test_a_grid_of_the_same_pixels_is_read_as_stored(tmp_path: Path) -> None:
    image = ground()
    pre, post = sides(write(tmp_path / "a.tif", image), write(tmp_path / "b.tif", image))
    grid = common_grid(pre, post)
    assert (grid.crs, grid.transform, grid.shape) == (UTM, HALF, image.shape[1:])
    found, seen = read(pre, grid)
    assert np.array_equal(found, image)
    assert seen.all()


def test_tiles_of_a_folder_are_one_image(tmp_path: Path) -> None:
    image = ground()
    for x in (0, 200):
        write(
            tmp_path / "pre" / f"{x}.tif", image[:, :, x : x + 200], transform=HALF @ Affine.translation(x, 0)
        )
    pre, post = sides(tmp_path / "pre", write(tmp_path / "b.tif", image))
    found, seen = read(pre, common_grid(pre, post))
    assert np.array_equal(found, image)
    assert seen.all()


@pytest.mark.parametrize(
    ("colors", "order"),
    [
        (("red", "green", "blue"), (0, 1, 2)),
        (("blue", "green", "red"), (2, 1, 0)),
        (("gray", "undefined", "undefined", "undefined"), (0, 1, 2)),
        (("red", "green", "blue", "alpha"), (0, 1, 2)),
    ],
)
def test_bands_are_taken_by_their_colors(
    tmp_path: Path, colors: tuple[str, ...], order: tuple[int, ...]
) -> None:
    image = np.concatenate([ground(), np.full((1, 320, 400), 255, np.uint8)])[: len(colors)]
    path = write(tmp_path / "a.tif", image, photometric="MINISBLACK" if colors[0] == "gray" else "RGB")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = [rasterio.enums.ColorInterp[color] for color in colors]
    pre, post = sides(path, path)
    found, _ = read(pre, common_grid(pre, post))
    assert np.array_equal(found, image[list(order)])


def test_bands_are_taken_by_their_names_or_numbers(tmp_path: Path) -> None:
    image = np.repeat(ground(), 2, axis=0)
    path = write(tmp_path / "a.tif", image, photometric="MINISBLACK")
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("nir", "Blue", "coastal", "Green", "Red", "edge")
    assert open_side("pre", [str(path)]).rasters[0].bands == (5, 4, 2)
    assert open_side("pre", [str(path)], bands="1,2,6").rasters[0].bands == (1, 2, 6)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "int16"])
def test_other_values_are_stretched_alike_in_every_window(tmp_path: Path, dtype: str) -> None:
    image = ground()
    path = write(tmp_path / "a.tif", image.astype(dtype) * 8 + 100)
    pre, post = sides(path, path)
    grid = common_grid(pre, post)
    whole, seen = read(pre, grid)
    with SideReader(pre, grid) as reader:
        part, _ = reader.read(Window(100, 50, 64, 64, grid.shape))
    assert np.array_equal(whole[:, 50:114, 100:164], part)
    assert np.corrcoef(whole.ravel(), image.ravel())[0, 1] > 0.97
    assert seen.mean() > 0.9


def test_values_of_any_size_fill_the_range(tmp_path: Path) -> None:
    image = ground()
    read_as = []
    for number, factor in enumerate((1.0, 1e-9)):
        path = write(tmp_path / f"{number}.tif", image.astype(np.float32) * factor, photometric="RGB")
        pre, post = sides(path, path)
        read_as.append(read(pre, common_grid(pre, post))[0].astype(int))
    assert np.abs(read_as[0] - read_as[1]).max() <= 1


def test_the_crs_of_a_site_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", ground(), CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1]]'))
    with pytest.raises(InputError, match="expected a CRS, found none; give --pre-crs"):
        open_side("pre", [str(path)])
    assert open_side("pre", [str(path)], "EPSG:32615").rasters[0].crs == UTM


def test_what_cannot_be_seen_is_told(tmp_path: Path) -> None:
    image = ground()
    image[:, :100, :100] = 0
    image[:, :100, 200:300] = 255
    image[:, 200:208, 200:208] = 255  # a white roof
    path = write(tmp_path / "a.tif", image)
    pre, post = sides(path, path)
    _, seen = read(pre, common_grid(pre, post))
    assert not seen[5:95, 5:95].any()
    assert not seen[5:95, 205:295].any()
    assert seen[110:, :].all()
    nodata = write(tmp_path / "b.tif", np.where(ground() == 110, 7, ground()).astype(np.uint8), nodata=7)
    pre, post = sides(nodata, nodata)
    _, seen = read(pre, common_grid(pre, post))
    assert np.array_equal(seen, (ground() != 110).any(axis=0))


def test_a_shift_moves_what_the_side_shows(tmp_path: Path) -> None:
    image = ground()
    path = write(tmp_path / "a.tif", image)
    pre, post = sides(path, path)
    found, seen = read(post, common_grid(pre, post), Affine.translation(-3, 2))
    assert np.array_equal(found[:, :-2, 3:], image[:, 2:, :-3])
    assert not seen[:, :3].any()


def test_many_files_are_sampled_more_thinly(tmp_path: Path, monkeypatch) -> None:
    image = ground(64, 64).astype(np.uint16) * 9
    side, post = sides(*[write(tmp_path / "a.tif", image, photometric="RGB")] * 2)
    grid = common_grid(side, post)
    seen = []

    def percentile(values: np.ndarray, *_: object, **__: object) -> np.ndarray:
        seen.append(values.shape)
        return np.ones((2, 3))

    monkeypatch.setattr(np, "percentile", percentile)
    monkeypatch.setattr(reading, "_SAMPLE", 64)
    for count in (1, 64, 256):
        SideReader(replace(side, rasters=side.rasters * count), grid)
    assert seen == [(3, 64 * 64), (3, 64 * 64 * 64), (3, 64 * 64 * 64)]


@pytest.mark.parametrize(("dtype", "full"), [("uint16", 65535), ("uint16", 2047), ("float32", 1.0)])
def test_what_is_saturated_or_filled_is_not_seen_and_bright_roofs_are(
    tmp_path: Path, dtype: str, full: float
) -> None:
    unit = full / 2047
    image = (ground().astype(np.float64) * 4 * unit).astype(dtype)
    image[:, 100:140, 100:140] = (np.random.default_rng(0).integers(1900, 2000, (3, 40, 40)) * unit).astype(
        dtype
    )
    image[:, :40, :40] = full
    image[:, 200:260, 200:260] = -9999 if dtype == "float32" else 300  # filled in, and not declared so
    path = write(tmp_path / "a.tif", image)
    pixels, seen = read(open_side("pre", [str(path)]), common_grid(*sides(path, path)))
    assert seen[100:140, 100:140].all()
    assert not seen[5:35, 5:35].any()
    assert not seen[205:255, 205:255].any()
    assert seen[150:190].mean() > 0.99
    assert pixels[:, 150:190].std() > 20  # the stretch is that of the ground


@pytest.mark.parametrize("value", [0, 1, 128, 254])
def test_one_colour_over_a_large_area_is_not_seen(value: int) -> None:
    pair = np.random.default_rng(1).integers(0, 256, (6, 90, 90), np.uint8)
    pair[3:, :45] = value
    seen = visible(pair)
    assert seen[0].all()
    assert not seen[1, 1:44, 1:-1].any()
    assert seen[1, 47:].all()


def test_hidden_files_and_pipes_of_a_folder_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", ground())
    (tmp_path / "._a.tif").write_bytes(b"other")
    os.mkfifo(tmp_path / "b.tif")
    assert len(open_side("pre", [str(tmp_path)]).rasters) == 1


def not_orthorectified(path: Path, kind: str) -> Path:
    write(path, ground(), crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as file:
        if kind == "rpc":
            line = [0.0, 1.0, *[0.0] * 18]
            file.rpcs = RPC(0, 1, 37, 1, line, line, 160, 160, -93, 1, line, line, 200, 200)
        else:
            file.gcps = [GroundControlPoint(0, 0, *CORNER)], UTM
    return path


def bad(folder: Path, kind: str) -> Path:
    image = ground()
    path = folder / "bad.tif"
    if kind == "band":
        return write(path, image[:1])
    if kind == "unnamed":
        return write(path, np.repeat(image, 2, axis=0), photometric="MINISBLACK")
    if kind == "crs":
        return write(path, image, crs=None)
    if kind == "transform":
        return write(path, image, transform=Affine.identity())
    if kind == "type":
        return write(path, image.astype(np.complex64))
    if kind == "coarse":
        return write(path, image, transform=HALF @ Affine.scale(3))
    if kind == "elsewhere":
        return write(path, image, transform=Affine.translation(5000, 0) @ HALF)
    if kind in ("rpc", "gcp"):
        return not_orthorectified(path, kind)
    if kind == "text":
        path.write_text("no raster")
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("band", r"bad\.tif: expected bands called red, green and blue, found 1: gray; name them by --bands"),
        ("unnamed", r"expected bands called red, green and blue, found 6: .*--bands"),
        ("crs", r"bad\.tif: expected a CRS, found none; give --post-crs"),
        ("transform", r"expected a geotransform, found none"),
        ("rpc", r"bad\.tif: expected an orthorectified raster, found rational polynomials .*gdalwarp -rpc"),
        ("gcp", r"bad\.tif: expected an orthorectified raster, found ground control points alone"),
        ("type", r"expected pixels of uint8, uint16, int16, float32, found complex64"),
        ("coarse", rf"--post: expected {COARSEST:g} m a pixel or less, found 1\.50 m"),
        ("elsewhere", r"expected images of the same place, found .* before and .* after"),
        ("text", r"expected a GeoTIFF, COG, VRT"),
        ("none", r"--post .*bad\.tif: expected a raster file, a folder of .* or a glob, found none"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, kind: str, sentence: str) -> None:
    good = write(tmp_path / "good.tif", ground())
    with pytest.raises(InputError, match=sentence) as told:
        common_grid(*sides(good, bad(tmp_path, kind)))
    assert "\n" not in str(told.value)


def test_bands_of_several_types_are_refused(tmp_path: Path) -> None:
    kinds = {"Red": "Byte", "Green": "UInt16", "Blue": "UInt16"}
    path = write(tmp_path / "a.tif", ground().astype(np.uint16) * 9)
    bands = "".join(
        f'<VRTRasterBand dataType="{kind}" band="{number}"><ColorInterp>{color}</ColorInterp><SimpleSource>'
        f"<SourceFilename>{path}</SourceFilename></SimpleSource></VRTRasterBand>"
        for number, (color, kind) in enumerate(kinds.items(), start=1)
    )
    place = f"<SRS>EPSG:32615</SRS><GeoTransform>{CORNER[0]},0.5,0,{CORNER[1]},0,-0.5</GeoTransform>"
    virtual = tmp_path / "a.vrt"
    virtual.write_text(f'<VRTDataset rasterXSize="400" rasterYSize="320">{place}{bands}</VRTDataset>')
    with pytest.raises(InputError, match="expected pixels of uint8, .*, found uint16 and uint8; convert it"):
        open_side("pre", [str(virtual)])


def test_nodata_alone_is_refused_where_values_must_be_stretched(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.zeros((3, 64, 64), np.uint16), nodata=0)
    pre, post = sides(path, path)
    with pytest.raises(InputError, match="expected pixels with values, found nodata alone"):
        SideReader(pre, common_grid(pre, post))
