"""The command: its exit codes, its table, its JSON, and names that no terminal can show."""

import json
import os
from pathlib import Path

import pytest
from command_runs import run
from sound_files import SCENE, labels, write_sound_pair

from skyeye_det.data.dataset_check import check_dataset, check_json, check_table, exit_code
from skyeye_det.data.validation import Fault, FaultKind, Severity, printable

REPOSITORY = Path(__file__).resolve().parents[2]


def damaged(root: Path, severity: Severity | None) -> Path:
    """A root whose worst fault is of this severity."""
    write_sound_pair(root)
    if severity is not None:
        (root / "train" / "images" / "notes.txt").write_text("")
    if severity in (Severity.WARNING, Severity.ERROR):
        write_sound_pair(root, contents=labels(pre={"gsd": "far"}))
    if severity is Severity.ERROR:
        write_sound_pair(root, "test-flood_00000002", contents=("{", "{"))
    return root


def write_pair_of_bytes(root: Path, scene: bytes) -> None:
    """Gives a copy of the sound pair a name of any bytes, which OpenCV itself could not write."""
    for path in (root / "train").glob(f"*/{SCENE}*"):
        name = os.fsencode(path.name).replace(SCENE.encode(), scene)
        path.with_name(os.fsdecode(name)).write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("severity", "code"), [(None, 0), (Severity.NOTE, 0), (Severity.WARNING, 1), (Severity.ERROR, 3)]
)
def test_exit_code_is_that_of_the_worst_fault(tmp_path: Path, severity: Severity | None, code: int) -> None:
    assert exit_code(check_dataset(damaged(tmp_path, severity), workers=1)) == code


def test_command_prints_the_table_and_writes_all_faults(tmp_path: Path) -> None:
    root = damaged(tmp_path / "xbd", Severity.ERROR)
    done = run(
        "check_dataset", "--xbd-root", root, "--json", tmp_path / "faults.json", "--limit", 1, "--workers", 1
    )
    assert (done.returncode, done.stderr) == (3, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "train: 2 pairs, 1 building, 2 errors, 1 warning, 1 note"
    assert ["error", "2", "unreadable-label", "the pair is left out"] in [
        line.split(maxsplit=3) for line in lines
    ]
    assert lines[-2].startswith(
        "error: train/labels/test-flood_00000002_post_disaster.json: expected xBD label"
    )
    assert lines[-1] == "... and 3 more; --json writes them all"
    content = json.loads((tmp_path / "faults.json").read_bytes())
    assert (content["version"], content["splits"], content["exit_code"]) == (1, ["train"], 3)
    assert content["severities"] == {"error": 2, "warning": 1, "note": 1}
    assert content["counts"]["unreadable-label"]["count"] == 2
    assert [fault["severity"] for fault in content["faults"]] == ["error", "error", "warning", "note"]


def test_headers_alone_say_so(tmp_path: Path) -> None:
    check = check_dataset(damaged(tmp_path, None), decode=False)
    assert "headers only" in check_table(check)
    assert check_json(check)["images"] == "headers"


def test_names_that_are_no_text_are_escaped_and_leave_the_pair_out(tmp_path: Path) -> None:
    root = tmp_path / "xbd"
    write_sound_pair(root)
    for bad in (b"test-fl\xff\xfeood_00000003", b"test\nflood_00000003", b"te\x1b[31mst_00000003"):
        write_pair_of_bytes(root, bad)
    done = run("check_dataset", "--xbd-root", root, "--json", tmp_path / "faults.json")
    assert (done.returncode, done.stderr) == (3, "")
    assert done.stdout.count("bad-name") == 1
    faults = json.loads((tmp_path / "faults.json").read_bytes())["faults"]
    assert [fault["kind"] for fault in faults] == ["bad-name"] * 12
    assert all(fault["file"].isprintable() for fault in faults)
    assert "\x1b" not in done.stdout


def test_conversion_leaves_pairs_of_bad_names_out_and_writes_the_rest(tmp_path: Path) -> None:
    write_sound_pair(tmp_path)
    write_pair_of_bytes(tmp_path, b"test-fl\xffood_00000003")
    done = run("convert_xbd_to_coco", "--xbd-root", tmp_path, "--splits", "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert "bad-name" in done.stdout
    assert len(json.loads((tmp_path / "annotations" / "xbd_train.json").read_bytes())["images"]) == 1


def test_printable_text_is_one_line_of_utf8() -> None:
    odd = "a\nb\udcff\u2028\x1b c"
    assert printable(odd) == "a\\nb\\udcff\\u2028\\x1b c"
    assert printable("São Paulo, 100 %") == "São Paulo, 100 %"
    fault = Fault(FaultKind.NO_UID, odd, odd, odd, odd)
    for text in (str(fault), *map(str, fault.as_json().values())):
        assert text.isprintable()
        text.encode()


def test_documentation_states_the_exit_codes() -> None:
    text = (REPOSITORY / "datasets" / "README.md").read_text()
    for severity, code in ((Severity.ERROR, 3), (Severity.WARNING, 1), (Severity.NOTE, 0)):
        row = next(line for line in text.splitlines() if line.startswith(f"| {severity.value} |"))
        assert row.endswith(f"| {code} |")
