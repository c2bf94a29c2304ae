"""A rule tuned for a tiny model with random weights, by the command and by what it calls."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det import files
from skyeye_det.engine import inference_folder
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.pair_predictor import ModelFiles
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.engine.tuning_command import TunedModel, keep_tiles, tune_postprocess
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import tiles_from_labels
from skyeye_det.evaluation.tuning import TuningOptions
from skyeye_det.evaluation.tuning_files import load_tile
from skyeye_det.files import sole_writer
from skyeye_det.postprocessing.decision import read_rule

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
TUNE = Path(__file__).resolve().parents[2] / "tools" / "tune_postprocess.py"
OPTIONS = TuningOptions(folds=2, draws=20)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    SkyeyeCheckpointer(PairTrainer.build_model(tiny_config()), str(folder)).save("model_final")
    return str(folder / "model_final.pth")


def tuned_model(weights: str, datasets: Path, **changes) -> TunedModel:
    return TunedModel(
        [ModelFiles(CONFIG, weights)], datasets / "tiny", ["train"], "none", tiny_overrides(**changes)
    )


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
    flipped = TunedModel(other.models, other.xbd_root, other.splits, "flips", tiny_overrides())
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
