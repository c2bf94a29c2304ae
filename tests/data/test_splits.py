"""New splits: what stays together, how the shares come out, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from ground_tiles import TILE, write_events, write_tile

from skyeye_det.data.ground import AMOUNTS, TileFacts, read_tile
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.split_file import Split
from skyeye_det.data.splits import (
    leave_one_event_out,
    make_split,
    parse_fractions,
    read_tiles,
    shares_table,
    torn_groups,
)
from skyeye_det.data.stratification import stratify
from skyeye_det.errors import InputError

HOUSE = (20.0, 20.0, 10.0, 10.0)
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
EVENTS = {"a-fire": 30, "b-flood": 10, "c-wind": 10, "d-quake": 10}


def facts(root: Path) -> list[TileFacts]:
    return [read_tile(files) for files in find_scenes(root, "train")[0]]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> list[TileFacts]:
    root = tmp_path_factory.mktemp("xbd")
    write_events(root, EVENTS)
    return facts(root)


def part_of(split: Split) -> dict[str, str]:
    """Tile -> part; every tile is in one."""
    return {key: part for part, keys in split.parts.items() for key in keys}


@pytest.mark.parametrize("split_by", ["random", "event", "location"])
def test_every_tile_stands_in_one_part_and_order_does_not_matter(
    tiles: list[TileFacts], split_by: str
) -> None:
    split = make_split(tiles, "n", ["train"], split_by, FRACTIONS, 3)
    assert sorted(key for keys in split.parts.values() for key in keys) == [tile.key for tile in tiles]
    assert all(list(keys) == sorted(keys) for keys in split.parts.values())
    assert make_split(tiles[::-1], "n", ["train"], split_by, FRACTIONS, 3) == split
    assert sum(counts["tiles"] for counts in split.counts.values()) == 60


def test_random_split_gives_each_part_its_share_of_every_class(tiles: list[TileFacts]) -> None:
    split = make_split(tiles, "n", ["train"], "random", FRACTIONS, 0)
    totals = sum(tile.amounts for tile in tiles)
    for part, fraction in FRACTIONS.items():
        for kind, total in zip(AMOUNTS, totals, strict=True):
            assert split.counts[part][kind] == pytest.approx(fraction * total, abs=1.01), (part, kind)
    assert make_split(tiles, "n", ["train"], "random", FRACTIONS, 1) != split


def test_event_split_keeps_events_whole(tiles: list[TileFacts]) -> None:
    split = make_split(tiles, "n", ["train"], "event", FRACTIONS, 0)
    parts = part_of(split)
    assert len({(tile.event, parts[tile.key]) for tile in tiles}) == len(EVENTS)
    assert split.counts["train"]["tiles"] in (30, 40)


def test_buildings_are_not_torn_apart_in_any_mode(tmp_path: Path) -> None:
    """A row of tiles, cut through houses; single tiles far away."""
    for number in range(6):
        halves = [
            (f"{number}l", (0.0, 10.0, 9.0, 9.0), "no-damage"),
            (f"{number}r", (55.0, 10.0, 9.0, 9.0), "minor-damage"),
        ]
        write_tile(tmp_path, f"row_{number:08d}", halves, place=(number * TILE, 0))
        alone = [(f"{number}x", HOUSE, "destroyed")]
        write_tile(tmp_path, f"{'abc'[number % 3]}_{number:08d}", alone, place=(1e4 * number, 5e4))
    tiles = facts(tmp_path)
    for split_by in ("random", "event", "location"):
        split = make_split(tiles, "n", ["train"], split_by, {"train": 0.5, "test": 0.5}, 0)
        parts = part_of(split)
        assert len({parts[tile.key] for tile in tiles if tile.event == "row"}) == 1
        assert torn_groups(split, tiles) == 0
    row = [tile.key for tile in tiles if tile.event == "row"]
    others = tuple(tile.key for tile in tiles if tile.event != "row")
    torn = Split("n", ("train",), {}, {"train": (*row[:3], *others), "test": tuple(row[3:])})
    assert torn_groups(torn, tiles) == 1


def test_location_split_keeps_neighbours_within_the_distance_together(tmp_path: Path) -> None:
    for number in range(12):
        place = (number // 3 * 1e4 + number % 3 * (TILE + 60), 0)
        write_tile(tmp_path, f"a_{number:08d}", [(f"{number}", HOUSE, "no-damage")], place=place)
    tiles = facts(tmp_path)
    near = make_split(tiles, "n", ["train"], "location", {"train": 0.5, "test": 0.5}, 0)
    parts = part_of(near)
    for first in range(0, 12, 3):
        assert len({parts[tile.key] for tile in tiles[first : first + 3]}) == 1
    assert near.made["groups"] == 4
    assert make_split(tiles, "n", ["train"], "location", FRACTIONS, 0, 50).made["groups"] == 12


def test_tiles_without_any_building_are_split_by_number(tmp_path: Path) -> None:
    for number in range(10):
        write_tile(tmp_path, f"a_{number:08d}", [])
    split = make_split(facts(tmp_path), "n", ["train"], "random", FRACTIONS, 0)
    assert {part: len(keys) for part, keys in split.parts.items()} == {"train": 6, "val": 2, "test": 2}
    assert " 0.0%" not in shares_table(split)


@pytest.mark.parametrize(
    ("split_by", "message"),
    [
        ("random", "found 1 among 1 tiles"),
        ("event", "or event may stand in two parts"),
        ("location", "expected features.lng_lat in the labels"),
    ],
)
def test_one_tile_cannot_be_split(tmp_path: Path, split_by: str, message: str) -> None:
    write_tile(tmp_path, "a_00000001", [("a", HOUSE, "no-damage")], place=None)
    with pytest.raises(InputError, match=message):
        make_split(facts(tmp_path), "n", ["train"], split_by, FRACTIONS, 0)


def test_leaving_out_one_event_trains_on_all_others(tiles: list[TileFacts]) -> None:
    split = leave_one_event_out(tiles, "event", ["train"])
    assert {part: len(keys) for part, keys in split.parts.items()} == EVENTS
    assert split.folds == {event: (event,) for event in EVENTS}
    assert torn_groups(split, tiles) == 0


def test_events_that_share_a_building_are_left_out_together(tmp_path: Path) -> None:
    for event, uid in (("a", "1"), ("b_b", "2"), ("c", "1")):
        write_tile(tmp_path, f"{event}_00000001", [(uid, HOUSE, "no-damage")], place=None)
    tiles = facts(tmp_path)
    split = leave_one_event_out(tiles, "event", ["train"])
    assert set(split.parts) == {"a", "b-b", "c"}
    assert split.folds == {"a": ("a", "c"), "b-b": ("b-b",)}
    assert torn_groups(split, tiles) == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a_00000001", "a_00000002"], "expected two events or more that share no building, found 1"),
        (["a-b_00000001", "a_b_00000001"], "found a-b twice"),
        (["é_00000001", "a_00000001"], "expected an event"),
    ],
)
def test_events_that_cannot_be_told_apart_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        write_tile(tmp_path, name, [])
    with pytest.raises(InputError, match=message):
        leave_one_event_out(facts(tmp_path), "event", ["train"])


def test_fractions_are_read_in_order() -> None:
    assert list(parse_fractions("train=.8, val=0.1,test=1e-1").items()) == [
        ("train", 0.8),
        ("val", 0.1),
        ("test", 0.1),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "train",
        "train=.8,val=.1",
        "train=1,val=0",
        "train=nan,val=1",
        "train=inf",
        "train=.5,train=.5",
        "a_b=1",
        "x.faults=1",
        "=1",
    ],
)
def test_wrong_fractions_are_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(InputError, match="--fractions") as refused:
        parse_fractions(text)
    assert "\n" not in str(refused.value)


def test_real_tiles_are_split_in_shares(xbd_root: Path) -> None:
    found = [pair for folder in ("train", "val") for pair in find_scenes(xbd_root, folder)[0]]
    tiles = read_tiles(found, 1)
    fractions = {"train": 0.8, "val": 0.2}
    split = make_split(tiles, "n", ["train", "val"], "random", fractions, 0)
    totals = sum(tile.amounts for tile in tiles)
    for part, fraction in fractions.items():
        for kind, total in zip(AMOUNTS, totals, strict=True):
            assert split.counts[part][kind] == pytest.approx(fraction * total, abs=max(1.01, 0.01 * total))
    assert 0 < split.made["groups"] < len(tiles)  # houses on the border of two tiles
    assert torn_groups(split, tiles) == 0


def names(count: int) -> list[str]:
    return [f"train/e_{number:08d}" for number in range(count)]


def shares(amounts: np.ndarray, parts: np.ndarray, part: int) -> np.ndarray:
    return amounts[parts == part].sum(axis=0) / amounts.sum(axis=0)


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (0.6, 0.2, 0.1, 0.1)])
def test_every_column_gets_its_fraction_though_classes_are_rare_and_uneven(
    fractions: tuple[float, ...],
) -> None:
    rng, count = np.random.default_rng(1), 300
    amounts = rng.poisson(rng.gamma(0.3, (3, 30, 6, 2, 0.5), (count, 5))).astype(np.int64)
    amounts = np.column_stack([np.ones(count, np.int64), amounts])
    parts = stratify(amounts, fractions, names(count), 0)
    for part, fraction in enumerate(fractions):
        np.testing.assert_allclose(shares(amounts, parts, part), fraction, atol=0.02)


def test_result_depends_on_the_seed_and_not_on_the_order() -> None:
    amounts = np.random.default_rng(2).integers(1, 9, (60, 3))
    order = np.random.default_rng(3).permutation(60)
    first = stratify(amounts, (0.7, 0.3), names(60), 0)
    again = stratify(amounts[order], (0.7, 0.3), [names(60)[index] for index in order], 0)
    other = stratify(amounts, (0.7, 0.3), names(60), 1)
    np.testing.assert_array_equal(first[order], again)
    assert (first != other).sum() > 10


def test_few_large_groups_are_dealt_as_well_as_they_can_be() -> None:
    amounts = np.array([[50], [30], [10], [10]], np.int64)
    parts = stratify(amounts, (0.5, 0.4, 0.1), names(4), 0)
    assert sorted(amounts[parts == part].sum() for part in range(3)) == [10, 40, 50]


@pytest.mark.parametrize("count", [3, 4, 600])
def test_every_part_gets_a_group_however_small_its_fraction(count: int) -> None:
    parts = stratify(np.ones((count, 1), np.int64), (0.999, 0.0005, 0.0005), names(count), 0)
    assert set(parts.tolist()) == {0, 1, 2}


def test_as_many_parts_as_groups_and_columns_of_nothing() -> None:
    amounts = np.array([[1, 0, 0], [1, 0, 0]], np.int64)
    assert sorted(stratify(amounts, (0.9, 0.1), names(2), 5).tolist()) == [0, 1]
    assert stratify(amounts[:1], (1.0,), names(1), 5).tolist() == [0]


def test_groups_without_difference_are_dealt_by_their_number() -> None:
    parts = stratify(np.ones((100, 2), np.int64), (0.8, 0.1, 0.1), names(100), 7)
    assert np.bincount(parts).tolist() == [80, 10, 10]
