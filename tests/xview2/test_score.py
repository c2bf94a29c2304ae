import math

import numpy as np
import pytest

from skyeye_det.xview2.score import PixelCounts, count_pixels

CLASS_KEYS = (
    "damage_f1_no_damage",
    "damage_f1_minor_damage",
    "damage_f1_major_damage",
    "damage_f1_destroyed",
)


def image(*rows: str) -> np.ndarray:
    return np.array([[int(value) for value in row] for row in rows], np.uint8)


def plain_score(tiles: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, float]:
    """The formula of the competition, pixel by pixel, sharing no code with the package."""
    tallies = [{"tp": 0, "fp": 0, "fn": 0} for _ in range(5)]

    def tally(row: int, found: bool, true: bool) -> None:
        if found and true:
            tallies[row]["tp"] += 1
        elif found:
            tallies[row]["fp"] += 1
        elif true:
            tallies[row]["fn"] += 1

    for tile in tiles:
        for lp, dp, lt, dt in zip(*(plane.ravel().tolist() for plane in tile), strict=True):
            tally(0, lp > 0, lt > 0)
            answer = dp if lp > 0 else 0
            if dt > 0:
                for grade in (1, 2, 3, 4):
                    tally(grade, answer == grade, dt == grade)
    f1s = []
    for row in tallies:
        precision = row["tp"] / (row["tp"] + row["fp"]) if row["tp"] else 0
        recall = row["tp"] / (row["tp"] + row["fn"]) if row["tp"] else 0
        f1s.append(2 * precision * recall / (precision + recall) if row["tp"] else 0)
    damage = 4 / sum((f1 + 1e-6) ** -1 for f1 in f1s[1:])
    names = ("localization_f1", *CLASS_KEYS)
    score = 0.3 * f1s[0] + 0.7 * damage
    return {"score": score, "damage_f1": damage, **dict(zip(names, f1s, strict=True))}


def random_tiles(seed: int, count: int = 5) -> list[tuple[np.ndarray, ...]]:
    rng = np.random.default_rng(seed)
    tiles = []
    for _ in range(count):
        shape = tuple(rng.integers(1, 24, 2))
        planes = [(rng.integers(0, 5, shape) * (rng.random(shape) < 0.6)).astype(np.uint8) for _ in range(4)]
        tiles.append(tuple(planes))
    return tiles


def pooled(tiles: list[tuple[np.ndarray, ...]]) -> PixelCounts:
    return PixelCounts.total(count_pixels(*tile) for tile in tiles)


def test_numbers_worked_out_by_hand() -> None:
    counts = count_pixels(
        image("1111", "1100", "0001"),
        image("1123", "4400", "0001"),
        image("1111", "1111", "0000"),
        image("1122", "4433", "0000"),
    )
    # localization: 6 hits, 1 false, 2 missed
    # damage by pixel: 1->1, 1->1, 2->2, 2->3, 4->4, 4->4, 3->nothing, 3->nothing; the last row has no target
    np.testing.assert_array_equal(counts.tp, [6, 2, 1, 0, 2])
    np.testing.assert_array_equal(counts.fp, [1, 0, 0, 1, 0])
    np.testing.assert_array_equal(counts.fn, [2, 0, 1, 2, 0])
    score = counts.score()
    assert score["localization_f1"] == pytest.approx(12 / 15)
    assert [score[key] for key in CLASS_KEYS] == pytest.approx([1, 2 / 3, 0, 1])
    damage_f1 = 4 / (2 / (1 + 1e-6) + 1 / (2 / 3 + 1e-6) + 1e6)
    assert score["damage_f1"] == pytest.approx(damage_f1, rel=1e-12)
    assert score["score"] == pytest.approx(0.3 * 0.8 + 0.7 * damage_f1, rel=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_score_equals_an_independent_implementation_to_the_last_digit(seed: int) -> None:
    tiles = random_tiles(seed)
    score, report = pooled(tiles).score(), pooled(tiles).report()
    assert score == plain_score(tiles)
    assert report["absent_classes"] == []
    assert (report["score"], report["damage_f1"]) == (score["score"], score["damage_f1"])
    assert report["localization"]["f1"] == score["localization_f1"]


def sparse_tile(seed: int, shape: tuple[int, int], share: float) -> tuple[np.ndarray, ...]:
    """Planes of which about a share of rows has something, apart and together."""
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 5, (4, *shape), dtype=np.uint8)
    planes *= (rng.random((4, shape[0])) < share)[..., None]
    return tuple(planes)


@pytest.mark.parametrize("share", [0.02, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(64, 64), (61, 53), (1, 7), (7, 1), (3, 8), (129, 1)])
def test_sparse_dense_and_odd_sized_images_are_counted_alike(shape: tuple[int, int], share: float) -> None:
    tiles = [sparse_tile(seed, shape, share) for seed in range(3)]
    assert pooled(tiles).score() == plain_score(tiles)


def test_images_that_are_views_of_others_are_counted_alike() -> None:
    for wide in (sparse_tile(1, (40, 51), 0.1), sparse_tile(2, (40, 51), 0.9)):
        views = [plane[1::2, 3:48] for plane in wide], [plane.T for plane in wide]
        for tile in views:
            assert not tile[0].flags.c_contiguous
            assert pooled([tuple(tile)]).score() == plain_score([tuple(tile)])


def test_images_of_more_than_one_block_are_counted_alike() -> None:
    tile = sparse_tile(3, (700, 701), 0.05)
    parts = [tuple(plane[start : start + 100] for plane in tile) for start in range(0, 700, 100)]
    for ours, theirs in zip(vars(count_pixels(*tile)).values(), vars(pooled(parts)).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_wider_images_keep_every_building(dtype: type) -> None:
    found, damage = np.array([[256, 512, 0]], dtype), np.array([[1, 2, 0]], dtype)
    counts = count_pixels(found, damage, found, damage)
    assert counts.tp.tolist() == [2, 1, 1, 0, 0]


def test_absent_class_is_zero_officially_and_not_defined_in_the_report() -> None:
    target = image("1122")
    counts = count_pixels(image("1111"), target, image("1111"), target)
    false = count_pixels(image("1111"), image("1124"), image("1111"), target).report()
    assert (math.isnan(false["damage"]["destroyed"]["f1"]), false["damage"]["destroyed"]["fp"]) == (True, 1)
    assert counts.score()["damage_f1"] == pytest.approx(4 / (2e6 + 2), rel=1e-5)
    report = counts.report()
    assert report["absent_classes"] == ["major-damage", "destroyed"]
    assert report["damage_f1"] == pytest.approx(1, abs=2e-6)
    assert report["damage_macro_f1"] == 1
    assert math.isnan(report["damage"]["destroyed"]["f1"])
    assert math.isnan(report["damage"]["destroyed"]["precision"])


@pytest.mark.parametrize("shape", [(4, 4), (0, 0)])
def test_nothing_there_and_nothing_predicted(shape: tuple[int, int]) -> None:
    nothing = np.zeros(shape, np.uint8)
    counts = count_pixels(nothing, nothing, nothing, nothing)
    assert counts.score()["score"] == pytest.approx(0, abs=1e-6)
    report = counts.report()
    assert math.isnan(report["score"])
    assert math.isnan(report["localization"]["f1"])
    assert math.isnan(report["damage_macro_f1"])
    assert PixelCounts.total([]).score() == counts.score()


@pytest.mark.parametrize(
    ("planes", "message"),
    [
        ((np.zeros((2, 2)), np.zeros((2, 3)), np.zeros((2, 2)), np.zeros((2, 2))), "one shape"),
        ((np.zeros((2, 2, 3)),) * 4, "one shape"),
        (
            (np.zeros((2, 2)), np.full((2, 2), 5), np.zeros((2, 2)), np.zeros((2, 2))),
            r"damage 0\.\.4, found 5\.\.5",
        ),
        ((np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2)), np.full((2, 2), 255)), r"found 255\.\.255"),
    ],
)
def test_images_without_meaning_are_refused(planes: tuple[np.ndarray, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        count_pixels(*(plane.astype(np.uint8) for plane in planes))
