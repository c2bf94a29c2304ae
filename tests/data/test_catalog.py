"""Registration of converted splits, and what is refused in a file from a stranger."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from pair_tiles import write_root

from skyeye_det.data.catalog import load_xbd_json, register_datasets, register_xbd_split
from skyeye_det.errors import InputError


@pytest.fixture(autouse=True)
def _clean_catalog():
    before = set(DatasetCatalog)
    yield
    for name in set(DatasetCatalog) - before:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_a_name_leads_to_its_place_under_detectron2_datasets(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    file = write_root(tmp_path / "sample_xbd", "val")
    register_datasets(["sample_xbd_val"])
    metadata = MetadataCatalog.get("sample_xbd_val")
    assert metadata.json_file == str(file)
    assert metadata.image_root == str(tmp_path / "sample_xbd")
    assert metadata.thing_classes == ["building"]
    assert len(DatasetCatalog.get("sample_xbd_val")) == 4


def test_the_place_is_datasets_where_the_variable_is_not_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = write_root(tmp_path / "datasets" / "xbd", "train")
    register_xbd_split("xbd_train")
    assert MetadataCatalog.get("xbd_train").json_file == str(file)


@pytest.mark.parametrize(("root", "split"), [("xbd", "santa_rosa"), ("my_own_xbd", "train"), ("a_b", "c_d")])
def test_folders_and_splits_may_have_underscores(tmp_path, monkeypatch, root: str, split: str):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    file = write_root(tmp_path / root, split)
    register_datasets([f"{root}_{split}"])
    assert MetadataCatalog.get(f"{root}_{split}").json_file == str(file)


def test_a_name_of_two_places_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_root(tmp_path / "a", "b_c")
    write_root(tmp_path / "a_b", "c")
    with pytest.raises(InputError, match="expected one root folder and split"):
        register_xbd_split("a_b_c")


def test_tiles_and_buildings_arrive_as_detectron2_wants_them(tmp_path):
    file = write_root(tmp_path / "xbd", "train")
    tiles = load_xbd_json(file, tmp_path / "xbd")
    assert [len(tile["annotations"]) for tile in tiles] == [0, 1, 2, 3]
    assert all(Path(tile[key]).is_file() for tile in tiles for key in ("file_name", "post_file_name"))
    assert {key: tiles[3][key] for key in ("image_id", "height", "width", "scene", "disaster")} == {
        "image_id": 4,
        "height": 64,
        "width": 64,
        "scene": "test-flood_00000003",
        "disaster": "test-flood",
    }
    assert tiles[3]["annotations"][0] == {
        "segmentation": [[4, 6, 14, 6, 14, 20, 4, 20]],
        "bbox": [4, 6, 11, 15],
        "bbox_mode": BoxMode.XYWH_ABS,
        "category_id": 0,
        "damage": -1,
        "uid": "b3",
        "iscrowd": 0,
    }


def test_a_second_registration_is_quiet_for_the_same_place_and_refused_for_another(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_root(tmp_path / "xbd", "train")
    other = write_root(tmp_path / "other", "train")
    register_datasets(["xbd_train", "xbd_train"])
    with pytest.raises(InputError, match=r"xbd_train: stands for .*xbd_train\.json .*already"):
        register_xbd_split("xbd_train", other, tmp_path / "other")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "elsewhere"))
    with pytest.raises(InputError, match="already"):
        register_xbd_split("xbd_train")


def test_a_name_keeps_the_place_it_was_given(tmp_path):
    file = write_root(tmp_path / "xbd", "train")
    register_xbd_split("mine_train", file, tmp_path / "xbd")
    register_datasets(["mine_train"])
    assert MetadataCatalog.get("mine_train").json_file == str(file)


def test_a_name_of_another_kind_of_dataset_is_refused():
    with pytest.raises(InputError, match=r"coco_2017_train: stands for"):
        register_datasets(["coco_2017_train"])


def test_a_missing_file_names_the_command_that_writes_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(InputError) as error:
        register_datasets(["xbd_tier3"])
    assert f"convert_xbd_to_coco.py --xbd-root {tmp_path / 'xbd'} --splits tier3" in str(error.value)
    assert "xbd_tier3" not in DatasetCatalog


def test_a_missing_part_of_a_split_names_the_split_file(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(InputError, match=r"--splits FOLDER \.\.\. --split-by"):
        register_datasets(["xbd_my-own-val"])
    kept = tmp_path / "xbd" / "annotations" / "split_my-own.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(InputError, match=re.escape(f"--split-file {kept}")):
        register_datasets(["xbd_my-own-val"])
    (tmp_path / "xbd" / "my-own-val").mkdir()
    with pytest.raises(InputError, match="--splits my-own-val$"):
        register_datasets(["xbd_my-own-val"])


@pytest.mark.parametrize("name", ["xbd", "_train", "xbd_", ""])
def test_a_name_without_root_or_split_is_refused(name):
    with pytest.raises(InputError, match="expected <root folder>_<split>"):
        register_datasets([name])


def _image(key: str, value: Any):
    return lambda content: content["images"][1].update({key: value})


def _building(key: str, value: Any):
    return lambda content: content["annotations"][0].update({key: value})


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda content: content.update(images=[]), "images"),
        (lambda content: content.update(annotations=None), "annotations"),
        (lambda content: content["images"].append(7), r"images\[4\]"),
        (_image("id", 1), r"images\[1\]\.id: expected an id of its own, found 1"),
        (_image("id", "2"), r"images\[1\]\.id"),
        (_image("width", 0), r"images\[1\]\.width"),
        (_image("height", 10**400), r"images\[1\]\.height.*found 10000"),
        (_image("scene", None), r"images\[1\]\.scene"),
        (_image("file_name", "../secret.png"), r"file_name: expected a path inside the xBD root"),
        (_image("post_file_name", "/etc/passwd"), "post_file_name"),
        (_image("post_file_name", "C:\\secret.png"), "post_file_name"),
        (_image("post_file_name", "a\0b.png"), "post_file_name"),
        (_building("uid", 4), r"annotations\[0\]\.uid"),
        (_building("image_id", 99), r"annotations\[0\] \(uid 'b0'\)\.image_id"),
        (_building("damage", 4), r"damage: expected `int` <= 3, found 4"),
        (_building("area", float("nan")), "expected JSON"),
        (_building("bbox", [1, 2, 3]), "bbox"),
        (_building("bbox", [1, 2, -3, 4]), "bbox"),
        (_building("segmentation", []), "segmentation"),
        (_building("segmentation", [[]]), "segmentation"),
        (_building("segmentation", [[1, 2, 3]]), "segmentation"),
        (_building("segmentation", [[1, 2, 3, float("inf"), 5, 6]]), "expected JSON"),
        (_building("segmentation", [[1, 2, 3, 1e12, 5, 6]]), "segmentation"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(tmp_path, change, place):
    file = write_root(tmp_path / "xbd", "train")
    content = copy.deepcopy(json.loads(file.read_text()))
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=place) as error:
        load_xbd_json(file, tmp_path / "xbd")
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000])
def test_a_file_of_another_form_is_refused(tmp_path, text):
    file = tmp_path / "xbd_train.json"
    file.write_text(text)
    with pytest.raises(InputError, match=r"xbd_train\.json"):
        load_xbd_json(file, tmp_path)
