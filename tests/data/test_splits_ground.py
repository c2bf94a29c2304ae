"""What is read of a tile for a split, and which tiles stay together."""

import json
from pathlib import Path

import numpy as np
import pytest
from ground_tiles import SIZE, TILE, ground_wkt, wkt, write_tile
from xbd_files import feature, label, write_pair

from skyeye_det.data.ground import (
    AMOUNTS,
    METRES_A_DEGREE,
    TileFacts,
    group_by_buildings,
    join_events,
    join_neighbours,
    read_tile,
)
from skyeye_det.data.scene_files import find_scenes

HOUSE = (20.0, 20.0, 10.0, 10.0)


def facts(root: Path, split: str = "train") -> list[TileFacts]:
    return [read_tile(files) for files in find_scenes(root, split)[0]]


def groups(tiles: list[TileFacts]) -> list[int]:
    return group_by_buildings(tiles).numbered().tolist()


def test_buildings_are_counted_by_class_of_the_post_label(tmp_path: Path) -> None:
    grades = ["no-damage", "minor-damage", "major-damage", "destroyed", "un-classified", "no-damage", "odd"]
    write_tile(tmp_path, "e_00000001", [(f"{n}", HOUSE, grade) for n, grade in enumerate(grades)])
    write_tile(tmp_path, "e_00000002", [])
    first, second = facts(tmp_path)
    expected = {"tiles": 1, "empty": 0, "no-damage": 2, "minor-damage": 1, "major-damage": 1, "destroyed": 1}
    assert dict(zip(AMOUNTS, first.amounts.tolist(), strict=True)) == expected | {"un-classified": 2}
    assert second.amounts.tolist() == [1, 1, 0, 0, 0, 0, 0]
    assert second.ground is None
    assert (first.key, first.event) == ("train/e_00000001", "e")


def test_one_building_tells_where_the_whole_tile_lies(tmp_path: Path) -> None:
    write_tile(tmp_path, "e_00000001", [("a", HOUSE, "no-damage")], place=(1000, 2000))
    (tile,) = facts(tmp_path)
    corner = ground_wkt((0, 0, SIZE, SIZE), (1000, 2000))
    numbers = np.array(corner[10:-2].replace(",", " ").split(), float).reshape(-1, 2)
    assert tile.ground is not None
    found = np.reshape(tile.ground, (2, 2))
    np.testing.assert_allclose(found, [numbers.min(0), numbers.max(0)], atol=1e-3 / METRES_A_DEGREE, rtol=0)


@pytest.mark.parametrize(
    "place",
    [
        "POLYGON ((500 10, 501 10, 501 11, 500 10))",
        "POLYGON ((nan 10, 1 10, 1 11, nan 10))",
        "POLYGON ((1 10, 9 10, 9 19, 1 10))",
        "POLYGON ((1 10 5, 1.001 10 5, 1.001 10.001 5, 1 10 5))",
        "POINT (1 1)",
        "POLYGON",
        None,
        [1],
    ],
)
def test_what_is_no_place_on_the_globe_is_passed_over(tmp_path: Path, place: object) -> None:
    content = label([feature("a", wkt(*HOUSE)), feature("b", wkt(*HOUSE))], size=SIZE)
    content["features"]["lng_lat"] = [feature("a", place), feature("b", ground_wkt(HOUSE, (0, 0)))]
    write_pair(tmp_path, content, content, size=SIZE)
    (tile,) = facts(tmp_path)
    assert (tile.amounts[2:].sum(), len(tile.boxes), len(tile.uids)) == (2, 1, 2)


def test_ground_that_does_not_fit_the_image_gives_the_buildings_place_only(tmp_path: Path) -> None:
    content = label([feature("a", wkt(*HOUSE)), feature("b", wkt(40, 40, 9, 3))], size=SIZE)
    content["features"]["lng_lat"] = [
        feature("a", ground_wkt(HOUSE, (0, 0))),
        feature("b", ground_wkt(HOUSE, (70, 9))),
    ]
    write_pair(tmp_path, content, content, size=SIZE)
    (tile,) = facts(tmp_path)
    assert tile.ground is not None
    np.testing.assert_array_equal(tile.ground[:2], tile.boxes[:, :2].min(0))
    np.testing.assert_array_equal(tile.ground[2:], tile.boxes[:, 2:].max(0))


@pytest.mark.parametrize("text", ["{", "[]", "{}", json.dumps({"features": {"xy": 5}})])
def test_unreadable_label_makes_a_tile_without_buildings(tmp_path: Path, text: str) -> None:
    write_pair(tmp_path, text, label([]))
    (tile,) = facts(tmp_path)
    assert not tile.readable
    assert tile.amounts.tolist() == [1, 0, 0, 0, 0, 0, 0]


def test_tiles_with_a_common_uid_stay_together(tmp_path: Path) -> None:
    for number, uid in enumerate("aba"):
        write_tile(tmp_path, f"e_{number:08d}", [(uid, HOUSE, "no-damage")], place=(1e4 * number, 0))
    assert groups(facts(tmp_path)) == [0, 1, 0]


def test_the_two_halves_of_a_building_on_the_cut_stay_together(tmp_path: Path) -> None:
    """Both are drawn up to the common border of two tiles, with uids of their own."""
    write_tile(tmp_path, "e_00000001", [("left", (50.0, 20.0, 14.0, 10.0), "no-damage")])
    write_tile(tmp_path, "e_00000002", [("right", (0.0, 22.0, 9.0, 6.0), "no-damage")], place=(TILE, 0))
    write_tile(tmp_path, "e_00000003", [("other", (3.0, 40.0, 9.0, 6.0), "no-damage")], place=(TILE, 0))
    assert groups(facts(tmp_path)) == [0, 0, 1]


@pytest.mark.parametrize(("distance", "expected"), [(0, [0, 1, 2]), (30, [0, 0, 1]), (100, [0, 0, 0])])
def test_neighbours_are_told_by_the_distance_of_tiles(
    tmp_path: Path, distance: float, expected: list[int]
) -> None:
    for number, east in enumerate((0, TILE + 20, 2 * TILE + 110)):
        write_tile(tmp_path, f"e_{number:08d}", [(f"{number}", HOUSE, "no-damage")], place=(east, 0))
    tiles = facts(tmp_path)
    found = group_by_buildings(tiles)
    join_neighbours(found, tiles, distance)
    assert found.numbered().tolist() == expected


def test_events_stay_whole_and_empty_tiles_have_no_neighbours(tmp_path: Path) -> None:
    for event in ("a", "b"):
        write_tile(tmp_path, f"{event}_00000001", [])
        write_tile(tmp_path, f"{event}_00000002", [])
    tiles = facts(tmp_path)
    found = group_by_buildings(tiles)
    join_neighbours(found, tiles, 1e5)
    assert found.numbered().tolist() == [0, 1, 2, 3]
    join_events(found, tiles)
    assert found.numbered().tolist() == [0, 0, 1, 1]


def test_grouping_by_boxes_equals_comparing_every_pair_of_buildings() -> None:
    rng = np.random.default_rng(3)
    tiles = []
    for number in range(40):
        low = rng.uniform(0, 400, 2) + rng.uniform(0, 30, (5, 2))
        degrees = np.concatenate([low, low + 8], axis=1) / METRES_A_DEGREE
        ground = np.concatenate([degrees[:, :2].min(0), degrees[:, 2:].max(0)])
        uids = np.arange(5, dtype=np.uint64) + np.uint64(5 * number)
        tiles.append(TileFacts(f"t/{number}", "e", np.ones(7, np.int64), uids, degrees, ground))
    found = groups(tiles)
    apart = 0
    for first in range(40):
        for second in range(first):
            boxes, others = tiles[first].boxes[:, None], tiles[second].boxes[None]
            gaps = np.maximum(boxes[..., :2] - others[..., 2:], others[..., :2] - boxes[..., 2:]).max(-1)
            if (gaps * METRES_A_DEGREE < 0.5).any():
                assert found[first] == found[second]
            apart += found[first] != found[second]
    assert apart > 300
