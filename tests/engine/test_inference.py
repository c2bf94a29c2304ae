"""Folders and single pairs through tiny models with random weights: ensembles, views, windows, rules."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from noise_pairs import ALL, HEIGHT, SCENES, WIDTH, listed, pngs, write_pair
from pycocotools import mask as run_lengths
from saved_models import SEMANTIC, SMALL, models, noise

from skyeye_det.data.coco import convert_split
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.inference import InferenceOptions, infer_folder, infer_pair
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.models import Models
from skyeye_det.errors import InputError
from skyeye_det.prediction.visibility import ASSESSED, LEAST_SEEN, POST_UNSEEN, PRE_UNSEEN
from skyeye_det.xview2.submission import read_class_png

MAP = DecisionRule(score_threshold=0.0, pixel_threshold=0.2, map_weight=1.0)


@pytest.mark.parametrize("rule", [ALL, MAP], ids=["instances", "map"])
def test_every_pair_gets_two_pngs_of_its_size_and_its_buildings(weights, images, tmp_path, rule):
    assert infer_folder(models(weights), images, tmp_path / "out", rule) == (len(SCENES), {})
    results = listed(tmp_path / "out")
    assert {result["scene"] for result in results} == set(SCENES)
    assert len({result["uid"] for result in results}) == len(results)
    for scene in SCENES:
        localization, damage = (
            read_class_png(tmp_path / "out" / f"{scene}_{kind}_prediction.png")
            for kind in ("localization", "damage")
        )
        assert localization.shape == damage.shape == (HEIGHT, WIDTH)
        assert localization.any()
        np.testing.assert_array_equal(damage > 0, localization > 0)
        found = [result for result in results if result["scene"] == scene]
        assert set(np.unique(damage)) - {0} <= {1 + result["damage"] for result in found}
        for result in found:
            assert run_lengths.decode(result["segmentation"]).shape == (HEIGHT, WIDTH)
            assert sum(result["damage_probs"]) == pytest.approx(1, abs=1e-4)
            assert int(np.argmax(result["damage_probs"])) == result["damage"] == result["likeliest_damage"]


def test_nothing_found_and_black_pairs_give_zero_pngs_and_an_empty_list(weights, tmp_path):
    (tmp_path / "images").mkdir()
    for phase in ("pre", "post"):
        path = tmp_path / "images" / f"x_00000001_{phase}_disaster.png"
        cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    nothing = DecisionRule(score_threshold=1.0)
    assert infer_folder(models(weights), tmp_path / "images", tmp_path / "out", nothing) == (1, {})
    assert listed(tmp_path / "out") == []
    assert len(pngs(tmp_path / "out")) == 2
    assert not any(read_class_png(path).any() for path in (tmp_path / "out").glob("*.png"))


@pytest.mark.parametrize("hidden", ["pre", "post", "copied"])
def test_what_an_image_does_not_show_has_no_grade(weights, tmp_path, hidden):
    write_pair(tmp_path / "images", "x_00000001", 0, (160, 160))
    pre, post = (tmp_path / "images" / f"x_00000001_{each}_disaster.png" for each in ("pre", "post"))
    path = pre if hidden == "pre" else post
    picture = cv2.imread(str(path))
    if hidden == "copied":
        before = cv2.imread(str(pre))
        picture[:, :80], picture[:40, 80:] = before[:, :80], before[:40, 80:]
    else:
        picture[:, :80], picture[:40, 80:] = 0, 255
    cv2.imwrite(str(path), picture)
    infer_folder(models(weights), tmp_path / "images", tmp_path / "out", ALL)
    results = listed(tmp_path / "out") + listed(tmp_path / "out", "candidates")
    assert {result["damage"] is None for result in results} == {True, False}
    shows = np.zeros((160, 160), np.bool_)
    shows[40:, 80:] = True
    for result in results:
        share = shows[run_lengths.decode(result["segmentation"]) > 0].mean()
        assert (result["damage"] is not None) == (share >= LEAST_SEEN) == (result["status"] == ASSESSED)
        assert (result["damage_probs"] is None) == (share < LEAST_SEEN)
        if result["damage"] is None:
            assert result["status"] == (PRE_UNSEEN if hidden == "pre" else POST_UNSEEN)
    localization, damage = (
        read_class_png(tmp_path / "out" / f"x_00000001_{kind}_prediction.png")
        for kind in ("localization", "damage")
    )
    assert set(np.unique(damage)) <= {0, 1, 2, 3, 4}
    assert ((localization > 0) & (damage == 0)).any()
    assert not ((localization == 0) & (damage > 0)).any()


def test_a_second_run_does_only_what_is_missing(weights, images, tmp_path):
    output = tmp_path / "out"
    infer_folder(models(weights), images, output, ALL)
    expected, joined = pngs(output), (output / "instances.json").read_bytes()
    (output / "instances" / f"{SCENES[1]}.json").unlink()
    (output / "instances.json").unlink()
    lost = next((output / "predictions").glob(f"{SCENES[2]}@*.npz"))
    lost.unlink()
    before = {path: path.stat().st_mtime_ns for path in [*output.glob("*.png"), *output.rglob("*.npz")]}
    infer_folder(models(weights), images, output, ALL)
    redone = {path.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns}
    assert redone == {f"{SCENES[1]}_{kind}_prediction.png" for kind in ("localization", "damage")}
    assert lost.is_file()
    assert pngs(output) == expected
    assert (output / "instances.json").read_bytes() == joined
    (output / f"{SCENES[0]}_damage_prediction.png").unlink()
    infer_folder(models(weights), images, output, ALL)
    assert pngs(output) == expected


def test_another_rule_decides_anew_without_a_model(weights, images, tmp_path, monkeypatch):
    infer_folder(models(weights), images, tmp_path / "out", ALL)
    infer_folder(models(weights), images, tmp_path / "fresh", MAP)
    monkeypatch.setattr(Models, "load", None)
    infer_folder(models(weights), images, tmp_path / "out", MAP)
    assert pngs(tmp_path / "out") == pngs(tmp_path / "fresh")
    assert listed(tmp_path / "out") == listed(tmp_path / "fresh")


def test_predictions_of_something_else_are_not_continued(two, images, tmp_path):
    infer_folder(models(two[0]), images, tmp_path / "out", ALL)
    others = {
        "weights_sha256.0": models(two[1]),
        "weights_sha256, config, views": models(*two),
        "config.0.MODEL.ROI_HEADS.SCORE_THRESH_TEST": models(two[0], MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.2),
        "views.0": models(two[0], views=("d4",)),
        "precision": models(two[0], precision="bf16"),
    }
    for difference, other in others.items():
        with pytest.raises(InputError, match=rf"found another {difference}.*choose another --output"):
            infer_folder(other, images, tmp_path / "out", ALL)
    moved = tmp_path / "moved.pth"
    moved.write_bytes(Path(two[0]).read_bytes())
    same = models(str(moved), SOLVER__MAX_ITER=7, MODEL__WEIGHTS="other.pth", TEST__EVAL_PERIOD=9)
    assert infer_folder(same, images, tmp_path / "out", ALL) == (3, {})
    for path in images.glob(f"{SCENES[0]}_*"):
        path.unlink()
    with pytest.raises(InputError, match=f"some of 1 other scenes, such as {SCENES[0]}; choose another"):
        infer_folder(models(two[0]), images, tmp_path / "out", ALL)


def test_the_container_entry_writes_what_the_folder_run_writes(weights, images, tmp_path):
    options = InferenceOptions(window=64, overlap=16)
    infer_folder(models(weights), images, tmp_path / "out", ALL, options)
    assert len(list((tmp_path / "out" / "predictions").glob(f"{SCENES[0]}@*.npz"))) == 6
    outputs = tmp_path / "loc.png", tmp_path / "dmg.png"
    pair = images / f"{SCENES[0]}_pre_disaster.png", images / f"{SCENES[0]}_post_disaster.png"
    infer_pair(models(weights), pair, outputs, ALL, options)
    for path, kind in zip(outputs, ("localization", "damage"), strict=True):
        expected = tmp_path / "out" / f"{SCENES[0]}_{kind}_prediction.png"
        assert path.read_bytes() == expected.read_bytes()
        assert read_class_png(path).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize(("kind", "window"), [("instances", 1024), ("instances", 64), ("pixels", 64)])
def test_known_footprints_are_classified_and_stand_as_they_are(
    weights, semantic, tiny_datasets, tmp_path, kind, window
):
    root = tiny_datasets / "tiny"
    convert_split(root, "val", tmp_path)
    footprints = tmp_path / "xbd_val.json"
    found = models(weights) if kind == "instances" else Models([ModelFiles(SEMANTIC, semantic)], SMALL)
    options = InferenceOptions(footprints=footprints, window=window, overlap=16)
    infer_folder(found, root / "val", tmp_path / "out", DecisionRule(score_threshold=1.0), options)
    results, truth = listed(tmp_path / "out"), json.loads(footprints.read_text())["annotations"]
    assert {each["uid"] for each in results} == {each["uid"] for each in truth}
    assert {each["source"] for each in results} == {"footprint"}
    assert {each["damage"] for each in results} <= {0, 1, 2, 3}
    with pytest.raises(InputError, match="another footprints_sha256"):
        infer_folder(found, root / "val", tmp_path / "out", ALL, InferenceOptions(window=window, overlap=16))


def test_footprints_and_turned_views_of_instances_do_not_go_together(weights, images, tmp_path):
    with pytest.raises(InputError, match="--tta: expected none with --footprints"):
        models(weights, views=("d4",)).classify(noise(), None)  # type: ignore[arg-type]


def test_weights_of_another_model_are_refused(weights, images, tmp_path):
    with pytest.raises(InputError, match="expected those of the whole model"):
        infer_folder(models(weights, MODEL__FPN__OUT_CHANNELS=24), images, tmp_path / "out", ALL)


@pytest.mark.parametrize("views", ["none", "d4"])
def test_a_semantic_model_predicts_a_pair_and_a_folder_alike(semantic, images, tmp_path, views):
    found = Models([ModelFiles(SEMANTIC, semantic, views)], SMALL)
    outputs = tmp_path / "loc.png", tmp_path / "dmg.png"
    pair = images / f"{SCENES[0]}_pre_disaster.png", images / f"{SCENES[0]}_post_disaster.png"
    rule = replace(ALL, score_threshold=0.7)  # has no effect on pixels
    infer_pair(found, pair, outputs, rule)
    infer_folder(found, images, tmp_path / "out", rule)
    written = pngs(tmp_path / "out")
    assert {path.read_bytes() for path in outputs} <= set(written.values())
    assert {each["source"] for each in listed(tmp_path / "out")} == {"region"}
