import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from tuning_tiles import SHAPE, KeptTile, keep, random_instances, random_tile, village

from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule, read_rule, write_rule
from skyeye_det.decision.tuning.counts import GroupCounts
from skyeye_det.decision.tuning.report import ARGMAX, DEFAULT, FLATTERING, TUNED, format_tuning
from skyeye_det.decision.tuning.search import GRIDS, TIE, Search, tuned_rule
from skyeye_det.decision.tuning.tiles import BlockCounts, KnownWindow
from skyeye_det.decision.tuning.tune import TuningOptions, rule_remarks, tune_rule
from skyeye_det.decision.tuning.weights import localization_f1, rule_score
from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes
from skyeye_det.xview2.score import PixelCounts, count_pixels

OPTIONS = TuningOptions(folds=3, draws=200)


@pytest.fixture(scope="module")
def villages(tmp_path_factory: pytest.TempPathFactory) -> list[KnownWindow]:
    return keep(tmp_path_factory.mktemp("villages"), [village(seed) for seed in range(9)])


@pytest.fixture(scope="module")
def tuned(villages: list[KnownWindow]) -> tuple[DecisionRule, dict]:
    return tune_rule(villages, OPTIONS)


def test_rare_class_that_argmax_misses_is_found_on_tiles_not_tuned_on(tuned) -> None:
    rule, report = tuned
    rows = report["rows"]
    assert rows[ARGMAX]["damage_f1_minor_damage"] == 0
    assert rows[TUNED]["damage_f1_minor_damage"] > 0.7
    assert rows[TUNED]["score"] > rows[ARGMAX]["score"] + 0.4
    assert report["share_over_argmax"]["score"] == 1
    assert rule.damage_weights[1] > rule.damage_weights[0]
    assert all(fold["damage_weights"][1] > 1.3 for fold in report["fold_rules"])


def test_cross_fitted_score_is_that_of_rasterizing_each_tile_by_its_fold_rule(tuned, villages) -> None:
    rule, report = tuned
    folds = [DecisionRule(**fold) for fold in report["fold_rules"]]
    for name, rules in (
        (TUNED, [folds[fold] for fold in report["tiles"]["folds"]]),
        (FLATTERING, [rule] * len(villages)),
        (DEFAULT, [DecisionRule()] * len(villages)),
    ):
        tiles = [window.read() for window in villages]
        counts = [
            count_pixels(*decide(prediction, own).rasterize(), *truth)
            for (prediction, truth), own in zip(tiles, rules, strict=True)
        ]
        assert PixelCounts.total(counts).score() == report["rows"][name]["official"]
        np.testing.assert_array_equal(
            report["tiles"][name], [np.stack([one.tp, one.fp, one.fn]) for one in counts]
        )


def test_a_folds_rule_does_not_know_the_fold(tuned, villages, tmp_path: Path) -> None:
    _, report = tuned
    folds = report["tiles"]["folds"]
    changed = keep(
        tmp_path,
        [
            KeptTile(prediction, (truth[0], truth[1][::-1].copy() if fold == 0 else truth[1]))
            for (prediction, truth), fold in zip((each.read() for each in villages), folds, strict=True)
        ],
    )
    _, other = tune_rule(changed, OPTIONS)
    assert other["tiles"]["folds"] == folds  # the same share of classes, so the same deal
    assert other["fold_rules"][0] == report["fold_rules"][0]
    assert other["rows"][TUNED]["score"] != report["rows"][TUNED]["score"]


def test_same_seed_gives_the_same_report_with_any_number_of_workers(tuned, villages, monkeypatch) -> None:
    monkeypatch.setattr("skyeye_det.decision.tuning.tiles._LEAST_COUNTED", 130)
    _, again = tune_rule(villages, TuningOptions(folds=3, draws=200, workers=2))
    again["options"]["workers"] = 1
    assert json_bytes(again) == json_bytes(tuned[1])


def test_rule_file_is_read_back_with_its_remarks(tuned, tmp_path: Path) -> None:
    rule, report = tuned
    write_rule(tmp_path / "rule.yaml", rule, rule_remarks(report, "val"))
    assert read_rule(tmp_path / "rule.yaml") == rule
    text = (tmp_path / "rule.yaml").read_text()
    assert f"cross-fitted over 3 folds of tiles: {report['rows'][TUNED]['score']:.4f}" in text
    assert max(map(len, text.splitlines())) < 250


def test_report_is_text_and_json(tuned) -> None:
    _, report = tuned
    text = format_tuning(report)
    assert "tuned rule, cross-fitted" in text
    assert "(flatters)" in text
    assert "100.0 % of 200 paired draws" in text
    assert f"{report['calibration']['before']['ece']:.4f}" in text
    content = json.loads(json_bytes(report))
    assert len(content["tiles"]["scenes"]) == len(content["tiles"][TUNED]) == 9


@pytest.mark.parametrize("kind", ["hybrid", "pixels"])
def test_both_kinds_of_prediction_are_tuned(kind: str, tmp_path: Path) -> None:
    paths = keep(tmp_path, [random_tile(kind, seed, 12) for seed in range(2)])
    rule, report = tune_rule(paths, TuningOptions(folds=2, draws=20))
    assert report["rows"][FLATTERING]["score"] > report["rows"][DEFAULT]["score"]
    if kind == "pixels":
        assert rule.map_weight == DecisionRule().map_weight
        assert rule.score_threshold == DecisionRule().score_threshold


def test_absent_class_is_left_out_and_reported(tmp_path: Path) -> None:
    _, report = tune_rule(keep(tmp_path, [village(seed, rare=False) for seed in range(4)]), OPTIONS)
    assert report["absent_classes"] == [1, 2, 3]
    assert report["rows"][TUNED]["score"] == pytest.approx(1, abs=1e-6)
    assert np.isnan(report["rows"][TUNED]["damage_f1_minor_damage"])
    assert report["rule"]["damage_weights"] == (1.0,) * 4
    assert "the targets have no minor-damage, major-damage, destroyed" in format_tuning(report)


def test_tiles_where_nothing_is_and_nothing_is_found(tmp_path: Path) -> None:
    empty = KeptTile(
        random_instances(np.random.default_rng(0), 0, with_map=True),
        (np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)),
    )
    rule, report = tune_rule(keep(tmp_path, [empty] * 3), TuningOptions(folds=2, draws=20))
    assert rule == DecisionRule()
    assert np.isnan(report["rows"][TUNED]["score"])
    assert report["calibration"]["before"]["buildings"] == 0
    assert "n/a" in format_tuning(report)
    assert b"NaN" not in json_bytes(report)


def test_a_given_rule_is_judged_on_a_single_tile(tmp_path: Path) -> None:
    rule = DecisionRule(score_threshold=0.3)
    found, report = tune_rule(keep(tmp_path, [village(0)]), TuningOptions(rule=rule, draws=20))
    assert found == rule
    assert report["rows"][TUNED]["score"] == report["rows"][FLATTERING]["score"]
    assert "given rule" in format_tuning(report)


def test_search_ends_no_lower_than_its_best_pixels_with_the_default_grades(tmp_path: Path) -> None:
    paths = keep(tmp_path, [random_tile("hybrid", seed) for seed in range(3)])
    table = BlockCounts(paths, np.arange(3))
    search = Search(
        partial(table.rasterize, chosen=[0, 1, 2]), ("pixel_threshold", "score_threshold"), DecisionRule()
    )
    found = tuned_rule(search)
    others = [DecisionRule(pixel_threshold=p, score_threshold=s) for p in (0.2, 0.3, 0.5) for s in (0.1, 0.4)]
    reached = rule_score(table.rasterize([found], [0, 1, 2])[0], found)
    for other in others:
        assert reached > rule_score(table.rasterize([other], [0, 1, 2])[0], other) - 0.02
    assert found.map_weight == DecisionRule().map_weight
    assert found.min_area == 0


@pytest.mark.parametrize("kind", ["hybrid", "pixels"])
def test_pixels_for_localization_nothing_on_the_grid_localizes_better(tmp_path: Path, kind: str) -> None:
    paths = keep(tmp_path, [random_tile(kind, seed) for seed in range(3)])
    table, chosen = BlockCounts(paths, np.arange(3)), [0, 1, 2]
    rasterize = partial(table.rasterize, chosen=chosen)
    names = ("pixel_threshold",)
    found = tuned_rule(Search(rasterize, names, DecisionRule(), pixels_for="localization"))
    reached = localization_f1(rasterize([found])[0])
    every = [DecisionRule(pixel_threshold=level) for level in GRIDS["pixel_threshold"]]
    assert reached == pytest.approx(max(localization_f1(parts) for parts in rasterize(every)), abs=TIE)
    # The same pixels, and grades for the score.
    flat = replace(found, damage_weights=(1.0,) * 4)
    assert rule_score(rasterize([found])[0], found) >= rule_score(rasterize([flat])[0], flat) - 0.02


def test_pixels_for_localization_a_rule_says_so(tmp_path: Path) -> None:
    paths = keep(tmp_path, [village(seed) for seed in range(4)])
    options = replace(OPTIONS, pixels_for="localization")
    _, report = tune_rule(paths, options)
    assert report["options"]["pixels_for"] == "localization"
    assert "map weight by search for localization F1" in " ".join(rule_remarks(report, "made-up tiles"))


def test_localization_of_nothing_is_0() -> None:
    assert localization_f1([GroupCounts.zero()]) == 0


@pytest.mark.parametrize("folds", [1, 4])
def test_folds_that_cannot_be_dealt_are_refused(folds: int) -> None:
    with pytest.raises(InputError, match=f"--folds {folds}: expected 2 to the number of tiles, found 3"):
        TuningOptions(folds=folds).check(tiles=3)
