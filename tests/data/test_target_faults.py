"""Target images against what the labels paint."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from sound_files import kinds, metadata, write_sound_pair, write_target
from xbd_files import SQUARE, feature, label

from skyeye_det.data.image_faults import target_faults
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.data.xbd import Scene, read_scene

OTHER = "POLYGON ((30 30, 50 30, 50 50, 30 50, 30 30))"


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """Three buildings: destroyed, un-classified, and one of a single pixel."""
    outlines = {"a": SQUARE, "b": OTHER, "c": "POLYGON ((5 5, 5 5, 5 5, 5 5))"}
    subtypes = {"a": "destroyed", "b": "un-classified", "c": "no-damage"}
    pre = label([feature(uid, wkt) for uid, wkt in outlines.items()], **metadata("pre"))
    post = label([feature(uid, wkt, subtypes[uid]) for uid, wkt in outlines.items()], **metadata("post"))
    write_sound_pair(tmp_path, contents=(pre, post))
    ((files,), _) = find_scenes(tmp_path, "train")
    read, _ = read_scene(files)
    assert read is not None
    return read


def compare(root: Path, scene: Scene, time: str, pixels: np.ndarray) -> list[Fault]:
    path = write_target(root, pixels, time)
    return target_faults(scene, root, (path, None) if time == "pre" else (None, path))


def painted(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return scene_targets(scene.buildings, (64, 64))


def test_targets_of_the_labels_have_no_fault(tmp_path: Path, scene: Scene) -> None:
    localization, damage = painted(scene)
    assert compare(tmp_path, scene, "pre", localization) == []
    assert compare(tmp_path, scene, "post", damage) == []
    assert target_faults(scene, tmp_path, (None, None)) == []


def test_building_that_the_target_lacks_is_named(tmp_path: Path, scene: Scene) -> None:
    localization, damage = painted(scene)
    localization[25:, :] = 0
    faults = compare(tmp_path, scene, "pre", localization)
    assert [(fault.kind, fault.uid) for fault in faults] == [
        (FaultKind.NOT_IN_TARGET, "b"),
        (FaultKind.TARGET_DIFFERS, None),
    ]
    damage[:] = 0
    assert [fault.uid for fault in compare(tmp_path, scene, "post", damage)] == ["a", "c", None]


def test_one_pixel_building_is_missed_in_the_target_though_few_pixels_differ(
    tmp_path: Path, scene: Scene
) -> None:
    localization, _ = painted(scene)
    localization[5, 5] = 0
    assert kinds(compare(tmp_path, scene, "pre", localization)) == [FaultKind.NOT_IN_TARGET]


def test_area_without_a_label_is_counted_and_placed(tmp_path: Path, scene: Scene) -> None:
    localization, _ = painted(scene)
    localization[55:60, 2:8] = 1
    localization[55:60, 12:18] = 1
    (fault,) = compare(tmp_path, scene, "pre", localization)
    assert fault.kind is FaultKind.TARGET_DIFFERS
    assert (
        fault.found
        == "60 px that differ, 2 areas without a building in the label, such as at (2, 55), (12, 55)"
    )


def test_other_grade_differs(tmp_path: Path, scene: Scene) -> None:
    _, damage = painted(scene)
    damage[damage == 4] = 2
    (fault,) = compare(tmp_path, scene, "post", damage)
    assert (fault.kind, fault.found) == (FaultKind.TARGET_DIFFERS, "121 px that differ")


def test_fifteen_pixels_may_differ(tmp_path: Path, scene: Scene) -> None:
    localization, _ = painted(scene)
    localization[60, :15] = 1
    assert compare(tmp_path, scene, "pre", localization) == []
    localization[60, :16] = 1
    assert kinds(compare(tmp_path, scene, "pre", localization)) == [FaultKind.TARGET_DIFFERS]


@pytest.mark.parametrize(
    ("time", "pixels", "found"),
    [
        ("pre", np.full((64, 64), 255, np.uint8), "up to 255"),
        ("pre", np.full((64, 64), 2, np.uint8), "up to 2"),
        ("post", np.full((64, 64), 5, np.uint8), "up to 5"),
        ("post", np.zeros((32, 64), np.uint8), "64 x 32 px"),
        ("post", np.zeros((64, 64, 3), np.uint8), "another kind"),
        ("post", np.zeros((64, 64), np.uint16), "uint16 values"),
    ],
)
def test_target_that_no_scorer_takes_is_unusable(
    tmp_path: Path, scene: Scene, time: str, pixels: np.ndarray, found: str
) -> None:
    (fault,) = compare(tmp_path, scene, time, pixels)
    assert fault.kind is FaultKind.UNUSABLE_TARGET
    assert found in fault.found


def test_damaged_target_and_one_of_another_format_are_unusable(tmp_path: Path, scene: Scene) -> None:
    path = write_target(tmp_path, painted(scene)[0], "pre")
    whole = path.read_bytes()
    for content in (b"", whole[:-20], cv2.imencode(".jpg", painted(scene)[0])[1].tobytes()):
        path.write_bytes(content)
        assert kinds(target_faults(scene, tmp_path, (path, None))) == [FaultKind.UNUSABLE_TARGET]
