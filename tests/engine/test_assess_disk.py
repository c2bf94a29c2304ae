"""``skyeye assess`` on a disk that is full, or becomes so."""

import shutil
import subprocess
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from assess_runs import layer, run
from scenes import write

from skyeye_det.engine.models import Models
from skyeye_det.errors import InputError

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many bytes every disk says that it has free."""
    return lambda size: monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - size, size))


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_disk_that_is_full_is_refused_before_anything_is_predicted(
    pair, weights, rule, tmp_path, free, monkeypatch
) -> None:
    free(100_000)
    monkeypatch.setattr(Models, "load", None)
    with pytest.raises(
        InputError, match=r"out: expected room for 6 windows .*0\.2 MB at least.* 0\.1 MB free"
    ):
        run(pair, tmp_path / "out", weights, rule)


def test_what_fits_is_never_refused(weights, rule, tmp_path, free, capsys) -> None:
    names = ("pre.tif", "post.tif")
    pre, post = (write(tmp_path / name, np.zeros((3, 320, 400), np.uint8)) for name in names)
    run((pre, post), tmp_path / "out", weights, rule)
    assert "note:" not in capsys.readouterr().out
    free(size(tmp_path / "out"))
    run((pre, post), tmp_path / "again", weights, rule)
    free(250_000)
    run((pre, post), tmp_path / "less", weights, rule)
    assert "less has 0.2 MB free; windows of a town need 0.3 MB" in capsys.readouterr().out


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 40 kB, too small for six windows."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_becomes_full_is_told_and_the_run_goes_on_when_there_is_room(
    pair, weights, rule, whole, free, small_disk
) -> None:
    free(10**9)
    output = small_disk / "out"
    for room in ("40k", f"{(size(whole / 'parts') + 100_000) // 1024}k"):
        subprocess.run(["mount", "-o", f"remount,size={room}", str(small_disk)], check=True)
        with pytest.raises(InputError, match=r"cannot be written \(.*[Nn]o space left|room on the disk"):
            run(pair, output, weights, rule)
        assert {path.name for path in output.iterdir()} <= {"parts"}
        assert not list(output.rglob("*.partial*"))
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    run(pair, output, weights, rule)
    found = layer(output)["building_id"].tolist()
    assert found == layer(whole)["building_id"].tolist()
