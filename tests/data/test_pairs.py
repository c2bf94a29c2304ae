from pathlib import Path

import pytest

from skyeye_det.data.pairs import ImagePair, anonymous_id, image_id, scene_event
from skyeye_det.data.pairs import find_pairs as pairs_and_halves
from skyeye_det.errors import InputError


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def pair(scene: str, suffix: str = ".png") -> tuple[str, str]:
    return f"{scene}_pre_disaster{suffix}", f"{scene}_post_disaster{suffix}"


def find_pairs(folder: Path) -> list[ImagePair]:
    return pairs_and_halves(folder)[0]


def test_xbd_root_gives_every_split_sorted_by_scene(tmp_path: Path) -> None:
    touch(tmp_path / "val" / "images", *pair("b-flood_00000001"))
    touch(tmp_path / "train" / "images", *pair("c-fire_00000002"), *pair("a-quake_00000003"))
    touch(tmp_path / "annotations", "xbd_train.json")
    found = find_pairs(tmp_path)
    assert [(p.name, p.split) for p in found] == [
        ("a-quake_00000003", "train"),
        ("b-flood_00000001", "val"),
        ("c-fire_00000002", "train"),
    ]
    assert found[1].pre == tmp_path / "val" / "images" / "b-flood_00000001_pre_disaster.png"
    assert found[1].post.name == "b-flood_00000001_post_disaster.png"


def test_split_folder_and_its_images_folder_know_the_split(tmp_path: Path) -> None:
    images = touch(tmp_path / "test" / "images", *pair("a_00000001"))
    assert [p.split for p in find_pairs(tmp_path / "test")] == ["test"]
    assert [p.split for p in find_pairs(images)] == ["test"]


def test_flat_folder_has_no_split(tmp_path: Path) -> None:
    touch(tmp_path, *pair("a_00000001"))
    assert find_pairs(tmp_path)[0].split is None


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".tif", ".tiff"])
def test_image_suffixes_are_taken(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, *pair("a_00000001", suffix))
    assert find_pairs(tmp_path)[0].post.suffix == suffix


def test_png_comes_before_other_copies_of_the_same_image(tmp_path: Path) -> None:
    touch(tmp_path, *pair("a_00000001", ".tif"), *pair("a_00000001", ".png"))
    assert [p.pre.suffix for p in find_pairs(tmp_path)] == [".png"]


def test_anonymous_pairs_keep_their_id(tmp_path: Path) -> None:
    touch(tmp_path, "test_pre_00007.png", "test_post_00007.png", "hold_pre_00007.png", "hold_post_00007.png")
    assert [(p.name, p.post.name) for p in find_pairs(tmp_path)] == [
        ("hold_00007", "hold_post_00007.png"),
        ("test_00007", "test_post_00007.png"),
    ]


def test_targets_hidden_files_and_strangers_are_passed_over(tmp_path: Path) -> None:
    touch(
        tmp_path,
        *pair("a_00000001"),
        "a_00000001_pre_disaster_target.png",
        "._b_00000002_pre_disaster.png",
        ".c_00000003_pre_disaster.png.partial",
        "a_00000001_pre_disaster.json",
        "test_pre_7.png",
        "notes.png",
    )
    (tmp_path / "d_00000004_pre_disaster.png").mkdir()
    assert [p.name for p in find_pairs(tmp_path)] == ["a_00000001"]


def test_image_without_its_partner_is_named(tmp_path: Path) -> None:
    touch(tmp_path, *pair("a_00000001"), "b_00000002_pre_disaster.png", "c_00000003_post_disaster.png")
    pairs, halves = pairs_and_halves(tmp_path)
    assert [pair.name for pair in pairs] == ["a_00000001"]
    assert halves == {
        "b_00000002": "b_00000002_pre_disaster.png without its post",
        "c_00000003": "c_00000003_post_disaster.png without its pre",
    }


def test_scene_in_two_splits_names_both_files(tmp_path: Path) -> None:
    for split in ("train", "val"):
        touch(tmp_path / split / "images", *pair("a_00000001"))
    with pytest.raises(InputError, match=r"a_00000001 is there twice, as train/images/.* and val/images/"):
        find_pairs(tmp_path)
    assert len(find_pairs(tmp_path / "val")) == 1


def test_folder_without_pairs_says_what_was_looked_for(tmp_path: Path) -> None:
    touch(tmp_path, "photo.png")
    with pytest.raises(InputError, match=r"no image pairs; looked for \*_pre_disaster and test_pre_00000"):
        find_pairs(tmp_path)


def test_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of images"):
        find_pairs(tmp_path / "none")


@pytest.mark.parametrize(
    ("scene", "event"),
    [
        ("santa-rosa-wildfire_00000001", "santa-rosa-wildfire"),
        ("my_own_event_12345678", "my_own_event"),
        ("test_00000", "anonymous"),
        ("hold_00931", "anonymous"),
        ("test_00000001", "test"),
        ("my-roof", "my-roof"),
    ],
)
def test_event_is_the_name_without_the_eight_digits(scene: str, event: str) -> None:
    assert scene_event(scene) == event


def test_only_five_digits_make_an_anonymous_scene() -> None:
    assert anonymous_id("test_00012") == ("test", "00012")
    assert anonymous_id("test_0001") is None
    assert anonymous_id("palu-tsunami_00012") is None


def test_image_id_is_the_same_everywhere() -> None:
    assert image_id("hurricane-harvey_00000015") == 247597867052845
