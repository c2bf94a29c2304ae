"""Four tiles of a village, found by hand: what a rule for an assessment is tuned on and judged by."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import square_prediction
from small_xbd import square, write_pair

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.report import DEFAULT, FLATTERING, TUNED
from skyeye_det.decision.tuning.tune import TuningOptions
from skyeye_det.errors import InputError
from skyeye_det.evaluation.assessment import judge_tile, tune_assessment
from skyeye_det.evaluation.assessment_report import assessment_remarks, format_assessment, missed_aims
from skyeye_det.evaluation.known_windows import KnownTile, known_tiles
from skyeye_det.evaluation.truth import labelled_scenes
from skyeye_det.files import json_bytes
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.visibility import keep_window

SHAPE = (48, 48)
PLACES = [(2, 2), (20, 2), (2, 20), (20, 20)]
SUBTYPES = ["no-damage", "destroyed", "major-damage", "un-classified"]
OPTIONS = TuningOptions(folds=2, draws=20)


def kept(folder: Path, tiles: list[tuple[list[str], list[tuple[int, int, int, float]]]]) -> list[KnownTile]:
    """Tiles of (subtypes of true squares at ``PLACES``, predicted squares as x, y, damage and score)."""
    scenes = [f"storm_{number:08d}" for number in range(len(tiles))]
    for scene, (subtypes, _) in zip(scenes, tiles, strict=True):
        buildings = [(square(*place), name) for place, name in zip(PLACES, subtypes, strict=False)]
        write_pair(folder, "val", scene, buildings, SHAPE)
    images = tuple(KeptImage(scene, f"{scene}.png", *SHAPE, "0") for scene in scenes)
    store = PredictionStore.create(folder / "store", images, 64, 16, {})
    for image, (_, squares) in zip(images, tiles, strict=True):
        prediction = square_prediction(
            [(x, y, x + 9, y + 9) for x, y, _, _ in squares],
            [score for *_, score in squares],
            damage=[damage for _, _, damage, _ in squares],
            shape=SHAPE,
        )
        seen = np.ones((2, *prediction.shape), np.bool_)
        keep_window(store, image, store.windows(image)[0], prediction, seen)
    return known_tiles(store, labelled_scenes(folder, ["val"]))


VILLAGE = [(2, 2, 0, 0.9), (20, 2, 1, 0.9), (20, 20, 3, 0.9), (35, 35, 1, 0.9)]
"""Right; destroyed called minor; one whose grade is not known; a false one. Major damage is missed."""


@pytest.fixture
def tiles(tmp_path: Path) -> list[KnownTile]:
    return kept(tmp_path, [(SUBTYPES, VILLAGE)] * 3 + [([], [])])


def test_a_tile_is_decided_and_matched_one_to_one(tiles) -> None:
    rule = DecisionRule(outline="mask", temperature=2.0)
    (judged,) = judge_tile((tiles[0], [rule]))
    expected = np.zeros((6, 6), int)
    expected[0, 0] = expected[3, 1] = expected[4, 3] = expected[5, 1] = expected[2, 5] = 1
    np.testing.assert_array_equal(judged.counts.confusion, expected)
    assert sorted(judged.buildings.truth.tolist()) == [0, 3, 4, 5]
    assert judged.buildings.missed.tolist() == [0, 0, 1, 0, 0]
    first = judged.buildings.probs[judged.buildings.truth == 0][0]
    odds = (0.91 / 0.03) ** 0.5  # at the rule's temperature
    assert first[0] == pytest.approx(odds / (odds + 3), abs=1e-5)
    np.testing.assert_array_equal(judged.buildings.confusion(1.0, np.ones((1, 4)))[0], expected)


def test_nothing_is_found_where_nothing_is(tiles) -> None:
    (judged,) = judge_tile((tiles[3], [DecisionRule()]))
    assert not judged.counts.confusion.any()
    assert len(judged.buildings.truth) == 0


def test_figures_of_a_given_rule_are_those_by_hand(tiles) -> None:
    given = DecisionRule(outline="mask")
    rule, report = tune_assessment(tiles, replace(OPTIONS, rule=given))
    assert rule == given
    row = report["rows"][TUNED]
    assert (row["buildings"], row["predicted"], row["ratio"]) == (12, 12, 1.0)
    assert row["precision"] == row["recall"] == 0.75
    assert row["ordinal_error"] == pytest.approx((0 + 2 + 0 + 2 + 3) / 4)
    # Of the found: no damage right, destroyed never; major damage was not found at all.
    assert row["macro_f1"] == pytest.approx((1 + 0) / 2)
    assert row["ece"] == pytest.approx(0.91 - 0.5, abs=1e-6)
    totals = [(one["predicted"], one["buildings"]) for one in row["grades"].values()]
    assert totals == [(3, 3), (6, 0), (0, 3), (0, 3)]
    assert np.isnan(row["grades"]["minor-damage"]["ratio"])
    assert row["intervals"]["ratio"] == pytest.approx((1, 1))
    assert missed_aims(row) == ["ratio of major-damage", "ratio of destroyed"]
    text = format_assessment(report)
    assert "given rule" in text
    assert "12/12" in text
    assert report["tiles"][TUNED].shape == (4, 6, 6)


def test_a_rule_is_tuned_without_the_fold_that_it_is_judged_by(tmp_path: Path) -> None:
    # Undamaged houses are sure; as many squares below them, of score 0.62, are false.
    houses = [(x, y, 0, 0.9) for x, y in PLACES]
    false = [(x, 36, 3, 0.62) for x in (2, 14, 26)]
    rule, report = tune_assessment(kept(tmp_path, [(["no-damage"] * 4, houses + false)] * 4), OPTIONS)
    assert rule.score_threshold == 0.65
    assert (rule.purpose, rule.outline) == ("assessment", "mask")
    assert rule.damage_weights == (1.0,) * 4
    assert [fold["score_threshold"] for fold in report["fold_rules"]] == [0.65, 0.65]
    assert sorted(report["tiles"]["folds"]) == [0, 0, 1, 1]
    assert report["rows"][TUNED]["ordinal_error"] == report["rows"][FLATTERING]["ordinal_error"] == 0
    # Three false buildings a tile, 4 steps each, over four houses.
    assert report["rows"][DEFAULT]["ordinal_error"] == pytest.approx(3)
    assert missed_aims(report["rows"][DEFAULT]) == ["precision", "ratio of all"]
    text = format_assessment(report)
    assert "missed on held-out tiles: none" in text
    assert "28/16" in text
    assert json.loads(json_bytes(report))["purpose"] == "assessment"
    remarks = " ".join(assessment_remarks(report, "val"))
    assert "precision 1.0000, recall 1.0000, ordinal error 0.0000 (default rule 3.0000)" in remarks


def test_no_building_is_predicted(tmp_path: Path) -> None:
    rule, report = tune_assessment(kept(tmp_path, [(["no-damage", "destroyed"], [])] * 2), OPTIONS)
    assert rule == DecisionRule(outline="mask", purpose="assessment")
    row = report["rows"][TUNED]
    assert (row["predicted"], row["recall"], row["ratio"]) == (0, 0, 0)
    assert row["ordinal_error"] == pytest.approx((1 + 4) / 2)
    assert np.isnan(row["ece"])
    assert "n/a" in format_assessment(report)


def test_labels_of_another_size_are_refused(tiles) -> None:
    other = replace(tiles[0], image=replace(tiles[0].image, width=64))
    with pytest.raises(InputError, match="expected labels for a tile of 64 x 48 px .* found 48 x 48 px"):
        other.truth()
