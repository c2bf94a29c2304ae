import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from command_runs import run

from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import (
    encode_class_png,
    number_scenes,
    write_numbering,
    write_submission_pngs,
)
from skyeye_det.xview2.submission_check import (
    check_submission,
    expected_from_images,
    expected_tiles,
    format_check,
)

SIZE = (30, 40)
PLANE = np.zeros(SIZE, np.uint8)
PLANE[3:9, 4:20] = 1


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    """Two whole anonymous tiles of 40 x 30 px."""
    for tile in ("test_00000", "test_00001"):
        write_submission_pngs(tmp_path / "submission", tile, PLANE, PLANE * 3)
    return tmp_path / "submission"


def kinds(folder: Path, tiles: int | None = 2) -> list[tuple[str, str]]:
    check = check_submission(folder, None if tiles is None else expected_tiles(tiles), SIZE)
    return [(finding.kind, finding.file) for finding in check.findings]


def test_whole_submission_has_no_findings(submission: Path) -> None:
    check = check_submission(submission, expected_tiles(2), SIZE)
    assert (check.tiles, check.findings, check.notes) == (2, [], [])
    (submission / "instances").mkdir()
    (submission / "instances.json").write_text("[]")
    assert kinds(submission, tiles=None) == []


def test_missing_files_are_listed_one_by_one(submission: Path) -> None:
    assert kinds(submission, tiles=3) == [
        ("missing", "test_damage_00002_prediction.png"),
        ("missing", "test_localization_00002_prediction.png"),
    ]


def test_half_a_tile_is_missing_even_where_nothing_is_expected(submission: Path) -> None:
    (submission / "test_damage_00001_prediction.png").unlink()
    assert kinds(submission, tiles=None) == [("missing", "test_damage_00001_prediction.png")]


@pytest.mark.parametrize(
    "name", ["test_localisation_00000_prediction.png", "loc.PNG", "test_damage_00002_prediction.png"]
)
def test_misnamed_and_unexpected_pngs_are_found(submission: Path, name: str) -> None:
    (submission / name).write_bytes(encode_class_png(PLANE))
    assert kinds(submission) == [("misnamed", name)]


def test_size_type_and_values_are_looked_at(submission: Path) -> None:
    names = sorted(path.name for path in submission.iterdir())
    contents = (
        encode_class_png(np.zeros((40, 30), np.uint8)),
        cv2.imencode(".png", np.zeros((*SIZE, 3), np.uint8))[1].tobytes(),
        encode_class_png(PLANE * 255),
        b"GIF89a",
    )
    for name, content in zip(names, contents, strict=True):
        (submission / name).write_bytes(content)
    check = check_submission(submission, expected_tiles(2), SIZE)
    assert {finding.file: (finding.kind, finding.detail) for finding in check.findings} == {
        names[0]: ("mis-sized", "expected 40 x 30 px, found 30 x 40"),
        names[1]: ("mis-typed", "expected 8-bit gray, found 8-bit RGB"),
        names[2]: ("mis-valued", "expected 0..4, found 255"),
        names[3]: ("unreadable", "expected a PNG, found 6 bytes of something else"),
    }


def test_what_a_scorer_takes_is_only_a_note(submission: Path) -> None:
    write_submission_pngs(submission, "test_00000", PLANE, np.ones(SIZE, np.uint8))
    (submission / "test_localization_00001_prediction.png").write_bytes(encode_class_png(PLANE * 4))
    (submission / ".test_damage_00002_prediction.png.partial").touch()
    check = check_submission(submission, expected_tiles(2), SIZE)
    assert check.findings == []
    assert [note.detail for note in check.notes] == [
        "left by a run that was killed",
        f"{PLANE.size - PLANE.sum()} px of damage outside localization do not count",
        "values up to 4; every one above 0 counts as building",
    ]


def write_images(folder: Path, *scenes: str) -> Path:
    folder.mkdir(parents=True)
    for scene in scenes:
        for phase in ("pre", "post"):
            (folder / f"{scene}_{phase}_disaster.png").write_bytes(encode_class_png(PLANE))
    return folder


def test_expectation_comes_from_the_images_with_their_size(tmp_path: Path) -> None:
    write_images(tmp_path / "xbd" / "val" / "images", "a_00000001", "b_00000002")
    write_images(tmp_path / "xbd" / "train" / "images", "c_00000003")
    assert expected_from_images(tmp_path / "xbd", ["val"]) == {"a_00000001": SIZE, "b_00000002": SIZE}
    assert len(expected_from_images(tmp_path / "xbd")) == 3
    with pytest.raises(InputError, match="expected pairs in the splits tier3, found none"):
        expected_from_images(tmp_path / "xbd", ["tier3"])


def test_numbered_submission_is_checked_by_its_table(tmp_path: Path) -> None:
    expected = expected_from_images(write_images(tmp_path / "images", "a_00000001", "b_00000002"))
    write_numbering(tmp_path / "submission", number_scenes(expected))
    write_submission_pngs(tmp_path / "submission", "test_00000", PLANE, PLANE)
    check = check_submission(tmp_path / "submission", expected)
    assert [finding.file for finding in check.findings] == [
        "test_damage_00001_prediction.png",
        "test_localization_00001_prediction.png",
    ]


def test_long_lists_are_cut_and_counted(tmp_path: Path) -> None:
    lines = format_check(check_submission(tmp_path, expected_tiles(100))).splitlines()
    assert len(lines) == 52
    assert lines[-2:] == ["... and 150 more; --json writes them all", "100 tiles, 200 findings, 0 notes"]


def test_command_exits_0_without_and_1_with_findings(submission: Path, tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    for phase in ("pre", "post"):
        for tile in ("00000", "00001"):
            (images / f"test_{phase}_{tile}.png").write_bytes(encode_class_png(PLANE))
    done = run("check_submission", submission, "--images", images)
    assert (done.returncode, done.stdout) == (0, "2 tiles, 0 findings, 0 notes\n")
    done = run("check_submission", submission, "--tiles", 2, "--json", tmp_path / "check.json")
    assert done.returncode == 1
    assert "mis-sized   test_damage_00000_prediction.png" in done.stdout
    assert len(json.loads((tmp_path / "check.json").read_text())["findings"]) == 4
