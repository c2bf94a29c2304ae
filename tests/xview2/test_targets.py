import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from target_files import SIDE, square, targets, write_pair

from skyeye_det.commands.make_targets import made_table
from skyeye_det.data.targets import fill_polygons
from skyeye_det.data.validation import FaultKind
from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import encode_class_png, read_class_png
from skyeye_det.xview2.targets import make_targets

ROOT = Path(__file__).resolve().parents[2]


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


def test_any_number_of_workers_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in range(10):
        write_pair(tmp_path, number, [(square(number, 2 * number), "no-damage")])
    make_targets(tmp_path, "tier3", workers=1)
    before = contents(tmp_path / "tier3" / "targets")
    make_targets(tmp_path, "tier3", workers=2, overwrite=True)
    assert contents(tmp_path / "tier3" / "targets") == before
    assert len(before) == 20


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


def test_killed_run_leaves_whole_files_and_is_taken_up(tmp_path: Path) -> None:
    for number in range(4):
        write_pair(tmp_path, number, [(square(4 * number, 5), "destroyed")])
    make_targets(tmp_path, "tier3")
    folder = tmp_path / "tier3" / "targets"
    whole = contents(folder)
    for path in folder.iterdir():
        path.unlink()
    dying = (
        "import os, signal\nfrom pathlib import Path\n"
        "from skyeye_det.xview2.targets import make_targets\n"
        "replaced, replace = [], Path.replace\n"
        "def dying(old, new):\n"
        "    if len(replaced) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    replaced.append(new); replace(old, new)\n"
        "Path.replace = dying\n"
        f"make_targets({str(tmp_path)!r}, 'tier3')\n"
    )
    killed = subprocess.run([sys.executable, "-c", dying], cwd=ROOT, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    left = {name: content for name, content in contents(folder).items() if name.endswith(".png")}
    assert len(left) == 3
    assert left.items() <= whole.items()
    made = make_targets(tmp_path, "tier3")
    assert (made.painted, made.kept) == (5, 3)
    assert contents(folder) == whole


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
