from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from xbd_files import SQUARE, feature, label, write_buildings, write_pair

from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import Building
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.data.xbd import Scene, read_scene
from skyeye_det.errors import InputError


def read(root: Path) -> tuple[Scene, list[Fault]]:
    (files,), missing = find_scenes(root, "train")
    scene, faults = read_scene(files)
    assert scene is not None
    return scene, missing + faults


def kinds(faults: list[Fault]) -> list[FaultKind]:
    return [fault.kind for fault in faults]


def read_outline(root: Path, wkt: Any) -> tuple[tuple[Building, ...], list[FaultKind]]:
    """The building of a pre label with ``wkt``, and the faults of that label."""
    write_pair(root, label([feature("a", wkt)]), label([feature("a", SQUARE, "destroyed")]))
    scene, faults = read(root)
    return scene.buildings, kinds(faults)


def test_geometry_is_pre_damage_is_post_joined_by_uid(tmp_path: Path) -> None:
    moved = SQUARE.replace("20", "21")
    pre = [feature("a"), feature("b", moved)]
    post = [feature("b", SQUARE, "minor-damage"), feature("a", moved, "un-classified")]
    write_pair(tmp_path, label(pre), label(post))
    scene, faults = read(tmp_path)
    assert faults == []
    assert [(building.uid, building.damage) for building in scene.buildings] == [("a", -1), ("b", 1)]
    square = [[10, 10], [20, 10], [20, 20], [10, 20]]
    assert scene.buildings[0].parts[0][0].tolist() == square
    assert scene.buildings[1].post_parts[0][0].tolist() == square
    assert scene.buildings[0].parts[0][0].dtype == np.float64


def test_scene_takes_its_name_and_images_from_file_names_not_from_the_label(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"), suffix=".jpg")
    scene, _ = read(tmp_path)
    assert scene.name == "test-flood_00000001"
    assert scene.pre_image == tmp_path / "train/images/test-flood_00000001_pre_disaster.jpg"
    assert (scene.disaster, scene.disaster_type, scene.gsd, scene.width) == (
        "test-flood",
        "flooding",
        1.5,
        64,
    )


def test_metadata_that_says_nothing_falls_back_to_the_scene_name(tmp_path: Path) -> None:
    write_pair(tmp_path, label([], gsd="NaN", disaster=None, disaster_type=""), label([]))
    scene, _ = read(tmp_path)
    assert (scene.disaster, scene.disaster_type, scene.gsd) == ("test-flood", "unknown", None)
    assert scene.buildings == ()


@pytest.mark.parametrize("gone", ["images/{}_post_disaster.png", "labels/{}_post_disaster.json"])
def test_incomplete_pair_is_left_out_and_named(tmp_path: Path, gone: str) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"))
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"), name="test-flood_00000002")
    (tmp_path / "train" / gone.format("test-flood_00000002")).unlink()
    found, faults = find_scenes(tmp_path, "train")
    assert [files.name for files in found] == ["test-flood_00000001"]
    assert kinds(faults) == [FaultKind.INCOMPLETE_PAIR]
    assert gone.format("test-flood_00000002").rpartition(".")[0] in faults[0].file


def test_split_without_a_complete_pair_is_an_input_error(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"))
    (tmp_path / "train/images/test-flood_00000001_pre_disaster.png").unlink()
    with pytest.raises(InputError, match="no complete pair"):
        find_scenes(tmp_path, "train")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "7", '{"features": {}}', '{"features": {"xy": []}}', "[" * 100_000]
)
def test_label_that_is_none_leaves_the_pair_out(tmp_path: Path, content: str) -> None:
    write_pair(tmp_path, label([]), content)
    (files,), _ = find_scenes(tmp_path, "train")
    scene, faults = read_scene(files)
    assert scene is None
    assert kinds(faults) == [FaultKind.UNREADABLE_LABEL]
    assert str(tmp_path) not in faults[0].found


def test_images_of_two_sizes_and_labels_of_another_leave_the_pair_out(tmp_path: Path) -> None:
    write_pair(tmp_path, label([]), label([], size=32), name="a_1")
    write_pair(tmp_path, label([]), label([]), name="b_1")
    cv2.imwrite(str(tmp_path / "train/images/b_1_post_disaster.png"), np.zeros((32, 64, 3), np.uint8))
    write_pair(tmp_path, label([]), label([]), name="c_1")
    (tmp_path / "train/images/c_1_post_disaster.png").write_bytes(b"")
    read_pairs = [read_scene(files) for files in find_scenes(tmp_path, "train")[0]]
    assert [scene for scene, _ in read_pairs] == [None] * 3
    sizes = FaultKind.SIZES_DIFFER
    assert [kinds(faults) for _, faults in read_pairs] == [[sizes], [sizes], [FaultKind.UNREADABLE_IMAGE]]


def test_uid_in_one_file_only(tmp_path: Path) -> None:
    write_pair(tmp_path, label([feature("pre")]), label([feature("post", SQUARE, "destroyed")]))
    scene, faults = read(tmp_path)
    assert [(building.uid, building.damage) for building in scene.buildings] == [("pre", -1)]
    assert kinds(faults) == [FaultKind.ONLY_IN_PRE, FaultKind.ONLY_IN_POST]
    assert faults[1].uid == "post"


def test_first_of_a_repeated_uid_counts(tmp_path: Path) -> None:
    pre = [feature("a"), feature("a", "POLYGON ((1 1, 2 1, 2 2, 1 1))")]
    post = [feature("a", SQUARE, "destroyed"), feature("a", SQUARE, "no-damage")]
    write_pair(tmp_path, label(pre), label(post))
    scene, faults = read(tmp_path)
    assert [(building.damage, building.parts[0][0][0, 0]) for building in scene.buildings] == [(3, 10)]
    assert kinds(faults) == [FaultKind.REPEATED_UID] * 2


def test_features_without_uid_or_of_another_type_are_left_out(tmp_path: Path) -> None:
    odd: list[Any] = [None, {"wkt": SQUARE}, feature(""), feature("road", feature_type="road")]
    write_pair(tmp_path, label(odd), label([]))
    scene, faults = read(tmp_path)
    assert scene.buildings == ()
    assert kinds(faults) == [FaultKind.NO_UID] * 3 + [FaultKind.NOT_A_BUILDING]


def test_missing_and_unknown_subtype_become_unclassified(tmp_path: Path) -> None:
    post = [feature("a"), feature("b", SQUARE, "wrecked"), feature("c", SQUARE, subtype=None) | {}]
    post[2]["properties"]["subtype"] = ["no-damage"]
    write_pair(tmp_path, label([feature(uid) for uid in "abc"]), label(post))
    scene, faults = read(tmp_path)
    assert [building.damage for building in scene.buildings] == [-1, -1, -1]
    assert kinds(faults) == [FaultKind.MISSING_SUBTYPE] + [FaultKind.UNKNOWN_SUBTYPE] * 2
    assert "wrecked" in str(faults[1])


def test_unusable_post_outline_leaves_damage_and_pre_geometry(tmp_path: Path) -> None:
    write_pair(tmp_path, label([feature("a")]), label([feature("a", "POINT (1 1)", "destroyed")]))
    scene, faults = read(tmp_path)
    assert (scene.buildings[0].damage, scene.buildings[0].post_parts) == (3, ())
    assert kinds(faults) == [FaultKind.UNUSABLE_OUTLINE]
