import json
from pathlib import Path

import numpy as np
import pytest
from command_runs import run
from small_xbd import square
from small_xbd import write_pair as write_named_pair

from skyeye_det.commands.make_targets import checked_table, made_table
from skyeye_det.data.targets import fill_polygons
from skyeye_det.data.validation import FaultKind
from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import encode_class_png, read_class_png
from skyeye_det.xview2.targets import TargetsChecked, check_targets, make_targets

SIDE = 48


def write_pair(root: Path, number: int, buildings: list, split: str = "tier3", shift: float = 0) -> str:
    return write_named_pair(root, split, f"test-flood_{number:08d}", buildings, (SIDE, SIDE), shift)


def targets(root: Path, scene: str, split: str = "tier3") -> tuple[Path, Path]:
    folder = root / split / "targets"
    return folder / f"{scene}_pre_disaster_target.png", folder / f"{scene}_post_disaster_target.png"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_both_images_are_painted_by_the_official_rule_from_their_own_labels(tmp_path: Path) -> None:
    outlines = [square(2.5, 3), square(20, 20), square(44, 30)]
    grades = ["destroyed", "un-classified", "no-damage"]
    scene = write_pair(tmp_path, 1, list(zip(outlines, grades, strict=True)), shift=2)
    made = make_targets(tmp_path, "tier3")
    assert (made.pairs, made.painted, made.kept, made.left_out) == (1, 2, 0, ())
    localization, damage = map(read_class_png, targets(tmp_path, scene))
    expected = np.zeros((2, SIDE, SIDE), np.uint8)
    for outline, value in zip(outlines, (4, 0, 1), strict=True):
        fill_polygons(((np.array(outline),),), (SIDE, SIDE), expected[0])
        fill_polygons(((np.array(outline) + np.array([2, 0]),),), (SIDE, SIDE), expected[1], value)
    np.testing.assert_array_equal(localization, expected[0])
    np.testing.assert_array_equal(damage, expected[1])
    assert localization[24, 24] == 1
    assert damage[24, 24] == 0


def test_official_target_is_kept_and_only_its_partner_painted(tmp_path: Path) -> None:
    scene = write_pair(tmp_path, 1, [(square(5, 5), "destroyed")])
    localization, damage = targets(tmp_path, scene)
    localization.parent.mkdir()
    localization.write_bytes(official := encode_class_png(np.full((SIDE, SIDE), 1, np.uint8)))
    made = make_targets(tmp_path, "tier3")
    assert (made.painted, made.kept) == (1, 1)
    assert localization.read_bytes() == official
    assert read_class_png(damage).max() == 4
    assert make_targets(tmp_path, "tier3").kept == 2
    again = make_targets(tmp_path, "tier3", overwrite=True)
    assert (again.painted, again.kept) == (2, 0)
    assert read_class_png(localization).sum() == 81


def test_pair_that_a_fault_leaves_out_gets_no_targets_and_is_a_finding(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, [(square(5, 5), "destroyed")])
    unreadable = write_pair(tmp_path, 2, [(square(5, 5), None)])
    (tmp_path / "tier3" / "labels" / f"{unreadable}_pre_disaster.json").write_text("{")
    incomplete = write_pair(tmp_path, 3, [])
    (tmp_path / "tier3" / "images" / f"{incomplete}_post_disaster.png").unlink()
    made = make_targets(tmp_path, "tier3")
    kinds = [(fault.scene, fault.kind) for fault in made.left_out]
    assert kinds == [(unreadable, FaultKind.UNREADABLE_LABEL), (incomplete, FaultKind.INCOMPLETE_PAIR)]
    assert made.painted == len(contents(tmp_path / "tier3" / "targets")) == 2
    table = made_table([made])
    assert f"tier3/labels/{unreadable}_pre_disaster.json: expected xBD label JSON" in table
    assert f"{incomplete}_post_disaster" in table


def test_faults_of_buildings_are_mended_by_their_rule_and_counted(tmp_path: Path) -> None:
    scene = write_pair(tmp_path, 1, [(square(5, 5), None), (square(30, 5), "destroyed")])
    made = make_targets(tmp_path, "tier3")
    assert (made.left_out, made.mended) == ((), {FaultKind.MISSING_SUBTYPE.value: 1})
    localization, damage = map(read_class_png, targets(tmp_path, scene))
    assert (localization[9, 9], damage[9, 9], damage[9, 34]) == (1, 0, 4)


def test_scorer_gets_the_official_names_with_official_images_copied(tmp_path: Path) -> None:
    scenes = [write_pair(tmp_path, number, [(square(5, 5), "destroyed")], "test") for number in (7, 3)]
    first = targets(tmp_path, sorted(scenes)[0], "test")
    first[0].parent.mkdir()
    first[0].write_bytes(official := encode_class_png(np.full((SIDE, SIDE), 1, np.uint8)))
    folder = tmp_path / "scorer"
    made = make_targets(tmp_path, "test", scorer_folder=folder)
    assert (made.painted, made.copied, made.kept) == (3, 1, 0)
    found = contents(folder)
    assert found["test_localization_00000_target.png"] == official
    assert sorted(found) == [
        "numbering.csv",
        *(f"test_{kind}_{n:05d}_target.png" for kind in ("damage", "localization") for n in (0, 1)),
    ]
    assert (
        found["numbering.csv"].decode() == f"tile,scene\ntest_00000,{min(scenes)}\ntest_00001,{max(scenes)}\n"
    )
    assert list((tmp_path / "test" / "targets").iterdir()) == [first[0]]
    assert make_targets(tmp_path, "test", scorer_folder=folder).kept == 4


def test_scorer_folder_refuses_other_tiles_and_incomplete_pairs(tmp_path: Path) -> None:
    write_pair(tmp_path, 1, [], "test")
    write_pair(tmp_path, 2, [], "hold")
    make_targets(tmp_path, "hold", scorer_folder=tmp_path / "scorer")
    assert (tmp_path / "scorer" / "hold_damage_00000_target.png").exists()
    with pytest.raises(InputError, match="found those of other tiles; name another folder"):
        make_targets(tmp_path, "test", scorer_folder=tmp_path / "scorer")
    scene = write_pair(tmp_path, 3, [], "test")
    (tmp_path / "test" / "labels" / f"{scene}_pre_disaster.json").unlink()
    with pytest.raises(InputError, match="the scorer needs every tile"):
        make_targets(tmp_path, "test", scorer_folder=tmp_path / "other")


def test_any_number_of_workers_gives_the_same_bytes_and_takes_up_what_is_there(tmp_path: Path) -> None:
    for number in range(10):
        write_pair(tmp_path, number, [(square(number, 2 * number), "no-damage")])
    make_targets(tmp_path, "tier3", workers=1)
    folder = tmp_path / "tier3" / "targets"
    before = contents(folder)
    for path in list(folder.iterdir())[:5]:
        path.unlink()
    made = make_targets(tmp_path, "tier3", workers=2)
    assert (made.painted, made.kept, contents(folder) == before) == (5, 15, True)
    checked = check_targets(tmp_path, "tier3")
    assert checked == TargetsChecked("tier3", compared=20, absent=0, differences=())
    assert (checked.identical, checked.worst, checked.has_findings(0)) == (20, 0, False)


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


def test_command_makes_checks_and_tells_by_its_exit_code(tmp_path: Path) -> None:
    scene = write_pair(tmp_path, 1, [(square(5, 5), "minor-damage")])
    where, report = ("--xbd-root", tmp_path, "--splits", "tier3"), tmp_path / "report.json"
    made = run("make_targets", *where, "--json", report)
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(report.read_bytes())["splits"][0]["painted"] == 2
    tamper(targets(tmp_path, scene)[1], 3, 1)
    before = targets(tmp_path, scene)[1].read_bytes()
    assert run("make_targets", *where, "--check").returncode == 0
    strict = run("make_targets", *where, "--check", "--tolerance", 2, "--json", report)
    assert strict.returncode == 1
    assert f"3       damage  tier3/targets/{scene}_post_disaster_target.png" in strict.stdout
    written = json.loads(report.read_bytes())
    assert written["tolerance"] == 2
    assert written["splits"][0]["differences"][0]["pixels"] == written["splits"][0]["worst"] == 3
    assert targets(tmp_path, scene)[1].read_bytes() == before
    (tmp_path / "tier3" / "labels" / f"{scene}_pre_disaster.json").write_text("{")
    assert run("make_targets", *where, "--overwrite").returncode == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--splits nowhere", "error: "),
        ("--splits tier3 --tolerance 3", "goes with --check"),
        ("--splits tier3 --workers 0", "expected 1 or more"),
        ("--splits tier3 --check", "found none; write them with: python tools/make_targets.py"),
    ],
)
def test_wrong_arguments_exit_with_2_and_write_nothing(tmp_path: Path, words: str, message: str) -> None:
    write_pair(tmp_path, 1, [])
    done = run("make_targets", "--xbd-root", tmp_path, *words.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "tier3" / "targets").exists()
