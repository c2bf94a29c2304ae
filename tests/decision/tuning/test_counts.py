import dataclasses

import numpy as np
import pytest
from tuning_tiles import KINDS, SHAPE, KeptTile, random_instances, random_pixels, random_tile, random_truth

from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import GroupCounts, joined_cells
from skyeye_det.decision.tuning.rasterized import (
    classified_buildings,
    pixel_numbers,
    pixel_rule,
    rasterized_counts,
)
from skyeye_det.prediction.prediction import PixelPrediction, Prediction
from skyeye_det.xview2.score import count_pixels


def random_rules(seed: int, count: int) -> list[DecisionRule]:
    """Some share all but the pixel threshold, as the values of a grid do."""
    rng = np.random.default_rng(seed)
    rules = [
        DecisionRule(
            score_threshold=float(rng.choice([0.0, 0.3, 0.6, 1.0])),
            pixel_threshold=float(rng.choice([0.02, 0.1, 0.25, 0.35, 0.5, 0.8])),
            map_weight=float(rng.choice([0.0, 0.5, 1.0])),
            min_area=float(rng.choice([0, 30, 120])),
            presence_threshold=float(rng.choice([0.0, 0.5, 0.97])),
            damage_weights=tuple(2.0 ** rng.integers(-2, 3, 4)),
            temperature=float(rng.choice([1.0, 0.5, 3.0])),
        )
        for _ in range(count)
    ]
    return rules + [dataclasses.replace(rule, pixel_threshold=0.2) for rule in rules]


def rasterized_windows(tile: KeptTile, rule: DecisionRule) -> np.ndarray:
    counts = count_pixels(*decide(tile.prediction, rule).rasterize(), *tile.truth)
    return np.stack([counts.tp, counts.fp, counts.fn])


def counted(counts: GroupCounts, rule: DecisionRule) -> np.ndarray:
    return counts.pixel_counts(rule.temperature, np.array([rule.damage_weights]))[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_counts_are_those_of_rasterizing_for_any_rule(kind: str, seed: int) -> None:
    tile, rules = random_tile(kind, seed), random_rules(seed, 25)
    painted = rasterized_counts(tile.prediction, [pixel_rule(rule) for rule in rules], tile.truth)
    found = [counted(counts, rule) for counts, rule in zip(painted, rules, strict=True)]
    np.testing.assert_array_equal(found, [rasterized_windows(tile, rule) for rule in rules])
    assert len({counts.tobytes() for counts in found}) > 10


@pytest.mark.parametrize("kind", KINDS)
def test_counts_of_tiles_add_up(kind: str) -> None:
    tiles, rule = [random_tile(kind, seed) for seed in range(3)], random_rules(5, 1)[0]
    rule = dataclasses.replace(
        rule, score_threshold=0.3, presence_threshold=0.0, pixel_threshold=0.2, min_area=0.0
    )
    counts = [rasterized_counts(tile.prediction, [pixel_rule(rule)], tile.truth)[0] for tile in tiles]
    total = GroupCounts.total(counts, most_cells=100_000)
    expected = sum(rasterized_windows(tile, rule) for tile in tiles)
    assert expected[0, 1:].any()
    np.testing.assert_array_equal(counted(total, rule), expected)


def test_many_choices_of_grades_at_once_are_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    tile = random_tile("pixels", 1)
    (counts,) = rasterized_counts(tile.prediction, [DecisionRule()], tile.truth)
    weights = 2.0 ** np.random.default_rng(0).integers(-2, 3, (17, 4))
    together = counts.pixel_counts(2.0, weights)
    monkeypatch.setattr("skyeye_det.decision.tuning.counts._BLOCK", 5 * len(counts.probs))
    np.testing.assert_array_equal(counts.pixel_counts(2.0, weights), together)
    for row, one in zip(together, weights, strict=True):
        np.testing.assert_array_equal(counts.pixel_counts(2.0, one[None])[0], row)


def nothing_found(kind: str) -> Prediction:
    rng = np.random.default_rng(0)
    if kind == "pixels":
        return dataclasses.replace(random_pixels(rng), building_map=np.zeros(SHAPE, np.uint8))
    return random_instances(rng, 0, with_map=kind == "hybrid")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("classes", [(), (0,), (1, 4)])
def test_tile_where_nothing_is_found_misses_what_is_there(kind: str, classes: tuple[int, ...]) -> None:
    tile = KeptTile(nothing_found(kind), random_truth(np.random.default_rng(1), classes))
    for rule in random_rules(2, 4):
        (counts,) = rasterized_counts(tile.prediction, [pixel_rule(rule)], tile.truth)
        np.testing.assert_array_equal(counted(counts, rule), rasterized_windows(tile, rule))
        assert counts.localization.tolist() == [0, 0, np.count_nonzero(tile.truth[0])]
        assert len(counts.probs) == 0
        assert len(classified_buildings(tile.prediction, rule, tile.truth)[1]) == 0
    assert (counts.true > 0).tolist() == [grade in classes for grade in (1, 2, 3, 4)]


@pytest.mark.parametrize("kind", KINDS)
def test_buildings_have_the_class_that_most_of_their_pixels_have(kind: str) -> None:
    tile = random_tile(kind, 3)
    damage = np.zeros(SHAPE, np.uint8)
    damage[:, :22] = 3  # the others are un-classified
    rule = DecisionRule(score_threshold=0.0, pixel_threshold=0.4)
    truth = np.ones(SHAPE, np.uint8), damage
    (counts,) = rasterized_counts(tile.prediction, [rule], truth)
    probs, grades = classified_buildings(tile.prediction, dataclasses.replace(rule, temperature=2.0), truth)
    assert set(grades) == {2}
    assert probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert counts.evidence[:, [0, 1, 3]].sum() == 0
    assert counts.pixels.sum() == decide(tile.prediction, rule).rasterize()[0].sum()
    if kind == "pixels":
        assert counts.evidence.sum() == counts.pixels[counts.probs.any(axis=1), 3].sum()
    else:
        touched = counts.pixels[:, 3] > 0
        assert 0 < touched.sum() < len(touched)
        np.testing.assert_array_equal(counts.evidence[:, 2], touched)
        np.testing.assert_array_equal(probs, DecisionRule(temperature=2.0).calibrated(counts.probs[touched]))


def test_pixels_of_a_building_give_its_mean_probabilities() -> None:
    building_map, damage_map = np.zeros(SHAPE, np.uint8), np.zeros((4, *SHAPE), np.uint8)
    building_map[5:9, 5:15] = 200
    building_map[20:22, 20:22] = 200  # a building of which nothing is known
    damage_map[0, 5:9, :10], damage_map[1, 5:9, 10:] = 255, 255
    damage_map[:, 5, 5] = 51, 0, 0, 204
    prediction = PixelPrediction(building_map, damage_map, SHAPE)
    truth = (building_map > 0).astype(np.uint8), (building_map > 0) * np.uint8(2)
    probs, grades = classified_buildings(prediction, DecisionRule(), truth)
    np.testing.assert_allclose(probs, [[(19 + 0.2) / 40, 20 / 40, 0, 0.8 / 40]], atol=1e-6)
    assert grades.tolist() == [1]
    sharp, _ = classified_buildings(prediction, DecisionRule(temperature=0.5), truth)
    np.testing.assert_allclose(sharp, [[(19 + 1 / 17) / 40, 20 / 40, 0, 16 / 17 / 40]], atol=1e-6)
    (counts,) = rasterized_counts(prediction, [DecisionRule()], truth)
    assert len(counts.probs) == 4
    assert counts.evidence.sum(axis=0).tolist() == [0, 40, 0, 0]


def test_near_groups_are_joined_only_where_there_are_too_many() -> None:
    rng = np.random.default_rng(4)
    probs = rng.dirichlet((0.5,) * 4, 3000).astype(np.float32)
    pixels = rng.integers(0, 9, (3000, 5))
    same = joined_cells(probs, pixels, 3000)
    assert same[0] is probs
    assert same[1] is pixels
    few, sums = joined_cells(probs, pixels, 500)
    assert len(few) <= 500
    np.testing.assert_array_equal(sums.sum(axis=0), pixels.sum(axis=0))
    np.testing.assert_allclose(
        (few * sums.sum(axis=1)[:, None]).sum(axis=0),
        (probs * pixels.sum(axis=1)[:, None]).sum(axis=0),
        rtol=1e-4,
    )


def test_equal_groups_are_joined_without_loss() -> None:
    probs = np.repeat(np.eye(4, dtype=np.float32), 100, axis=0)
    few, sums = joined_cells(probs, np.ones((400, 5), np.int64), 50)
    np.testing.assert_array_equal(np.sort(few, axis=0), np.sort(np.eye(4), axis=0))
    assert (sums == 100).all()


def test_numbers_without_effect_are_not_searched() -> None:
    names = {kind: pixel_numbers(random_tile(kind, 0).prediction) for kind in KINDS}
    assert "map_weight" in names["hybrid"]
    assert "map_weight" not in names["instances"]
    assert not {"map_weight", "score_threshold"} & set(names["pixels"])
