"""True buildings graded where they stand: by a stub whose grades are known, and by tiny models."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Instances
from tiny_model import CONFIGS, tiny_overrides

from skyeye_det.engine import footprint_score
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.footprint_score import (
    footprint_instances,
    footprint_owners,
    format_footprint_scores,
    score_footprints,
)
from skyeye_det.errors import InputError
from skyeye_det.evaluation.official_truth import paint_annotations
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.postprocessing.decision import DecisionRule, write_rule

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
SEMANTIC = str(CONFIGS / "semantic" / "unet_lite0.yaml")
TOOL = Path(__file__).resolve().parents[2] / "tools" / "score_footprints.py"


def read_grades(image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Probabilities (N, 4) off the post image, whose buildings are 220 - 50 * grade."""
    centres = ((boxes[:, :2] + boxes[:, 2:]) / 2).long()
    values = image[3:].float().mean(dim=0)[centres[:, 1], centres[:, 0]]
    grades = ((220 - values) / 50).round().long().clamp(0, 3)
    return 0.05 + 0.8 * torch.eye(4)[grades]


class Grader(PairRCNN):
    """Sees the true grades; keeps the images that it was shown."""

    def __init__(self, shown: list[torch.Tensor], bias: tuple[float, ...] = (1, 1, 1, 1)):
        torch.nn.Module.__init__(self)
        self.shown, self.bias = shown, torch.tensor(bias)

    def grade(self, batched_inputs: list[dict], footprints: list[Instances]) -> list[Instances]:
        (pair,), (given,) = batched_inputs, footprints
        self.shown.append(pair["image"])
        probs = read_grades(pair["image"], given.pred_boxes.tensor) * self.bias
        given.pred_damage_probs = probs / probs.sum(dim=1, keepdim=True)
        return [given]


def graded(
    monkeypatch: pytest.MonkeyPatch, *arguments: Any, bias=(1, 1, 1, 1), dataset="tiny_val", **options
):
    """Rows with a ``Grader``, and the images that it saw."""
    shown: list[torch.Tensor] = []
    monkeypatch.setattr(footprint_score, "build_pair_model", lambda cfg: Grader(shown, bias))
    monkeypatch.setattr(SkyeyeCheckpointer, "load_whole_model", lambda self, path: None)
    return score_footprints(CONFIG, "", dataset, *arguments, **options), shown


def test_perfect_grades_give_a_damage_f1_of_one(tiny_datasets, monkeypatch):
    (row,), shown = graded(monkeypatch, overrides=tiny_overrides())
    values = row.as_dict()
    # An un-classified building and a tile without buildings are among them.
    assert len(shown) == 2
    assert values["damage_f1"] == pytest.approx(1, abs=1e-5)
    assert values["localization_f1"] == 1
    assert (values["shift"], values["fold_rules"]) == (0, [])


def test_wrong_grades_are_told_by_class(tiny_datasets, monkeypatch):
    (row,), _ = graded(monkeypatch, overrides=tiny_overrides(), bias=(1, 1, 1e-3, 1))
    values = row.as_dict()
    assert values["damage_f1_major_damage"] == 0
    assert values["damage_f1_destroyed"] == 1
    assert values["damage_f1"] < 1e-4


def test_decisions_of_the_config_decide(tiny_datasets, monkeypatch, tmp_path):
    write_rule(tmp_path / "rule.yaml", DecisionRule(damage_weights=(1.0, 1.0, 1e3, 1.0)))
    overrides = tiny_overrides(TEST__DECISIONS=tmp_path / "rule.yaml")
    (row,), _ = graded(monkeypatch, overrides=overrides, bias=(1, 1, 1e-3, 1))
    assert row.as_dict()["damage_f1"] == pytest.approx(1, abs=1e-5)


def test_only_the_post_image_moves_by_whole_px_in_four_directions_in_turn(tiny_datasets, monkeypatch):
    _, shown = graded(monkeypatch, (0, 5), overrides=tiny_overrides(), dataset="tiny_train")
    for tile, (dx, dy) in enumerate(((5, 0), (0, 5), (-5, 0))):
        still, moved = (image.numpy() for image in shown[2 * tile : 2 * tile + 2])
        np.testing.assert_array_equal(moved[:3], still[:3])
        # What lay at (y, x) lies at (y + dy, x + dx).
        height, width = still.shape[1:]
        kept = still[3:, max(-dy, 0) : height - max(dy, 0), max(-dx, 0) : width - max(dx, 0)]
        found = moved[3:, max(dy, 0) : height - max(-dy, 0), max(dx, 0) : width - max(-dx, 0)]
        np.testing.assert_array_equal(found, kept)
        assert not np.array_equal(moved[3:], still[3:])


def test_a_shift_that_leaves_the_building_behind_costs_score(tiny_datasets, monkeypatch):
    rows, _ = graded(monkeypatch, (0, 30), overrides=tiny_overrides(), dataset="tiny_train")
    assert [row.shift for row in rows] == [0, 30]
    assert rows[1].as_dict()["damage_f1"] < rows[0].as_dict()["damage_f1"]
    table = format_footprint_scores(rows).splitlines()
    assert table[-2].split()[:5] == ["0", "px", "1.000", "1.000", "1.000"]
    assert table[-1].startswith("30 px")


def test_cross_fit_mends_a_bias_and_says_how(tiny_datasets, monkeypatch):
    tile = DatasetCatalog.get("tiny_val")[0]
    town = [tile | {"scene": f"{tile['scene']}-{number}"} for number in range(6)]
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: town)
    bias = (40, 1, 1, 1)  # plain argmax always says no damage
    rows, _ = graded(monkeypatch, (4, 0), overrides=tiny_overrides(), bias=bias, cross_fit=True)
    assert [row.shift for row in rows] == [4, 0, 0]
    plain, fitted = (row.as_dict() for row in rows[1:])
    assert plain["damage_f1_destroyed"] == 0
    assert fitted["damage_f1"] == pytest.approx(1, abs=1e-5)
    assert fitted["localization_f1"] == 1
    assert len(fitted["fold_rules"]) == 5
    assert all(len(rule["damage_weights"]) == 4 for rule in fitted["fold_rules"])
    assert format_footprint_scores(rows).splitlines()[-1].startswith("0 px, weights cross-fitted")
    json.dumps(fitted)


def test_cross_fit_of_equal_weights_is_the_plain_row(tiny_datasets, monkeypatch):
    rows, _ = graded(monkeypatch, overrides=tiny_overrides(), dataset="tiny_train", cross_fit=True)
    assert rows[1].counts.tp.tolist() == rows[0].counts.tp.tolist()
    assert rows[1].counts.fp.tolist() == rows[0].counts.fp.tolist()


def test_cross_fit_needs_shift_0_and_two_tiles(tiny_datasets, monkeypatch):
    with pytest.raises(InputError, match=r"--cross-fit: expected 0 among --shifts.*\[4\]"):
        graded(monkeypatch, (4,), overrides=tiny_overrides(), cross_fit=True)
    tile = DatasetCatalog.get("tiny_val")[:1]
    monkeypatch.setattr(DatasetCatalog, "get", lambda name: tile)
    with pytest.raises(InputError, match="--cross-fit: expected at least 2 tiles.*found 1"):
        graded(monkeypatch, overrides=tiny_overrides(), cross_fit=True)


def test_footprints_stand_where_their_masks_are(tiny_datasets):
    tile, empty = DatasetCatalog.get("tiny_val")
    found = footprint_instances(tile, 28)
    assert found.pred_boxes.tensor[:2].tolist() == [[8, 8, 33, 29], [48, 8, 73, 29]]
    assert found.pred_masks.shape == (5, 1, 28, 28)
    assert found.pred_masks.min() == 1
    none = footprint_instances(empty, 28)
    assert (len(none.pred_boxes), tuple(none.pred_masks.shape)) == (0, (0, 1, 28, 28))


def test_building_outside_its_tile_is_graded_and_owns_nothing(tiny_datasets, weights):
    tile = DatasetCatalog.get("tiny_val")[0]
    outside = tile["annotations"][0] | {"segmentation": [[500.0, 500, 520, 500, 520, 520]]}
    tile = tile | {"annotations": [outside, *tile["annotations"]]}
    found = footprint_instances(tile, 28)
    assert found.pred_masks[0].max() == 0
    assert set(np.unique(footprint_owners(tile))) == {-1, 1, 2, 3, 4, 5}


def test_owners_are_those_of_the_painted_targets(tiny_datasets):
    tile = DatasetCatalog.get("tiny_val")[0]
    # One over the other, as overlapping labels are.
    shifted = [value + 6 for value in tile["annotations"][1]["segmentation"][0]]
    tile = tile | {
        "annotations": [*tile["annotations"], {"segmentation": [shifted], "damage": 3, "uid": "u"}]
    }
    owner = footprint_owners(tile)
    localization, damage = paint_annotations(tile)
    grades = np.array([each["damage"] for each in tile["annotations"]] + [-1])
    np.testing.assert_array_equal(owner >= 0, localization > 0)
    np.testing.assert_array_equal(grades[owner] + 1, damage)


def test_a_model_grades_classified_unclassified_and_empty_tiles(tiny_datasets, weights):
    rows = score_footprints(CONFIG, weights, "tiny_val", (0, 3), tiny_overrides(), cross_fit=True)
    for row in rows:
        assert row.as_dict()["localization_f1"] == 1
        # Four classified squares of 25 x 21 px each.
        assert (row.counts.tp + row.counts.fn)[1:].tolist() == [525] * 4
        assert row.counts.tp[1:].sum() + row.counts.fp[1:].sum() == 2100


def test_a_semantic_model_is_refused_in_a_sentence(tiny_datasets):
    overrides = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.BACKBONE.NAME", "tu-test_efficientnet"]
    with pytest.raises(InputError, match=r"expected a model of instances .* found SemanticPair") as told:
        score_footprints(SEMANTIC, "", "tiny_val", overrides=overrides)
    assert "\n" not in str(told.value)


def test_the_command_prints_the_table_and_writes_the_rows(tiny_datasets, weights, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tiny_datasets))
    command = [sys.executable, str(TOOL), "--config-file", CONFIG, "--weights", weights, "--cross-fit"]
    command += ["--dataset", "tiny_val", "--shifts", "0", "2", "--json", str(tmp_path / "rows.json")]
    run = subprocess.run([*command, "--opts", *tiny_overrides()], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()[-3:]
    assert [line.split("  ")[0] for line in lines] == ["0 px", "2 px", "0 px, weights cross-fitted"]
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [row["shift"] for row in rows] == [0, 2, 0]
    assert len(rows[2]["fold_rules"]) == 2
