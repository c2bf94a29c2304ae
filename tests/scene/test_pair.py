from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from scenes import CORNER, break_block, ground, write

from skyeye_det.errors import InputError
from skyeye_det.prediction.windows import Window
from skyeye_det.scene.grid import common_grid
from skyeye_det.scene.pair import PairReader, Scene, estimated_shift, refuse_copy
from skyeye_det.scene.rasters import Side, open_side
from skyeye_det.scene.shift import MOST_CORRELATED, STILL, Shift

SIDE = 1300


def shift_of(scene: Scene) -> Shift:
    with PairReader(scene) as reader:
        return estimated_shift(reader)


def look_for_copy(pre: Side, post: Side) -> None:
    with PairReader(Scene(pre, post, common_grid(pre, post), STILL)) as reader:
        refuse_copy(reader)


def test_a_post_image_of_another_scale_lies_on_the_pre_image_in_every_corner(tmp_path: Path) -> None:
    image = ground(SIDE, SIDE)
    middle = CORNER[0] + SIDE / 4, CORNER[1] - SIDE / 4
    place = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])
    grown = Affine.translation(*middle) @ Affine.scale(1.005) @ Affine.translation(-middle[0], -middle[1])
    pre = open_side("pre", [str(write(tmp_path / "pre.tif", image))])
    post = open_side("post", [str(write(tmp_path / "post.tif", image, transform=grown @ place))])
    grid = common_grid(pre, post, resolution=0.5)
    shift = shift_of(Scene(pre, post, grid, STILL))
    assert shift.field is not None
    assert shift.is_applied
    before, after = Scene(pre, post, grid, shift).readers()
    with before, after:
        for x in (20, SIDE - 220):
            for y in (20, SIDE - 220):
                window = Window(x, y, 200, 200, grid.shape)
                (one, seen), (other, also) = before.read(window), after.read(window)
                apart = np.abs(one.astype(float) - other)[:, seen & also]
                assert apart.mean() < 9  # 20 to 30 where they lie 3 px apart


def test_a_copy_of_the_pre_image_under_another_name_is_no_post_image(tmp_path: Path) -> None:
    image = ground(400, 400)
    later = image.copy()
    later[:, 300:310, 300:310] = 77
    pre = open_side("pre", [str(write(tmp_path / "pre.tif", image))])
    copied = open_side("post", [str(write(tmp_path / "post.tif", image, compress="deflate"))])
    other = open_side("post", [str(write(tmp_path / "other.tif", later))])
    black = open_side("post", [str(write(tmp_path / "black.tif", 0 * image))])
    look_for_copy(pre, other)
    look_for_copy(pre, black)
    with pytest.raises(InputError, match=r"found the same pixels in .*pre\.tif and .*post\.tif"):
        look_for_copy(pre, copied)


@pytest.mark.parametrize("other", [{"nodata": 0}, {"driver": "COG", "compress": "deflate"}])
def test_a_copy_of_16_bits_is_told_whatever_its_nodata_and_overviews_are(tmp_path: Path, other: dict) -> None:
    noise = np.random.default_rng(1).integers(0, 9, (3, 1100, 1100))
    image = (ground(1100, 1100).astype(np.uint16) * 9 + noise).astype(np.uint16)
    pre = open_side("pre", [str(write(tmp_path / "pre.tif", image))])
    if "nodata" in other:
        image[:, :, :300] = 0
    post = open_side("post", [str(write(tmp_path / "post.tif", image, **other))])
    with pytest.raises(InputError, match="found the same pixels"):
        look_for_copy(pre, post)


def test_a_post_image_that_is_new_in_a_small_place_alone_is_no_copy(tmp_path: Path) -> None:
    image = ground(1024, 1024)
    later = image.copy()
    later[:, 900:910, 900:910] = 77
    pre = open_side("pre", [str(write(tmp_path / "pre.tif", image))])
    post = open_side("post", [str(write(tmp_path / "post.tif", later))])
    look_for_copy(pre, post)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("moved", [(0, 0, 0), (38.4, 0, 0), (3.3, 0.002, 0.001)])
def test_what_the_post_image_repeats_is_not_seen(tmp_path: Path, dtype: str, moved: tuple) -> None:
    """Nor a bright roof in it, while roofs that are bright on both dates are."""
    images = np.stack([ground(400, 400), ground(400, 400, seed=1)]).astype(dtype)
    if dtype != "uint8":
        noise = np.random.default_rng(0).integers(0, 9, images.shape).astype(dtype)
        images = images * 9 + noise
        for left in (50, 220):
            images[:, :, 300:330, left : left + 30] = 40_000 + noise[:, :, :30, :30]
    images[1, :, :, 200:300] = images[0, :, :, 200:300]
    pre, post = (
        open_side(name, [str(write(tmp_path / f"{name}.tif", image))])
        for name, image in zip(("pre", "post"), images, strict=True)
    )
    grid = common_grid(pre, post)
    dx, b, c = moved
    shift = replace(STILL, dx=dx, field=(dx, b, c, 0, 0, 0))
    with PairReader(Scene(pre, post, grid, shift)) as reader:
        _, seen, _ = reader.read(Window(0, 0, 400, 400, grid.shape))
    x = np.arange(400) + 0.5
    for row in (20, 200, 315, 380):
        source, _ = shift.source @ (x, np.full(400, row + 0.5))
        assert not seen[1, row, (source > 202) & (source < 298)].any()
        assert seen[1, row, ((source > 2) & (source < 198)) | ((source > 302) & (source < 398))].all()
    assert seen[0].all()


@pytest.mark.parametrize("skips", [False, True])
def test_a_copy_with_a_block_that_cannot_be_read_is_told_where_it_is_passed_over(
    tmp_path: Path, skips: bool
) -> None:
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    pre, post = (write(tmp_path / f"{name}.tif", ground(900, 900), **tiled) for name in ("pre", "post"))
    break_block(post)
    sides = open_side("pre", [str(pre)]), open_side("post", [str(post)])
    reader = PairReader(Scene(*sides, common_grid(*sides), STILL, skip_unreadable=skips))
    with reader, pytest.raises(InputError, match="the same pixels") if skips else nullcontext():
        refuse_copy(reader)


def test_a_copy_that_was_resampled_is_more_alike_than_two_dates_are(tmp_path: Path) -> None:
    image = ground(SIDE, SIDE)
    place = Affine(0.5, 0, CORNER[0] + 0.2, 0, -0.5, CORNER[1] + 0.1)
    pre = open_side("pre", [str(write(tmp_path / "pre.tif", image))])
    post = open_side("post", [str(write(tmp_path / "post.tif", image, transform=place))])
    assert shift_of(Scene(pre, post, common_grid(pre, post), STILL)).correlation > MOST_CORRELATED
