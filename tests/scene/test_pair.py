from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from scenes import CORNER, ground, write

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


@pytest.mark.parametrize("moved", [0.0, 1.4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_where_the_post_image_repeats_the_pre_image_it_shows_nothing_new(
    tmp_path: Path, dtype: str, moved: float
) -> None:
    """And where both have a bright roof beyond the tones it does."""
    images = np.stack([ground(400, 400), ground(400, 400, seed=1)]).astype(dtype)
    noise = np.random.default_rng(0).integers(0, 9, images.shape)
    if dtype == "uint16":
        images = images * 9 + noise.astype(dtype)
        images[:, :, 300:330, 50:80] = 40_000 + noise[:, :, :30, :30]
    images[1, :, :, 200:] = images[0, :, :, 200:]
    pre, post = (
        open_side(name, [str(write(tmp_path / f"{name}.tif", image))])
        for name, image in zip(("pre", "post"), images, strict=True)
    )
    grid = common_grid(pre, post)
    with PairReader(Scene(pre, post, grid, replace(STILL, dx=moved))) as reader:
        refuse_copy(reader)
        _, seen, _ = reader.read(Window(0, 0, 400, 400, grid.shape))
    assert seen[0].all()
    assert seen[1, :, 2:200].all()
    assert not seen[1, :, 200:398].any()


def test_a_copy_that_was_resampled_is_more_alike_than_two_dates_are(tmp_path: Path) -> None:
    image = ground(SIDE, SIDE)
    place = Affine(0.5, 0, CORNER[0] + 0.2, 0, -0.5, CORNER[1] + 0.1)
    pre = open_side("pre", [str(write(tmp_path / "pre.tif", image))])
    post = open_side("post", [str(write(tmp_path / "post.tif", image, transform=place))])
    assert shift_of(Scene(pre, post, common_grid(pre, post), STILL)).correlation > MOST_CORRELATED
