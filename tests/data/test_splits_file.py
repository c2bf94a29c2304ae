"""The split file: written, read back, and refused where it is not as it should be."""

import json
from pathlib import Path
from typing import Any

import pytest
from ground_tiles import write_tile

from skyeye_det.data.ground import tile_key
from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.split_file import Split, check_tiles, read_split, split_file_path, write_split
from skyeye_det.errors import InputError

SPLIT = Split(
    name="event",
    folders=("train", "tier3"),
    made={"split_by": "random", "seed": 0, "fractions": {"a": 0.5, "b": 0.5}},
    parts={"a": ("tier3/x_00000001", "train/y_00000001"), "b": ("train/y_00000002",)},
    folds={"a": ("a",)},
    counts={"a": {"tiles": 2}, "b": {"tiles": 1}},
)


def written(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    path = split_file_path(tmp_path, SPLIT.name)
    write_split(path, SPLIT)
    return path, json.loads(path.read_bytes())


def test_split_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    path, content = written(tmp_path)
    assert path.name == "split_event.json"
    assert read_split(path) == SPLIT
    assert content["counts"] == SPLIT.counts


def test_same_split_is_written_again_and_another_one_is_refused(tmp_path: Path) -> None:
    path, _ = written(tmp_path)
    before = path.read_bytes()
    write_split(path, SPLIT)
    other = Split(SPLIT.name, SPLIT.folders, {"split_by": "random", "seed": 1}, SPLIT.parts, SPLIT.folds)
    with pytest.raises(InputError, match="holds another split"):
        write_split(path, other)
    assert path.read_bytes() == before
    path.write_text("damaged")
    with pytest.raises(InputError, match="holds another split"):
        write_split(path, SPLIT)


def test_coco_file_of_another_conversion_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "xbd_event-b.json").write_text("{}")
    with pytest.raises(InputError, match=r"xbd_event-b.json: is there already, without split_event.json"):
        write_split(split_file_path(tmp_path, "event"), SPLIT)
    assert [path.name for path in tmp_path.iterdir()] == ["xbd_event-b.json"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "version"),
        ({"name": "a_b"}, "name"),
        ({"name": "../a"}, "name"),
        ({"folders": []}, "folders"),
        ({"folders": ["train", ".."]}, "folders"),
        ({"folders": ["train", "a/b"]}, "folders"),
        ({"folders": ["train", "train"]}, "train twice"),
        ({"made": None}, "made"),
        ({"parts": {}}, "parts"),
        ({"parts": {"a": []}}, "parts[...]"),
        ({"parts": {"a": [5]}}, "parts[...]"),
        ({"parts": {"a_b": ["train/y"]}}, "parts"),
        ({"parts": {"a": ["train/y", "train/y"]}}, "train/y twice"),
        ({"parts": {"a": ["train/y"], "b": ["train/y"]}}, "found in a and b"),
        ({"parts": {"a": ["train/y"], "b": ["tier3/y"]}}, "found in a and b"),
        ({"parts": {"a": ["train"]}}, "<folder>/<scene>"),
        ({"parts": {"a": ["../y"]}}, "<folder>/<scene>"),
        ({"parts": {"a": ["hold/y"]}}, "<folder>/<scene>"),
        ({"folds": {"a": ["c"]}}, "names of parts"),
        ({"folds": {"a": ["a", "b"]}}, "a part to train on"),
        ({"folds": {"a": []}}, "folds[...]"),
        ({"folds": {"$(id)": ["a"]}}, "folds"),
    ],
)
def test_damaged_split_file_is_refused_with_one_sentence(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path, content = written(tmp_path)
    path.write_text(json.dumps(content | {"folds": {}} | change))
    with pytest.raises(InputError) as refused:
        read_split(path)
    text = str(refused.value)
    assert text.startswith(f"{path}: ")
    assert message in text
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize("text", ["[]", "{", '"' + "x" * 1000 + '"', "[" * 10_000])
def test_what_is_no_split_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "split_a.json"
    path.write_text(text)
    with pytest.raises(InputError, match="split_a.json"):
        read_split(path)


def test_tiles_missing_or_in_no_part_are_named(tmp_path: Path) -> None:
    for number in range(6):
        write_tile(tmp_path, f"e_{number:08d}", [])
    found: dict[str, SceneFiles] = {tile_key(pair): pair for pair in find_scenes(tmp_path, "train")[0]}
    keys = tuple(sorted(found))
    check_tiles("f", Split("n", ("train",), {}, {"a": keys[:3], "b": keys[3:]}), found)
    with pytest.raises(InputError, match=r"1 tiles of the split are missing, train/gone_00000001; add"):
        check_tiles("f", Split("n", ("train",), {}, {"a": (*keys, "train/gone_00000001")}), found)
    with pytest.raises(InputError, match="5 tiles of its folders are in no part, .* and 2 more; move"):
        check_tiles("f", Split("n", ("train",), {}, {"a": keys[:1]}), found)
