"""``skyeye assess`` ends with a page of its result."""

import json
from pathlib import Path

import assess_runs
import numpy as np
import pytest
from saved_models import CONFIG
from scenes import ground, write
from tiny_model import tiny_overrides

import skyeye_det
from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.engine import assessment_results
from skyeye_det.engine.models import Models
from skyeye_det.errors import InputError


def run(folder: Path, weights: str, before: np.ndarray, **more: object) -> Path:
    """Assesses a scene that has not changed, into ``out`` of a folder."""
    sides = {side: folder / f"{side}.tif" for side in ("pre", "post")}
    for lighter, path in enumerate(sides.values()):
        if not path.exists():
            write(path, before + np.uint8(lighter) * (before > 0))
    write_rule(folder / "rule.yaml", DecisionRule(score_threshold=0.0, outline="mask"), [])
    own = {"config_file": CONFIG, "weights": weights, "opts": tiny_overrides(), "window": 192, "overlap": 64}
    skyeye_det.assess(**sides, output=folder / "out", decisions=str(folder / "rule.yaml"), **own, **more)
    return folder / "out"


def meta(output: Path) -> dict:
    return json.loads((output / "report" / "meta.js").read_text()[len("skyeye.meta(") : -3])


def test_the_last_line_names_the_page_which_tells_what_was_found(weights, tmp_path, capsys) -> None:
    output = run(tmp_path, weights, ground())
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("--pre and --post are nearly alike: edges correlate by ")
    assert f"open {output / 'report' / 'index.html'}, or damage.gpkg in a GIS" in last
    assert (output / "report" / "index.html").is_file()
    page, record = meta(output), json.loads((output / "run.json").read_text())
    assert sum(page["chunks"].values()) == page["buildings"] > 10
    assert page["run_id"] == record["run_id"]
    assert page["seen_share"] == record["seen_share"] == 1
    assert page["outlines"] == "right-angled"
    assert page["tiles"] == {"pre": {"0": "1", "1": "1111"}, "post": {"0": "1", "1": "1111"}}


def test_a_run_killed_while_its_page_is_drawn_is_taken_up(pair, rule, weights, assessed, monkeypatch) -> None:
    again = pair, assessed, weights, rule, "--outlines", "mask"
    with monkeypatch.context() as patch:
        patch.setattr(assessment_results, "write_page", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            assess_runs.run(*again)
    assert not (assessed / "run.json").exists()
    assert not (assessed / "report").exists()  # of an earlier result
    assess_runs.run(*again)
    assert meta(assessed)["outlines"] == "mask"
    assert (assessed / "run.json").is_file()


def test_a_scene_without_a_pixel_has_a_page_without_tiles(weights, tmp_path) -> None:
    output = run(tmp_path, weights, np.zeros((3, 320, 400), np.uint8))
    assert meta(output)["buildings"] == 0
    assert meta(output)["tiles"]["pre"] == {"0": "0", "1": "0000"}
    assert not list((output / "report").glob("tiles/*/*"))


def test_a_folder_of_that_name_is_told_before_anything_is_predicted(weights, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(Models, "load", None)
    (tmp_path / "out" / "report").mkdir(parents=True)
    with pytest.raises(InputError, match="report: expected the page of an earlier run, or nothing"):
        run(tmp_path, weights, ground())
