"""Folders in which pairs are odd, mended, added or changed between two runs of inference."""

import os
import shutil

import cv2
import numpy as np
import pytest
from noise_pairs import ALL, HEIGHT, SCENES, WIDTH, listed, pngs, write_pair
from pycocotools.coco import COCO
from saved_models import models

from skyeye_det.commands import infer
from skyeye_det.data.coco import convert_split
from skyeye_det.engine.inference import InferenceOptions, infer_folder
from skyeye_det.errors import InputError
from skyeye_det.prediction.store import PredictionStore
from skyeye_det.xview2.submission import read_class_png


@pytest.mark.parametrize("workers", [0, 1])
def test_odd_pairs_are_named_the_rest_is_done_and_the_mended_are_taken_up(weights, images, tmp_path, workers):
    output = tmp_path / "out"
    odd = {
        f"a-cut_0000000{workers}": lambda path: path.write_bytes(path.read_bytes()[:200]),
        "b-short_00000001": lambda path: cv2.imwrite(str(path), np.zeros((HEIGHT - 1, WIDTH, 3), np.uint8)),
        "c-deep_00000001": lambda path: cv2.imwrite(str(path), np.zeros((HEIGHT, WIDTH, 3), np.uint16)),
        "d-alone_00000001": lambda path: path.unlink(),
    }
    for scene, harm in odd.items():
        write_pair(images, scene, 7)
        harm(images / f"{scene}_post_disaster.png")
    found = models(weights, DATALOADER__NUM_WORKERS=workers)
    count, unreadable = infer_folder(found, images, output, ALL)
    assert count == len(SCENES)
    parts = ["damaged or cut off", f"found {WIDTH} x {HEIGHT - 1}", "found uint16 values", "without its post"]
    assert list(unreadable) == list(odd)
    assert all(part in reason for part, reason in zip(parts, unreadable.values(), strict=True))
    assert {each["scene"] for each in listed(output)} == set(SCENES)
    assert len(pngs(output)) == 2 * len(SCENES)
    store = PredictionStore.read(output / "predictions")
    assert [image.scene for image in store.images] == sorted(SCENES)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.npz")}
    for scene in odd:
        write_pair(images, scene, 7)
    assert infer_folder(found, images, output, ALL) == (len(SCENES) + len(odd), {})
    assert {path: path.stat().st_mtime_ns for path in before} == before
    write_pair(images, SCENES[0], 70)
    changed = read_class_png(output / f"{SCENES[0]}_damage_prediction.png")
    infer_folder(found, images, output, ALL)
    assert (read_class_png(output / f"{SCENES[0]}_damage_prediction.png") != changed).any()
    (images / f"{SCENES[0]}_post_disaster.png").unlink()
    count, _ = infer_folder(found, images, output, ALL)
    assert SCENES[0] not in {each["scene"] for each in listed(output)}
    assert not [name for name in pngs(output) if name.startswith(SCENES[0])]


def test_windows_that_are_full_of_instances_are_told(weights, images, tmp_path, capsys):
    infer_folder(models(weights), images, tmp_path / "out", ALL)
    assert "DETECTIONS_PER_IMAGE" not in capsys.readouterr().out
    infer_folder(models(weights, TEST__DETECTIONS_PER_IMAGE=2), images, tmp_path / "few", ALL)
    assert "3 windows hold as many instances as TEST.DETECTIONS_PER_IMAGE allows" in capsys.readouterr().out


def test_results_fit_the_coco_file_of_a_conversion_that_leaves_a_pair_out(weights, tiny_datasets, tmp_path):
    root = tmp_path / "xbd"
    shutil.copytree(tiny_datasets / "tiny", root)
    first = min((root / "val" / "labels").iterdir())
    first.write_text("no label")
    coco = COCO(convert_split(root, "val", tmp_path).path)
    infer_folder(models(weights), root / "val", tmp_path / "out", ALL)
    scene_of = {image["id"]: image["scene"] for image in coco.dataset["images"]}
    known = [each for each in listed(tmp_path / "out") if each["image_id"] in scene_of]
    assert known
    assert all(scene_of[each["image_id"]] == each["scene"] for each in known)
    assert {each["scene"] for each in listed(tmp_path / "out")} > set(scene_of.values())
    coco.loadRes(known)


def test_numbered_names_come_with_their_table_and_follow_new_pairs(weights, images, tmp_path):
    output, options = tmp_path / "out", InferenceOptions(True, "hold")
    infer_folder(models(weights), images, output, ALL, options)
    assert {name.split("_")[0] for name in pngs(output)} == {"hold"}
    table = (output / "numbering.csv").read_text().splitlines()
    assert table[1:] == [f"hold_{number:05d},{scene}" for number, scene in enumerate(SCENES)]
    write_pair(images, "a_new_one_00000001", 9)
    infer_folder(models(weights), images, output, ALL, options)
    infer_folder(models(weights), images, tmp_path / "fresh", ALL, options)
    assert pngs(output) == pngs(tmp_path / "fresh")
    infer.main(["--decide-only", "--output", str(output)])
    assert pngs(output) == pngs(tmp_path / "fresh")
    infer_folder(models(weights), images, output, ALL)
    assert not (output / "numbering.csv").exists()
    assert not [name for name in pngs(output) if name.startswith("hold")]
    assert len(pngs(output)) == 8


def test_another_model_leaves_nothing_of_the_first_once_its_predictions_are_gone(two, images, tmp_path):
    infer_folder(models(two[0]), images, tmp_path / "out", ALL)
    for kept in (tmp_path / "out" / "predictions").glob("*.npz"):
        kept.unlink()
    infer_folder(models(two[1]), images, tmp_path / "out", ALL)
    infer_folder(models(two[1]), images, tmp_path / "fresh", ALL)
    assert pngs(tmp_path / "out") == pngs(tmp_path / "fresh")
    assert listed(tmp_path / "out") == listed(tmp_path / "fresh")


def test_folder_that_cannot_be_read_any_more_costs_nothing(weights, images, tmp_path):
    output = tmp_path / "out"
    infer_folder(models(weights), images, output, ALL)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    for path in images.iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no pair can be predicted, of 3"):
        infer_folder(models(weights), images, output, ALL)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
    PredictionStore.read(output / "predictions").keep_images([])
    with pytest.raises(InputError, match="expected predictions of a pair, found none"):
        infer.main(["--decide-only", "--output", str(output)])


@pytest.mark.parametrize("odd", [os.fsdecode(b"s\xe3o_00000001"), "a\nb_00000001", "x" * 225 + "_00000001"])
def test_scene_whose_name_no_result_can_bear_is_named_and_keeps_its_number(weights, images, tmp_path, odd):
    output, options = tmp_path / "out", InferenceOptions(numbered=True)
    write_pair(images, odd, 7)
    write_pair(images, "a-half_00000001", 7)
    (images / "a-half_00000001_post_disaster.png").unlink()
    for _ in range(2):
        count, unreadable = infer_folder(models(weights), images, output, ALL, options)
        assert (count, set(unreadable)) == (len(SCENES), {odd, "a-half_00000001"})
        assert "rename both images" in unreadable[odd]
    before = pngs(output)
    infer.main(["--decide-only", "--numbered", "--output", str(output)])
    assert pngs(output) == before
    assert "test_damage_00000_prediction.png" not in before


def test_pairs_that_a_footprint_file_does_not_fit_are_named_and_the_rest_is_done(
    weights, tiny_datasets, tmp_path
):
    root, output = tiny_datasets / "tiny", tmp_path / "out"
    options = InferenceOptions(footprints=convert_split(root, "val", tmp_path).path)
    images = shutil.copytree(root / "val" / "images", tmp_path / "images")
    *others, odd = sorted({path.name.partition("_p")[0] for path in images.iterdir()})
    write_pair(images, "unknown_00000001", 7)
    write_pair(images, odd, 7)
    count, unreadable = infer_folder(models(weights), images, output, ALL, options)
    assert count == len(others)
    assert "expected an image of 131 x 97 px" in unreadable[odd]
    assert "found no such scene" in unreadable["unknown_00000001"]
    assert {each["scene"] for each in listed(output)} == set(others)


def test_image_that_is_exchanged_while_it_is_read_is_named_and_done_by_the_next_run(
    weights, images, tmp_path, monkeypatch
):
    found, output = models(weights), tmp_path / "out"
    load = found.load
    monkeypatch.setattr(found, "load", lambda: write_pair(images, SCENES[0], 70) or load())
    count, unreadable = infer_folder(found, images, output, ALL)
    assert (count, list(unreadable)) == (2, [SCENES[0]])
    assert "as they were when this run began" in unreadable[SCENES[0]]
    assert infer_folder(models(weights), images, output, ALL) == (3, {})
    infer_folder(models(weights), images, tmp_path / "fresh", ALL)
    assert pngs(output) == pngs(tmp_path / "fresh")


def test_results_whose_origin_is_not_known_are_not_mixed_with_new_ones(weights, images, tmp_path):
    infer_folder(models(weights), images, tmp_path / "out", ALL)
    (tmp_path / "out" / "inference.json").write_text('{"rule": {}, "scenes": ["of another version"]}')
    with pytest.raises(InputError, match="what this version notes of its results.*choose another --output"):
        infer_folder(models(weights), images, tmp_path / "out", ALL)
