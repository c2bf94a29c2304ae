import json
from pathlib import Path
from typing import Any

import pytest
from command_runs import run
from pycocotools.coco import COCO
from xbd_files import SQUARE, feature, label, write_buildings, write_pair

from skyeye_det.data.coco import ConversionSummary, convert_split, summary_table
from skyeye_det.data.pairs import image_id
from skyeye_det.data.validation import FaultKind, count_faults
from skyeye_det.errors import InputError

COURTYARD = (
    "MULTIPOLYGON (((2 2, 30 2, 30 30, 2 30, 2 2), (8 8, 14 9, 13 15, 7 14, 8 8), (18 18, 24 18, 24 25, "
    "18 18)), ((40 40, 50 41, 49 55, 40 40)))"
)


def convert(root: Path, **options: Any) -> tuple[ConversionSummary, dict[str, Any]]:
    summary = convert_split(root, "train", root / "annotations", **options)
    return summary, json.loads(summary.path.read_text())


def test_fields_of_image_and_annotation(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "major-damage"), suffix=".tif")
    _, content = convert(tmp_path)
    assert content["images"] == [
        {
            "id": image_id("test-flood_00000001"),
            "file_name": "train/images/test-flood_00000001_pre_disaster.tif",
            "post_file_name": "train/images/test-flood_00000001_post_disaster.tif",
            "width": 64,
            "height": 64,
            "scene": "test-flood_00000001",
            "disaster": "test-flood",
            "disaster_type": "flooding",
            "gsd": 1.5,
        }
    ]
    assert content["annotations"] == [
        {
            "id": 1,
            "image_id": image_id("test-flood_00000001"),
            "category_id": 1,
            "segmentation": [[10, 10, 20, 10, 20, 20, 10, 20]],
            "bbox": [10, 10, 11, 11],
            "area": 121,
            "iscrowd": 0,
            "uid": "a",
            "damage": 2,
        }
    ]
    assert content["categories"] == [{"id": 1, "name": "building"}]
    assert "parts_from_segmentation" in content["info"]["masks"]


def test_pycocotools_loads_the_file(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", COURTYARD, "no-damage"), ("point", "POINT (1 1)", "no-damage"))
    write_buildings(tmp_path, ("line", "POLYGON ((5 5, 9 5, 5 5))", "no-damage"), name="test-flood_00000002")
    summary, _ = convert(tmp_path)
    coco = COCO(str(summary.path))
    assert coco.getCatIds(catNms=["building"]) == [1]
    masks = [coco.annToMask(coco.anns[number]) for number in coco.getAnnIds()]
    assert [mask.shape for mask in masks] == [(64, 64)] * 2
    assert masks[0][11, 10] == 0  # in the courtyard, by COCO's own rule too
    assert masks[0][5, 5] == masks[0][45, 43] == 1


def test_box_and_area_end_at_the_border_and_coordinates_stay_as_drawn(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", "POLYGON ((-10 50, 4 50, 4 99, -10 99, -10 50))", "no-damage"))
    summary, content = convert(tmp_path)
    (annotation,) = content["annotations"]
    assert (annotation["bbox"], annotation["area"]) == ([0, 50, 5, 14], 70)
    assert min(annotation["segmentation"][0]) == -10
    assert {fault.kind for fault in summary.faults} == {FaultKind.BEYOND_IMAGE}


def test_tiles_without_buildings_stay_in(tmp_path: Path) -> None:
    write_buildings(tmp_path)
    write_buildings(tmp_path, ("a", SQUARE, "un-classified"), name="test-flood_00000000")
    summary, content = convert(tmp_path)
    assert [image["scene"] for image in content["images"]] == ["test-flood_00000000", "test-flood_00000001"]
    assert (summary.pairs, summary.empty_pairs, summary.buildings) == (2, 1, {-1: 1})
    assert content["annotations"][0]["damage"] == -1


def test_split_of_empty_tiles_alone_loads(tmp_path: Path) -> None:
    write_buildings(tmp_path)
    summary, content = convert(tmp_path)
    assert (len(content["images"]), content["annotations"], summary.buildings) == (1, [], {})
    assert COCO(str(summary.path)).getAnnIds() == []


def test_same_bytes_for_any_number_of_workers_and_second_run(tmp_path: Path) -> None:
    for number in range(80):  # more than one process takes at once
        entries = [(f"{number}-{index}", SQUARE, "no-damage") for index in range(number % 4)]
        write_buildings(tmp_path, *entries, name=f"test-flood_{number:08d}")
    write_pair(tmp_path, "{", "{", name="test-flood_00000005")
    outputs = []
    for workers in (1, 2, 1):
        summary, _ = convert(tmp_path, workers=workers)
        outputs.append((summary.path.read_bytes(), summary.faults_path.read_bytes()))
    assert outputs[0] == outputs[1] == outputs[2]
    ids = [annotation["id"] for annotation in json.loads(outputs[0][0])["annotations"]]
    assert ids == list(range(1, len(ids) + 1))


def test_faults_are_listed_with_rule_and_building(tmp_path: Path) -> None:
    write_pair(tmp_path, label([feature("a"), feature("b")]), label([feature("a", SQUARE, "no-damage")]))
    summary, _ = convert(tmp_path)
    (listed,) = json.loads(summary.faults_path.read_text())
    assert (listed["kind"], listed["uid"], listed["rule"]) == ("only-in-pre", "b", "kept as un-classified")
    assert listed["file"] == "train/labels/test-flood_00000001_pre_disaster.json"
    assert count_faults(summary.faults) == {FaultKind.ONLY_IN_PRE: 1}


def test_strict_writes_the_list_and_no_coco_file(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", "POINT (1 1)", "no-damage"))
    with pytest.raises(InputError, match=r"building a: expected POLYGON .*faults\.json"):
        convert(tmp_path, strict=True)
    assert [path.name for path in (tmp_path / "annotations").iterdir()] == ["xbd_train.faults.json"]


def test_split_whose_pairs_are_all_left_out_is_an_input_error(tmp_path: Path) -> None:
    write_pair(tmp_path, "{", "{")
    with pytest.raises(InputError, match="no pair is left"):
        convert(tmp_path)


def test_table_counts_classes_and_names_the_first_faults(tmp_path: Path) -> None:
    entries = [(str(index), "POINT (1 1)", "no-damage") for index in range(15)]
    write_buildings(tmp_path, *entries, ("kept", SQUARE, "destroyed"))
    lines = summary_table([convert(tmp_path)[0]]).splitlines()
    head = dict(zip(lines[0].split(), lines[1].split(), strict=True))
    assert (head["pairs"], head["buildings"], head["destroyed"], head["faults"]) == ("1", "1", "1", "30")
    assert sum("expected POLYGON" in line for line in lines) == 10
    assert "20 more" in lines[-1]
    assert lines[-1].endswith("xbd_train.faults.json")


def test_command_converts_splits_beside_the_data(tmp_path: Path) -> None:
    for split in ("train", "tier3"):
        write_buildings(tmp_path, ("a", SQUARE, "no-damage"), split=split)
    done = run("convert_xbd_to_coco", "--xbd-root", tmp_path, "--splits", "train", "tier3")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "annotations").iterdir()} == {
        f"xbd_{split}{suffix}" for split in ("train", "tier3") for suffix in (".json", ".faults.json")
    }
    assert "tier3" in done.stdout


def test_wrong_root_and_strict_fault_exit_with_2_and_one_sentence(tmp_path: Path) -> None:
    wrong = run("convert_xbd_to_coco", "--xbd-root", tmp_path / "nowhere", "--splits", "train")
    write_buildings(tmp_path, ("a", "POINT (1 1)", "no-damage"))
    strict = run("convert_xbd_to_coco", "--xbd-root", tmp_path, "--splits", "train", "--strict")
    for failed in (wrong, strict):
        assert failed.returncode == 2
        assert failed.stderr.startswith("error: ")
        assert failed.stderr.count("\n") == 1
        assert failed.stdout == ""
