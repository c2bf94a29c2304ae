"""``skyeye assess --skip-unreadable``: what cannot be read is not assessed, and is read again later."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import shapely
from assess_runs import layer, run
from scenes import CORNER, break_block, ground, write, write_polygons

from skyeye_det.errors import InputError
from skyeye_det.prediction.visibility import UNREADABLE

LEFT, TOP = CORNER
SKIP = "--skip-unreadable"
BROKEN = shapely.box(LEFT, TOP - 80, LEFT + 74, TOP)
"""Core of the window whose pixels cannot be read."""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """The post image has a broken block in the corner, which one window of six has alone."""
    tiled = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    pre, post = (
        write(tmp_path / f"{name}.tif", ground() + np.uint8(lighter), **tiled)
        for lighter, name in enumerate(("pre", "post"))
    )
    post.with_suffix(".sound").write_bytes(post.read_bytes())
    break_block(post)
    return pre, post


@pytest.fixture
def footprints(tmp_path: Path) -> list[str]:
    """In the core that cannot be read; seen by others, but classified by its window; and elsewhere."""
    inside, body, elsewhere = (
        shapely.box(LEFT + x, TOP - 30, LEFT + x + 12, TOP - 10) for x in (10, 75, 150)
    )
    tailed = body | shapely.box(LEFT + 60, TOP - 21, LEFT + 75, TOP - 19)
    file = write_polygons(tmp_path / "known.gpkg", inside, tailed, elsewhere, key=list("abc"))
    return ["--footprints", file, "--footprint-id", "key"]


def mend(path: Path) -> None:
    """Its size and time stay."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(path.with_suffix(".sound").read_bytes())
    os.utime(path, ns=times)


def test_a_window_that_cannot_be_read_is_named_and_nothing_is_written(pair, weights, rule, tmp_path) -> None:
    with pytest.raises(InputError, match=r"post\.tif: .* window 0-0 of .*--skip-unreadable"):
        run(pair, tmp_path / "out", weights, rule, "--shift", "none")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"parts"}


def test_it_is_not_assessed_where_it_is_skipped(pair, footprints, weights, rule, tmp_path, capsys) -> None:
    output = tmp_path / "out"
    run(pair, output, weights, rule, SKIP, *footprints)
    assert "windows that cannot be read, and are not assessed: 1;" in capsys.readouterr().out
    assert list(json.loads((output / "run.json").read_text())["unreadable"]) == ["0-0"]
    gaps = layer(output, "not_assessed")
    assert gaps["reason"].tolist() == [UNREADABLE]
    assert shapely.area(shapely.symmetric_difference(shapely.union_all(gaps["geometry"]), BROKEN)) < 1
    known = layer(output)
    assert known["status"].tolist() == [UNREADABLE, UNREADABLE, "assessed"]
    assert np.isnan(known["damage"]).tolist() == [True, True, False]
    others = layer(output, "not_in_footprints")
    covered = shapely.area(shapely.intersection(others["geometry"], BROKEN)) / others["area_m2"]
    assert set(others["status"][covered > 0.6]) == {UNREADABLE}
    assert set(others["status"][covered < 0.4]) == {"assessed"}


def test_it_stays_skipped_by_the_option_and_is_read_again_without(
    pair, footprints, weights, rule, tmp_path, capsys
) -> None:
    output, sound = tmp_path / "out", tmp_path / "sound"
    for _ in range(2):
        run(pair, output, weights, rule, SKIP, "--shift", "none", *footprints)
    assert "6 windows, 6 of them predicted before" in capsys.readouterr().out
    assert UNREADABLE in layer(output)["status"]
    mend(pair[1])
    capsys.readouterr()
    for place in (output, sound):
        run(pair, place, weights, rule, "--shift", "none", *footprints)
    assert "6 windows, 5 of them predicted before" in capsys.readouterr().out
    assert set(layer(output)["status"]) == {"assessed"}
    assert json.loads((output / "run.json").read_text())["unreadable"] == {}
    for name in ("buildings", "not_in_footprints"):
        one, other = layer(output, name), layer(sound, name)
        for column in ("building_id", "run_id", "p_destroyed"):
            assert one[column].tolist() == other[column].tolist()


def test_a_shard_leaves_what_another_is_about_to_keep(pair, weights, rule, tmp_path) -> None:
    output = tmp_path / "out"
    run(pair, output, weights, rule, SKIP)
    (written,) = (output / "parts").glob("*@0-0.npz")
    written.unlink()  # it is written last
    run(pair, output, weights, rule, SKIP, "--shard", "2/2")
    assert written.with_suffix(".unreadable").is_file()
