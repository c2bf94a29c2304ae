"""A rule tuned for a tiny model with random weights, by the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det import files
from skyeye_det.commands import infer
from skyeye_det.commands.tune_postprocess import main
from skyeye_det.data.split_file import Split, write_split
from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule, read_rule, write_rule
from skyeye_det.decision.tuning.tiles import load_truth
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.engine.tuning import models_by_fold
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import tiles_from_labels
from skyeye_det.prediction.store import load_prediction
from skyeye_det.xview2.score import count_pixels

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
PARTS = {"a": ("train/test-flood_00000000", "train/test-flood_00000002"), "b": ("train/test-flood_00000001",)}


def tune(weights: str, datasets: Path, *options: str, **changes: object) -> None:
    words = ["--config-file", CONFIG, "--weights", weights, "--xbd-root", str(datasets / "tiny")]
    words += ["--folds", "2", "--draws", "20", "--workers", "1"]
    splits = [] if "--splits" in options else ["--splits", "train"]
    main([*words, *splits, *options, "--opts", *tiny_overrides(**changes)])


def predict(weights: str, datasets: Path, output: Path) -> None:
    words = ["--config-file", CONFIG, "--weights", weights, "--images", str(datasets / "tiny" / "train")]
    infer.main([*words, "--output", str(output), "--opts", *tiny_overrides()])


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npz")}


def test_the_command_writes_rule_and_report_and_compares(weights, tiny_datasets, tmp_path, capsys):
    rule, report = tmp_path / "rule.yaml", tmp_path / "report.json"
    tune(weights, tiny_datasets, "--output", str(rule), "--json", str(report))
    assert "tuned rule, cross-fitted" in capsys.readouterr().out
    assert len(times(tmp_path / "rule.tiles")) == len(times(tmp_path / "rule.tiles" / "truth")) == 3
    content = json.loads(report.read_text())
    assert tuple(content["rule"]["damage_weights"]) == read_rule(rule).damage_weights
    assert "train for model_final.pth (xbd_mrcnn.yaml, views none): 3 tiles" in rule.read_text()
    other = Path(shutil.copy(report, tmp_path / "other.json"))
    main(["--json", str(report), "--against", str(other), "--draws", "20"])
    assert "report (this) against other: 3 tiles" in capsys.readouterr().out
    for tile in tiles_from_labels(tiny_datasets / "tiny", ["train"]):
        kept = load_truth(tmp_path / "rule.tiles" / "truth" / f"{tile.scene}@0-0.npz")
        for found, expected in zip(kept, tile.read()[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_what_inference_kept_is_tuned_on_without_a_model(weights, tiny_datasets, tmp_path, capsys):
    predict(weights, tiny_datasets, tmp_path / "out")
    write_rule(tmp_path / "rule.yaml", DecisionRule(score_threshold=0.2), [])
    rule = ["--rule", str(tmp_path / "rule.yaml")]
    words = ["--predictions", str(tmp_path / "out"), "--xbd-root", str(tiny_datasets / "tiny")]
    words += ["--splits", "train", "--folds", "2", "--draws", "20", "--workers", "1", *rule]
    words += ["--work", str(tmp_path / "kept")]
    main([*words, "--json", str(tmp_path / "kept.json")])
    tune(weights, tiny_datasets, *rule, "--work", str(tmp_path / "own"), "--json", str(tmp_path / "own.json"))
    kept, own = (json.loads((tmp_path / name).read_text())["tiles"] for name in ("kept.json", "own.json"))
    assert kept == own
    next((tmp_path / "out" / "predictions").glob("*.npz")).unlink()
    with pytest.raises(InputError, match="expected predictions of test-flood"):
        main(words)


def test_a_second_run_predicts_only_what_is_missing_whatever_the_rule(weights, tiny_datasets, tmp_path):
    write_rule(tmp_path / "rule.yaml", DecisionRule(score_threshold=0.2), [])
    options = "--rule", str(tmp_path / "rule.yaml"), "--work", str(tmp_path / "work")
    tune(weights, tiny_datasets, *options)
    before = times(tmp_path / "work")
    lost = tmp_path / "work" / next(iter(before))
    lost.unlink()  # as if the first run had been killed
    (tmp_path / "work" / f".{lost.name}.partial").write_bytes(b"half")
    tune(weights, tiny_datasets, *options, TEST__DECISIONS=tmp_path / "rule.yaml")
    assert {name for name, time in times(tmp_path / "work").items() if before[name] != time} == {lost.name}
    assert not list((tmp_path / "work").glob(".*"))
    with pytest.raises(InputError, match="another config.0.MODEL.ROI_HEADS.SCORE_THRESH_TEST"):
        tune(weights, tiny_datasets, *options, MODEL__ROI_HEADS__SCORE_THRESH_TEST=0.2)


def test_a_given_rule_is_judged_and_left_as_it_is(weights, tiny_datasets, tmp_path, capsys):
    rule, report = tmp_path / "given.yaml", tmp_path / "report.json"
    write_rule(rule, DecisionRule(score_threshold=0.2, damage_weights=(1.0, 2.0, 1.0, 1.0)), [])
    before, work = rule.read_bytes(), tmp_path / "work"
    tune(weights, tiny_datasets, "--rule", str(rule), "--json", str(report), "--work", str(work))
    printed = capsys.readouterr().out
    assert "given rule above argmax" in printed
    assert "tuned rule" not in printed
    assert rule.read_bytes() == before
    counts = []
    for path in sorted(work.glob("*.npz")):
        found = decide(load_prediction(path), read_rule(rule)).rasterize()
        counts.append(count_pixels(*found, *load_truth(work / "truth" / path.name)).as_array().tolist())
    assert json.loads(report.read_text())["tiles"]["tuned"] == counts


def test_a_rule_for_an_assessment_is_written_and_judged(weights, tiny_datasets, tmp_path, capsys):
    rule, report, work = tmp_path / "rule.yaml", tmp_path / "report.json", tmp_path / "work"
    options = "--purpose", "assessment", "--work", str(work)
    tune(weights, tiny_datasets, *options, "--output", str(rule), "--json", str(report))
    assert "assessment rule, cross-fitted" in capsys.readouterr().out
    found = read_rule(rule)
    assert (found.purpose, found.outline) == ("assessment", "mask")
    assert "--purpose assessment on train for model_final.pth" in rule.read_text()
    content = json.loads(report.read_text())
    assert content["purpose"] == content["rule"]["purpose"] == "assessment"
    assert tuple(content["rule"]["damage_weights"]) == found.damage_weights
    assert len(content["tiles"]["tuned"]) == 3
    tune(weights, tiny_datasets, *options, "--rule", str(rule), "--json", str(report))
    assert "given rule" in capsys.readouterr().out
    judged = json.loads(report.read_text())
    assert judged["tiles"]["tuned"] == content["tiles"]["tuned_in_sample"]


def test_each_model_predicts_the_part_that_stands_at_its_place(weights, tiny_datasets, tmp_path):
    torch.manual_seed(1)
    SkyeyeCheckpointer(build_pair_model(tiny_config()), str(tmp_path)).save("other")
    other = str(tmp_path / "other.pth")
    write_split(tmp_path / "split_cv.json", Split("cv", ("train",), {}, PARTS))
    options = ["--split-file", str(tmp_path / "split_cv.json"), "--splits", "a", "b", "--out-of-fold"]
    write_rule(tmp_path / "rule.yaml", DecisionRule(), [])
    options += ["--rule", str(tmp_path / "rule.yaml"), "--work", str(tmp_path / "work")]
    tune(weights, tiny_datasets, "--weights", other, *options)
    for number, (model, scenes) in enumerate(zip((weights, other), PARTS.values(), strict=True), start=1):
        alone = tmp_path / f"alone{number}"
        predict(model, tiny_datasets, alone)
        found = sorted((tmp_path / "work" / str(number)).glob("*.npz"))
        assert [path.stem.partition("@")[0] for path in found] == [name.partition("/")[2] for name in scenes]
        for path in found:
            expected = load_prediction(alone / "predictions" / path.name)
            np.testing.assert_array_equal(load_prediction(path).scores, expected.scores)


def test_ensembles_predict_out_of_fold_too() -> None:
    first = [ModelFiles(CONFIG, path, "flips") for path in ("a.pth", "b.pth")]
    second = [ModelFiles(CONFIG, "c.pth"), ModelFiles(CONFIG, "d.pth")]
    expected = [[first[0], second[0]], [first[1], second[1]]]
    assert models_by_fold([*first, *second], ["a", "b"]) == expected
    again = [ModelFiles(CONFIG, each.weights, "d4") for each in first]  # the same models, seen otherwise
    assert len(models_by_fold([*first, *again], ["a", "b"])) == 2


@pytest.mark.parametrize(
    ("models", "splits", "sentence"),
    [
        (["a d4", "b d4", "c none", "d d4"], "xy", "one --tta"),
        (["a d4", "b none", "c d4", "d none"], "xy", "one --tta"),  # fold by fold
        (["a d4", "b d4", "c none", "a none"], "xy", "a checkpoint of its own"),
        (["a d4", "a d4"], "xy", "a checkpoint of its own"),
        (["a d4", "b d4"], "xx", "a checkpoint for each split"),
        (["a d4"], "xy", "a checkpoint for each split"),
        (["a d4", "b d4", "c d4"], "xy", "a checkpoint for each split"),
    ],
)
def test_models_that_do_not_fit_the_splits_are_refused(models, splits, sentence) -> None:
    with pytest.raises(InputError, match=f"--out-of-fold: .*{sentence}"):
        models_by_fold([ModelFiles(CONFIG, *each.split()) for each in models], list(splits))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--output", "{}/rule.yaml", "--folds", "4"], "--folds 4"),
        (["--output", "{}/rule.yaml", "--draws", "1000000000"], "--draws"),
        (["--output", "{}/rule.tiles"], "expected another name than that of the kept tiles"),
        (["--output", "{}/rule.yaml", "--splits", "hold"], "--splits 'hold'"),
        (["--output", "/dev/null/rule.yaml", "--work", "{}/work"], "cannot be written"),
    ],
)
def test_wrong_input_is_reported_before_anything_is_predicted(
    weights, tiny_datasets, tmp_path, options, sentence
):
    with pytest.raises(InputError, match=sentence):
        tune(weights, tiny_datasets, *(option.format(tmp_path) for option in options))
    assert not list(tmp_path.iterdir())


def test_a_second_run_at_the_same_time_is_kept_out(weights, tiny_datasets, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    with files.sole_writer(tmp_path / "w"), pytest.raises(InputError, match="another run writes to it"):
        tune(weights, tiny_datasets, "--output", str(tmp_path / "r.yaml"), "--work", str(tmp_path / "w"))


@pytest.mark.parametrize(
    "words",
    [
        "",
        "--json x.json",
        "--weights w --splits val",
        "--predictions p --weights w --xbd-root r --splits val --output o",
        "--config-file c --weights w --xbd-root r --splits val --output o --rule x",
        "--config-file c --weights w --xbd-root r --splits val --rule x",
        "--config-file c --weights w --xbd-root r --splits val --rule x --work k --pixels-for localization",
        "--json x.json --against x.json",
        "--predictions p --xbd-root r --splits val --output o --purpose assessment --pixels-for localization",
        "--predictions p --xbd-root r --splits val --output o --purpose assessment --json x --against y",
    ],
)
def test_half_a_command_is_wrong_input(words: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
