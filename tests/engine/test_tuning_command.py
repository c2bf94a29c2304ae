"""A rule tuned for a tiny model with random weights, by the command and by what it calls."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skyeye_det.engine.pair_predictor import ModelFiles
from skyeye_det.engine.tuning_command import TunedModel, keep_tiles, tune_postprocess
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det import files
from skyeye_det.data.split_file import Split, write_split
from skyeye_det.decision.rule import DecisionRule, read_rule, write_rule
from skyeye_det.decision.tuning.tune import TuningOptions
from skyeye_det.engine import inference_folder
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import tiles_from_labels
from skyeye_det.files import sole_writer
from skyeye_det.prediction.store import load_tile
from skyeye_det.xview2.score import count_pixels

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
TUNE = Path(__file__).resolve().parents[2] / "tools" / "tune_postprocess.py"
OPTIONS = TuningOptions(folds=2, draws=20)


def tuned_model(weights: str, datasets: Path, **changes) -> TunedModel:
    return TunedModel([ModelFiles(CONFIG, weights)], datasets / "tiny", ["train"], tiny_overrides(**changes))


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}


def test_tiles_are_kept_with_their_official_truth(weights, tiny_datasets, tmp_path):
    paths = keep_tiles(tuned_model(weights, tiny_datasets), tmp_path / "work")
    tiles = tiles_from_labels(tiny_datasets / "tiny", ["train"])
    assert [path.stem for path in paths] == [tile.scene for tile in tiles]
    for path, tile in zip(paths, tiles, strict=True):
        kept = load_tile(path)
        for found, expected in zip(kept.truth, tile.read(), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert len(kept.prediction.scores)
        assert kept.prediction.shape == kept.truth[0].shape


def test_a_second_run_predicts_only_what_is_missing(weights, tiny_datasets, tmp_path):
    model, folder = tuned_model(weights, tiny_datasets), tmp_path / "work"
    paths = keep_tiles(model, folder)
    before, lost = times(folder), paths[1]
    content = load_tile(lost).prediction
    lost.unlink()  # as if the first run had been killed
    (folder / f".{lost.name}.partial").write_bytes(b"half")
    keep_tiles(model, folder)
    assert {name for name, time in times(folder).items() if before[name] != time} == {lost.name}
    np.testing.assert_array_equal(load_tile(lost).prediction.scores, content.scores)
    assert not list(folder.glob(".*"))


def test_tiles_of_another_model_are_refused(weights, tiny_datasets, tmp_path):
    keep_tiles(tuned_model(weights, tiny_datasets), tmp_path)
    other = tuned_model(weights, tiny_datasets, MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.2)
    with pytest.raises(InputError, match="another config_sha256"):
        keep_tiles(other, tmp_path)
    flipped = replace(tuned_model(weights, tiny_datasets), models=[ModelFiles(CONFIG, weights, "flips")])
    with pytest.raises(InputError, match="another views"):
        keep_tiles(flipped, tmp_path)


def test_decisions_of_the_config_have_no_part_in_the_tiles(weights, tiny_datasets, tmp_path):
    tune_postprocess(tuned_model(weights, tiny_datasets), tmp_path / "rule.yaml", tmp_path / "work", OPTIONS)
    before = times(tmp_path / "work")
    again = tuned_model(weights, tiny_datasets, TEST__DECISIONS=tmp_path / "rule.yaml")
    tune_postprocess(again, tmp_path / "rule.yaml", tmp_path / "work", OPTIONS)
    assert times(tmp_path / "work") == before


def test_splits_without_labels_are_told(weights, tiny_datasets, tmp_path):
    model = TunedModel([ModelFiles(CONFIG, weights)], tiny_datasets / "tiny", ["hold"])
    with pytest.raises(InputError, match="--splits 'hold'"):
        keep_tiles(model, tmp_path)


def test_the_command_writes_rule_and_report_and_compares(weights, tiny_datasets, tmp_path):
    rule, report = tmp_path / "rule.yaml", tmp_path / "report.json"
    command = [sys.executable, str(TUNE), "--config-file", CONFIG, "--weights", weights, "--folds", "2"]
    command += ["--xbd-root", str(tiny_datasets / "tiny"), "--splits", "train", "--output", str(rule)]
    command += ["--json", str(report), "--draws", "50", "--opts", *tiny_overrides()]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "tuned rule, cross-fitted" in run.stdout
    assert len(list((tmp_path / "rule.tiles").glob("*.npz"))) == 3
    content = json.loads(report.read_text())
    assert tuple(content["rule"]["damage_weights"]) == read_rule(rule).damage_weights
    assert "train for model_final.pth (xbd_mrcnn.yaml, views none): 3 tiles" in rule.read_text()
    other = Path(shutil.copy(report, tmp_path / "other.json"))
    compare = [sys.executable, str(TUNE), "--json", str(report), "--against", str(other)]
    run = subprocess.run(compare, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "report (this) against other: 3 tiles" in run.stdout
    compare[-1] = str(report)
    run = subprocess.run(compare, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "expected different reports" in run.stderr


@pytest.mark.parametrize("options", [TuningOptions(folds=4), TuningOptions(folds=2, draws=10**9)])
def test_what_cannot_be_tuned_is_told_before_anything_is_predicted(options, weights, tiny_datasets, tmp_path):
    with pytest.raises(InputError, match="--folds 4|--draws"):
        tune_postprocess(
            tuned_model(weights, tiny_datasets), tmp_path / "rule.yaml", tmp_path / "work", options
        )
    assert not (tmp_path / "work").exists()


def test_an_output_that_cannot_be_written_is_told_before_anything_is_predicted(
    weights, tiny_datasets, tmp_path
):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        tune_postprocess(
            tuned_model(weights, tiny_datasets), tmp_path / "file" / "rule.yaml", tmp_path / "work", OPTIONS
        )
    assert not (tmp_path / "work").exists()


def test_a_second_run_at_the_same_time_is_kept_out(weights, tiny_datasets, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    with sole_writer(tmp_path), pytest.raises(InputError, match="another run writes to it"):
        keep_tiles(tuned_model(weights, tiny_datasets), tmp_path)
    keep_tiles(tuned_model(weights, tiny_datasets), tmp_path)


def test_tiles_of_an_older_version_of_the_code_are_refused(weights, tiny_datasets, tmp_path, monkeypatch):
    model = tuned_model(weights, tiny_datasets)
    keep_tiles(model, tmp_path)
    monkeypatch.setattr(inference_folder, "PREDICTIONS_VERSION", inference_folder.PREDICTIONS_VERSION + 1)
    with pytest.raises(InputError, match="another version"):
        keep_tiles(model, tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--json", "x.json"], ["--weights", "w", "--splits", "val"]])
def test_half_a_command_is_wrong_input(arguments):
    run = subprocess.run([sys.executable, str(TUNE), *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "error:" in run.stderr


def parted(folder: Path, parts: dict[str, tuple[str, ...]]) -> Path:
    """A split file of the tiles of ``train``."""
    path = folder / "split_cv.json"
    write_split(path, Split("cv", ("train",), {}, parts))
    return path


PARTS = {"a": ("train/test-flood_00000000", "train/test-flood_00000002"), "b": ("train/test-flood_00000001",)}


def test_each_model_predicts_the_part_that_stands_at_its_place(weights, tiny_datasets, tmp_path):
    torch.manual_seed(1)
    SkyeyeCheckpointer(PairTrainer.build_model(tiny_config()), str(tmp_path)).save("other")
    models = [ModelFiles(CONFIG, weights), ModelFiles(CONFIG, str(tmp_path / "other.pth"))]
    split_file = parted(tmp_path, PARTS)
    tuned = replace(
        tuned_model(weights, tiny_datasets),
        models=models,
        splits=["a", "b"],
        split_file=split_file,
        out_of_fold=True,
    )
    report = tune_postprocess(tuned, tmp_path / "rule.yaml", tmp_path / "work", OPTIONS)
    assert report["tiles"]["scenes"] == [f"test-flood_{number:08d}" for number in range(3)]
    assert report["model"]["out_of_fold"]
    for number, (model, scenes) in enumerate(zip(models, PARTS.values(), strict=True), start=1):
        alone = replace(tuned_model(weights, tiny_datasets), models=[model])
        expected = {path.name: path for path in keep_tiles(alone, tmp_path / f"alone{number}")}
        found = sorted((tmp_path / "work" / str(number)).glob("*.npz"))
        assert [path.stem for path in found] == [scene.partition("/")[2] for scene in scenes]
        for path in found:
            np.testing.assert_array_equal(
                load_tile(path).prediction.scores, load_tile(expected[path.name]).prediction.scores
            )


def test_ensembles_predict_out_of_fold_too(weights, tiny_datasets, tmp_path):
    first = [ModelFiles(CONFIG, path, "flips") for path in ("a.pth", "b.pth")]
    second = [ModelFiles(CONFIG, "c.pth"), ModelFiles(CONFIG, "d.pth")]
    tuned = replace(tuned_model(weights, tiny_datasets), models=[*first, *second], splits=["a", "b"])
    folds = replace(tuned, out_of_fold=True).by_fold()
    assert [fold.models for fold in folds] == [[first[0], second[0]], [first[1], second[1]]]
    assert [(fold.splits, fold.out_of_fold) for fold in folds] == [(["a"], False), (["b"], False)]
    again = [ModelFiles(CONFIG, each.weights, "d4") for each in first]  # the same models, seen otherwise
    assert len(replace(tuned, models=[*first, *again], out_of_fold=True).by_fold()) == 2


@pytest.mark.parametrize(
    ("models", "told"),
    [
        (["a d4", "b d4", "c none", "d d4"], "one --tta"),
        (["a d4", "b none", "c d4", "d none"], "one --tta"),  # fold by fold
        (["a d4", "b d4", "c none", "a none"], "a checkpoint of its own"),
        (["a d4", "a d4"], "a checkpoint of its own"),
    ],
)
def test_mixed_models_out_of_fold_are_refused(models, told, weights, tiny_datasets):
    files = [ModelFiles(CONFIG, *each.split()) for each in models]
    tuned = replace(tuned_model(weights, tiny_datasets), models=files, splits=["x", "y"], out_of_fold=True)
    with pytest.raises(InputError, match=f"--out-of-fold: .*{told}"):
        tuned.by_fold()


def test_the_rule_and_the_kept_tiles_need_two_names(weights, tiny_datasets, tmp_path):
    with pytest.raises(InputError, match=r"rule\.tiles: expected another name than that of the kept tiles"):
        tune_postprocess(tuned_model(weights, tiny_datasets), tmp_path / "rule.tiles", None, OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("splits", "count"), [(["a", "a"], 2), (["a", "b"], 1), (["a", "b"], 3)])
def test_out_of_fold_wants_a_checkpoint_for_each_split(splits, count, weights, tiny_datasets, tmp_path):
    split_file = parted(tmp_path, PARTS)
    models = [ModelFiles(CONFIG, weights)] * count
    tuned = replace(tuned_model(weights, tiny_datasets), models=models, splits=splits)
    tuned = replace(tuned, split_file=split_file, out_of_fold=True)
    with pytest.raises(InputError, match="expected a checkpoint for each split"):
        tune_postprocess(tuned, tmp_path / "rule.yaml", tmp_path / "work", TuningOptions(folds=2, draws=20))
    assert not (tmp_path / "work").exists()


def test_a_part_that_the_split_does_not_have_is_told(weights, tiny_datasets, tmp_path):
    tuned = replace(
        tuned_model(weights, tiny_datasets),
        splits=["a", "c"],
        split_file=parted(tmp_path, PARTS),
    )
    with pytest.raises(InputError, match=r"split_cv\.json: expected parts a, b, found c"):
        keep_tiles(tuned, tmp_path / "work")


def test_a_split_of_other_tiles_is_told(weights, tiny_datasets, tmp_path):
    split_file = parted(tmp_path, PARTS | {"c": ("train/test-flood_00000009",)})
    tuned = replace(tuned_model(weights, tiny_datasets), splits=["a"], split_file=split_file)
    with pytest.raises(InputError, match="tiles of the split are missing"):
        keep_tiles(tuned, tmp_path / "work")


def test_a_rule_of_other_tiles_is_judged_and_left_as_it_is(weights, tiny_datasets, tmp_path):
    rule = tmp_path / "given.yaml"
    write_rule(rule, replace(DecisionRule(), score_threshold=0.2, damage_weights=(1.0, 2.0, 1.0, 1.0)), [])
    before, report = rule.read_bytes(), tmp_path / "report.json"
    command = [sys.executable, str(TUNE), "--config-file", CONFIG, "--weights", weights, "--folds", "2"]
    command += ["--xbd-root", str(tiny_datasets / "tiny"), "--splits", "train", "--rule", str(rule)]
    command += ["--json", str(report), "--draws", "50", "--opts", *tiny_overrides()]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "--rule and --work" in run.stderr
    run = subprocess.run(
        [*command, "--pixels-for", "localization"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert "--pixels-for is of a rule that is tuned" in run.stderr
    run = subprocess.run(
        [*command, "--work", str(tmp_path / "work")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "given rule above argmax" in run.stdout
    assert "tuned rule" not in run.stdout
    assert rule.read_bytes() == before
    content = json.loads(report.read_text())
    judged = [load_tile(path) for path in sorted((tmp_path / "work").glob("*.npz"))]
    expected = [count_pixels(*tile.prediction.rasterize(read_rule(rule)), *tile.truth) for tile in judged]
    assert content["tiles"]["tuned"] == [counts.as_array().tolist() for counts in expected]


def test_a_rule_is_tuned_or_judged_and_not_both(weights, tiny_datasets, tmp_path):
    options = replace(OPTIONS, rule=DecisionRule())
    with pytest.raises(InputError, match="--output to tune a rule, or --rule and --work"):
        tune_postprocess(
            tuned_model(weights, tiny_datasets), tmp_path / "rule.yaml", tmp_path / "work", options
        )
    assert not (tmp_path / "work").exists()
