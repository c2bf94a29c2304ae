"""A whole root: files that are missing, doubled or astray, and scenes among each other."""

import os
from pathlib import Path

import numpy as np
import pytest
from sound_files import SCENE, kinds, labels, write_image, write_sound_pair, write_target
from xbd_files import SQUARE

from skyeye_det.data.coco import convert_split
from skyeye_det.data.dataset_check import DatasetCheck, check_dataset
from skyeye_det.data.validation import Fault, FaultKind, Severity, count_faults
from skyeye_det.errors import InputError
from skyeye_det.sample.dataset import make_sample_xbd

REAL = os.environ.get("SKYEYE_XBD_ROOT", "")
OTHER = "test-flood_00000002"
HOLED = "POLYGON ((10 10, 40 10, 40 40, 10 40, 10 10), (20 20, 30 20, 30 30, 20 30, 20 20))"
PARTS = "MULTIPOLYGON (((1 1, 5 1, 5 5, 1 1)), ((20 20, 25 20, 25 25, 20 20)))"


def check(root: Path, **options: object) -> tuple[Fault, ...]:
    return check_dataset(root, workers=1, **options).faults  # type: ignore[arg-type]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root of two sound pairs, in a folder of its own."""
    for scene in (SCENE, OTHER):
        write_sound_pair(tmp_path / "xbd", scene)
    return tmp_path / "xbd"


def file_of(root: Path, folder: str, name: str) -> Path:
    return root / "train" / folder / name


def test_sample_root_has_no_fault(tmp_path: Path) -> None:
    make_sample_xbd(tmp_path, pairs=4, seed=3, size=128, workers=1)
    found = check_dataset(tmp_path, workers=1)
    assert (found.splits, found.pairs) == (("train", "val"), 4)
    assert found.buildings > 0
    # The generator draws flooded courtyards and cloud-blank tiles: allowed, hence notes.
    assert {fault.kind.severity for fault in found.faults} <= {Severity.NOTE}


def test_sound_root_has_no_fault(root: Path) -> None:
    assert check_dataset(root) == DatasetCheck(root, ("train",), 2, 2, True, ())


@pytest.mark.skipif(
    not (Path(REAL) / "train" / "labels").is_dir() or not REAL, reason="SKYEYE_XBD_ROOT: no root"
)
def test_real_sample_has_its_known_faults() -> None:
    found = check_dataset(REAL, ["train", "val"], decode=False)
    if found.pairs != 135:
        pytest.skip(f"SKYEYE_XBD_ROOT has {found.pairs} pairs, not the whole sample")
    targets = (FaultKind.LONE_TARGET, FaultKind.MISSING_TARGETS)
    counts = {kind: count for kind, count in count_faults(found.faults).items() if kind not in targets}
    assert counts == {FaultKind.CROSSES_ITSELF: 2, FaultKind.BEYOND_IMAGE: 1}


def test_every_fault_of_the_conversion_is_found(root: Path, tmp_path: Path) -> None:
    write_sound_pair(root, contents=labels(wkt="POINT (1 1)", pre={"gsd": "far", "img_name": "../x.png"}))
    write_sound_pair(root, "test-flood_00000003", contents=("{", "{"))
    converted = convert_split(root, "train", tmp_path / "output").faults
    assert len(set(kinds(converted))) >= 4
    assert set(converted) <= set(check(root))


def test_missing_files_of_every_scene_are_named_even_if_no_pair_is_complete(root: Path) -> None:
    file_of(root, "images", f"{SCENE}_pre_disaster.png").unlink()
    file_of(root, "labels", f"{OTHER}_post_disaster.json").unlink()
    faults = check(root)
    assert [(fault.kind, fault.file) for fault in faults] == [
        (FaultKind.INCOMPLETE_PAIR, f"train/images/{SCENE}_pre_disaster"),
        (FaultKind.INCOMPLETE_PAIR, f"train/labels/{OTHER}_post_disaster"),
    ]


def test_empty_split_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "train" / "images").mkdir(parents=True)
    assert kinds(check(tmp_path)) == [FaultKind.INCOMPLETE_PAIR]


@pytest.mark.parametrize("splits", [["val"], [""], ["../xbd"], ["."]])
def test_unknown_split_is_an_input_error(root: Path, splits: list[str]) -> None:
    with pytest.raises(InputError, match="expected the name of a folder"):
        check(root, splits=splits)


def test_root_without_splits_is_an_input_error(tmp_path: Path) -> None:
    for nothing in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="expected an xBD root"):
            check(nothing)


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("images/notes.txt", "no scene"),
        ("images/.DS_Store", "no scene"),
        ("labels/.test-flood_00000001_pre_disaster.json.partial", "no scene"),
        (f"images/{SCENE}_pre_disaster.jpg", "beside"),
        ("images/test_flood.png", "no scene"),
        ("targets/test-flood_00000009_pre_disaster_target.png", "no complete pair"),
        (f"targets/{SCENE}_pre_disaster.png", "no scene"),
    ],
)
def test_stray_file_is_a_note(root: Path, file: str, found: str) -> None:
    path = root / "train" / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    fault = next(fault for fault in check(root) if fault.kind is FaultKind.STRAY_FILE)
    assert (fault.file, fault.kind.severity) == (f"train/{file}", Severity.NOTE)
    assert found in fault.found


def test_folder_in_the_place_of_a_file_is_told_with_the_incomplete_pair(root: Path) -> None:
    path = file_of(root, "labels", f"{SCENE}_pre_disaster.json")
    path.unlink()
    path.mkdir()
    dangling = file_of(root, "images", f"{OTHER}_pre_disaster.png")
    dangling.unlink()
    dangling.symlink_to("nowhere")
    faults = check(root)
    assert kinds(faults) == [FaultKind.INCOMPLETE_PAIR] * 2 + [FaultKind.STRAY_FILE] * 2
    assert [fault.found for fault in faults[2:]] == ["a link to nothing, or no plain file", "a folder"]


@pytest.mark.parametrize("name", ["train/images", "train/targets", "train"])
def test_folder_that_leads_out_of_the_root_is_one_note(root: Path, tmp_path: Path, name: str) -> None:
    write_target(root, np.zeros((64, 64), np.uint8), "pre")
    before = check(root)
    (root / name).rename(tmp_path / "outside")
    (root / name).symlink_to(tmp_path / "outside")
    (fault,) = set(check(root)) - set(before)
    assert (fault.kind, fault.file) == (FaultKind.LINK_OUT_OF_ROOT, name)


def test_one_target_of_two_is_a_warning_and_scenes_without_are_a_note(root: Path) -> None:
    square = np.zeros((64, 64), np.uint8)
    square[10:21, 10:21] = 1
    write_target(root, square, "pre")
    faults = check(root)
    assert kinds(faults) == [FaultKind.LONE_TARGET, FaultKind.MISSING_TARGETS]
    assert "1 of 2" in faults[1].found
    write_target(root, square * 4, "post")
    assert kinds(check(root)) == [FaultKind.MISSING_TARGETS]


def test_targets_under_the_scorers_names_are_no_stray_files(root: Path) -> None:
    (root / "train" / "targets").mkdir()
    file_of(root, "targets", "test_localization_00000_target.png").write_bytes(b"")
    assert check(root) == ()


def test_parts_and_holes_are_notes(root: Path) -> None:
    write_sound_pair(root, contents=labels(wkt=HOLED))
    write_sound_pair(root, OTHER, contents=labels(OTHER, "b", PARTS))
    assert [(fault.kind, fault.uid) for fault in check(root)] == [
        (FaultKind.SEVERAL_PARTS, "b"),
        (FaultKind.HAS_HOLES, "a"),
    ]


def test_uid_in_two_scenes_is_told_once_for_the_two(root: Path) -> None:
    for number in range(3, 12):
        write_sound_pair(root, f"test-flood_{number:08d}")
    write_sound_pair(root, "test-flood_00000011", uid=SCENE)
    (fault,) = check(root)
    assert (fault.kind, fault.uid, fault.scene) == (
        FaultKind.UID_IN_TWO_SCENES,
        SCENE,
        "test-flood_00000011",
    )
    assert f"{SCENE}_pre_disaster.json" in fault.found


def test_scene_in_two_splits_is_an_error_and_its_uids_are_not_told_again(root: Path) -> None:
    write_sound_pair(root, split="val")
    (fault,) = check(root)
    assert (fault.kind, fault.found) == (FaultKind.SCENE_IN_TWO_SPLITS, "it in train too")
    assert check(root, splits=["val", "val"]) == ()


def test_images_and_targets_are_checked_though_the_labels_cannot_be_read(root: Path) -> None:
    write_sound_pair(root, contents=("{", "{"))
    write_image(root, np.zeros((64, 64, 3), np.uint8), "pre")
    assert set(kinds(check(root))) == {FaultKind.UNREADABLE_LABEL, FaultKind.ALL_BLACK}
    assert kinds(check(root, decode=False)) == [FaultKind.UNREADABLE_LABEL] * 2


def test_order_is_severity_kind_file_and_the_same_for_any_number_of_workers(root: Path) -> None:
    for number in range(3, 21):
        scene = f"test-flood_{number:08d}"
        wkt = "POINT (1 1)" if number % 3 else SQUARE.replace("10, 10 10", "10")
        write_sound_pair(root, scene, contents=labels(scene, scene, wkt, pre={"gsd": "far"}))
    one, two = (check_dataset(root, workers=workers) for workers in (1, 2))
    assert one == two
    severities = [fault.kind.severity for fault in one.faults]
    assert severities == sorted(severities, key=list(Severity).index)
    kept = [(fault.kind, fault.file) for fault in one.faults]
    order = list(FaultKind)
    assert kept == sorted(
        kept, key=lambda fault: (list(Severity).index(fault[0].severity), order.index(fault[0]), fault[1])
    )
