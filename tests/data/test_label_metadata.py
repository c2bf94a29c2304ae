"""What two labels tell of each other, as the conversion and the check both see it."""

from pathlib import Path
from typing import Any

import pytest
from sound_files import DATES, SCENE, kinds, kinds_in_conversion, labels, metadata, write_sound_pair
from xbd_files import SQUARE, feature, label

from skyeye_det.data.label_file import LabelFile, label_pair_faults, read_label
from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError


def pair(root: Path, *contents: Any) -> tuple[SceneFiles, LabelFile, LabelFile]:
    write_sound_pair(root, contents=contents or None)
    ((files,), _) = find_scenes(root, "train")
    read = [read_label(path) for path in (files.pre_label, files.post_label)]
    pre, post = (found[0] for found in read if not isinstance(found, InputError))
    return files, pre, post


def faults_of(root: Path, *contents: Any) -> list[Fault]:
    return label_pair_faults(*pair(root, *contents))


def test_sound_pair_has_no_fault(tmp_path: Path) -> None:
    assert faults_of(tmp_path) == []
    assert kinds_in_conversion(tmp_path) == (True, [])


def test_pair_without_buildings_and_hardly_any_metadata_has_no_fault(tmp_path: Path) -> None:
    empty = {"features": {"xy": []}, "metadata": {}}
    assert faults_of(tmp_path, empty, empty) == []


@pytest.mark.parametrize(
    ("pre", "post"),
    [
        (label([feature("a", SQUARE, "destroyed")]), label([feature("a")])),
        (
            label([feature("a")], **metadata("post")),
            label([feature("a", SQUARE, "destroyed")], **metadata("pre")),
        ),
    ],
    ids=["subtypes in the pre label", "img_name of each other"],
)
def test_swapped_labels_leave_the_pair_out(tmp_path: Path, pre: Any, post: Any) -> None:
    for content in (pre, post):
        content["metadata"].pop("capture_date", None)
    faults = faults_of(tmp_path, pre, post)
    assert FaultKind.SWAPPED_LABELS in kinds(faults)
    kept, found = kinds_in_conversion(tmp_path)
    assert not kept
    assert FaultKind.SWAPPED_LABELS in found
    assert FaultKind.MISSING_SUBTYPE not in found


def test_pre_label_with_subtypes_beside_an_empty_post_label_is_not_swapped(tmp_path: Path) -> None:
    assert faults_of(tmp_path, label([feature("a", SQUARE, "destroyed")]), label([])) == []


def test_identical_labels_are_kept_and_told(tmp_path: Path) -> None:
    same = label([feature("a", SQUARE, "destroyed")], **metadata("post"))
    found = kinds(faults_of(tmp_path, same, same))
    assert found == [FaultKind.IMG_NAME_ELSEWHERE, FaultKind.IDENTICAL_LABELS]
    assert kinds_in_conversion(tmp_path) == (True, found)


def test_reversed_dates_are_kept_and_told_and_one_day_is_no_fault(tmp_path: Path) -> None:
    turned = labels(pre={"capture_date": DATES["post"]}, post={"capture_date": DATES["pre"]})
    (fault,) = faults_of(tmp_path, *turned)
    assert fault.kind is FaultKind.DATES_REVERSED
    assert "2018-06-22" in fault.found
    assert kinds_in_conversion(tmp_path) == (True, [FaultKind.DATES_REVERSED])
    morning = labels(pre={"capture_date": DATES["post"]}, post={"capture_date": "2018-06-22T01:00:00Z"})
    assert faults_of(tmp_path, *morning) == []


@pytest.mark.parametrize(
    "name",
    [
        "../../outside/other_00000009_pre_disaster.png",
        "/etc/passwd",
        "C:\\images\\test-flood_00000001_pre_disaster.png",
        "test-flood_00000002_pre_disaster.png",
        f"{SCENE}_post_disaster.png",
        "",
        "a" * 10_000,
    ],
)
def test_img_name_that_points_elsewhere_is_told_and_not_followed(tmp_path: Path, name: str) -> None:
    (fault,) = faults_of(tmp_path, *labels(pre={"img_name": name}))
    assert fault.kind is FaultKind.IMG_NAME_ELSEWHERE
    assert fault.file == f"train/labels/{SCENE}_pre_disaster.json"
    assert ("out of the images folder" in fault.found) == ("/" in name or "\\" in name)
    assert len(fault.found) < 120
    assert kinds_in_conversion(tmp_path) == (True, [FaultKind.IMG_NAME_ELSEWHERE])


def test_img_name_of_another_format_is_no_fault(tmp_path: Path) -> None:
    assert faults_of(tmp_path, *labels(pre={"img_name": f"{SCENE}_pre_disaster.tif"})) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("disaster", 7),
        ("gsd", "1.5"),
        ("gsd", -1),
        ("width", "64"),
        ("capture_date", 20180205),
        ("capture_date", "yesterday"),
    ],
)
def test_metadata_of_a_wrong_type_counts_as_absent(tmp_path: Path, field: str, value: Any) -> None:
    (fault,) = faults_of(tmp_path, *labels(pre={field: value}))
    assert fault.kind is FaultKind.WRONG_METADATA
    assert field in fault.found
    assert kinds_in_conversion(tmp_path) == (True, [FaultKind.WRONG_METADATA])


def test_metadata_that_is_null_or_absent_is_no_fault(tmp_path: Path) -> None:
    nothing = dict.fromkeys(
        ["disaster", "disaster_type", "gsd", "width", "height", "capture_date", "img_name"]
    )
    assert faults_of(tmp_path, *labels(pre=nothing)) == []


@pytest.mark.parametrize("name", ["images/{}_post_disaster.png", "labels/{}_pre_disaster.json"])
def test_link_that_leads_out_of_the_root_is_told(tmp_path: Path, name: str) -> None:
    root = tmp_path / "xbd"
    write_sound_pair(root)
    file = root / "train" / name.format(SCENE)
    file.rename(tmp_path / "outside")
    file.symlink_to(tmp_path / "outside")
    kept, found = kinds_in_conversion(root)
    assert (kept, found) == (True, [FaultKind.LINK_OUT_OF_ROOT])


def test_link_inside_a_root_that_is_itself_a_link_is_no_fault(tmp_path: Path) -> None:
    write_sound_pair(tmp_path / "xbd")
    label_file = tmp_path / "xbd" / "train" / "labels" / f"{SCENE}_pre_disaster.json"
    label_file.rename(label_file.with_name("kept.txt"))
    label_file.symlink_to("kept.txt")
    (tmp_path / "link").symlink_to(tmp_path / "xbd")
    assert kinds_in_conversion(tmp_path / "link") == (True, [])
