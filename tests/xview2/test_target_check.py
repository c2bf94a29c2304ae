import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from target_files import SIDE, square, targets, write_pair

from skyeye_det.commands.make_targets import checked_table
from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import encode_class_png, read_class_png
from skyeye_det.xview2.targets import TargetsChecked, check_targets, make_targets

ROOT = Path(__file__).resolve().parents[2]
SAMPLE_TARGETS = 23
XBD = os.environ.get("SKYEYE_XBD_ROOT", "")


def run(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "tools" / "make_targets.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def tamper(path: Path, pixels: int, value: int) -> None:
    image = read_class_png(path)
    image.flat[np.flatnonzero(image == 0)[:pixels]] = value
    path.write_bytes(encode_class_png(image))


def a_split(root: Path, pairs: int = 3) -> list[str]:
    """Scenes of a split with targets; the last is empty."""
    scenes = [
        write_pair(root, number, [(square(8 * number, 9), "destroyed")] if number < pairs - 1 else [])
        for number in range(pairs)
    ]
    make_targets(root, "tier3")
    return scenes


def test_targets_just_made_have_no_difference(tmp_path: Path) -> None:
    a_split(tmp_path)
    checked = check_targets(tmp_path, "tier3")
    assert checked == TargetsChecked("tier3", compared=6, absent=0, differences=())
    assert (checked.identical, checked.worst, checked.has_findings(0)) == (6, 0, False)


def test_altered_targets_are_named_with_their_pixels_the_worst_first(tmp_path: Path) -> None:
    scenes = a_split(tmp_path)
    few, many = targets(tmp_path, scenes[0])[0], targets(tmp_path, scenes[2])[1]
    tamper(few, 15, 1)
    tamper(many, 16, 3)
    checked = check_targets(tmp_path, "tier3", workers=1)
    found = [(Path(d.file).name, d.kind, d.pixels) for d in checked.differences]
    assert found == [(many.name, "damage", 16), (few.name, "localization", 15)]
    assert checked.differences[0].detail == "x 0, y 0: expected 0, found 3"
    assert (checked.compared, checked.identical, checked.worst) == (6, 4, 16)
    assert [checked.has_findings(tolerance) for tolerance in (16, 15, 0)] == [False, True, True]
    lines = checked_table([checked]).splitlines()
    assert lines[1].split()[:3] == ["16", "damage", f"tier3/targets/{many.name}"]
    assert lines[2].split()[:2] == ["15", "localization"]
    assert lines[3] == "tier3: 6 targets compared, 4 identical, worst 16 px of 15 allowed; 0 absent"


def test_lone_target_is_compared_and_its_partner_counts_as_absent(tmp_path: Path) -> None:
    scenes = a_split(tmp_path)
    targets(tmp_path, scenes[0])[0].unlink()
    for path in targets(tmp_path, scenes[1]):
        path.unlink()
    tamper(targets(tmp_path, scenes[0])[1], 1, 2)
    checked = check_targets(tmp_path, "tier3")
    assert (checked.compared, checked.absent, checked.identical) == (3, 3, 2)
    assert [(d.kind, d.pixels) for d in checked.differences] == [("damage", 1)]


def test_what_cannot_be_compared_is_a_finding_with_its_reason(tmp_path: Path) -> None:
    scenes = a_split(tmp_path, 4)
    cut, small = targets(tmp_path, scenes[0])
    cut.write_bytes(cut.read_bytes()[:-20])
    small.write_bytes(encode_class_png(np.zeros((SIDE, SIDE - 1), np.uint8)))
    (tmp_path / "tier3" / "labels" / f"{scenes[1]}_post_disaster.json").write_text("[]")
    (tmp_path / "tier3" / "images" / f"{scenes[2]}_pre_disaster.png").unlink()
    checked = check_targets(tmp_path, "tier3")
    assert checked.has_findings(10**6)
    assert (checked.compared, checked.identical) == (2, 2)
    reasons = {Path(d.file).name: d.detail for d in checked.differences}
    assert len(reasons) == 6
    assert "cut short" in reasons[cut.name]
    assert reasons[small.name] == f"expected {SIDE} x {SIDE} px, found {SIDE - 1} x {SIDE}"
    assert "expected xBD label JSON" in reasons[targets(tmp_path, scenes[1])[0].name]
    assert "incomplete" in reasons[targets(tmp_path, scenes[2])[1].name]


def test_split_without_targets_is_refused_with_the_command_that_makes_them(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, [])
    with pytest.raises(InputError, match="found none; write them with: python tools/make_targets.py"):
        check_targets(tmp_path, "tier3")


def test_command_makes_checks_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    scene = write_pair(tmp_path, 1, [(square(5, 5), "minor-damage")])
    where, report = ("--xbd-root", tmp_path, "--splits", "tier3"), tmp_path / "report.json"
    made = run(*where, "--json", report)
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(report.read_bytes())["splits"][0]["painted"] == 2
    tamper(targets(tmp_path, scene)[1], 3, 1)
    before = targets(tmp_path, scene)[1].read_bytes()
    assert run(*where, "--check").returncode == 0
    strict = run(*where, "--check", "--tolerance", 2, "--json", report)
    assert strict.returncode == 1
    assert f"3       damage  tier3/targets/{scene}_post_disaster_target.png" in strict.stdout
    written = json.loads(report.read_bytes())
    assert written["tolerance"] == 2
    assert written["splits"][0]["differences"][0]["pixels"] == written["splits"][0]["worst"] == 3
    assert targets(tmp_path, scene)[1].read_bytes() == before
    (tmp_path / "tier3" / "labels" / f"{scene}_pre_disaster.json").write_text("{")
    assert run(*where, "--overwrite").returncode == 1


@pytest.mark.parametrize(
    "arguments",
    [("--splits", "nowhere"), ("--splits", "tier3", "--tolerance", 3), ("--splits", "tier3", "--workers", 0)],
)
def test_wrong_arguments_exit_with_2_and_write_nothing(tmp_path: Path, arguments: tuple[object, ...]) -> None:
    write_pair(tmp_path, 1, [])
    done = run("--xbd-root", tmp_path, *arguments)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert not (tmp_path / "tier3" / "targets").exists()


@pytest.mark.skipif(not XBD, reason="SKYEYE_XBD_ROOT names no xBD root")
def test_official_targets_of_the_sample_are_identical() -> None:
    results = [check_targets(XBD, split) for split in ("train", "val")]
    assert not any(checked.has_findings() for checked in results), checked_table(results)
    if sum(checked.compared for checked in results) == SAMPLE_TARGETS:
        assert sum(checked.identical for checked in results) == SAMPLE_TARGETS
