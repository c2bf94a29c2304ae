"""New splits of xBD tiles: at random, by event, by place, or one event left out at a time.

No building stands in two parts, whatever the mode: tiles that show the same one stay together (see
``tile_groups``). What is dealt out are those groups, joined further by event or by place, so that each part
gets its fraction of the tiles, of the empty ones among them, and of the buildings of each class (see
``stratification``).
"""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from skyeye_det.data.ground import (
    AMOUNTS,
    NEIGHBOURS,
    SAME_BUILDING,
    TileFacts,
    group_by_buildings,
    join_events,
    join_neighbours,
    read_tile,
)
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.split_file import Split, check_name
from skyeye_det.data.stratification import stratify
from skyeye_det.errors import InputError
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned
from skyeye_det.workers import ordered_map, worker_count

SPLIT_BY = ("random", "event", "location")
"""What may not be torn apart beside buildings: nothing, events, or neighbouring tiles."""

_PAIRS_PER_WORKER = 1000


def read_tiles(found: Sequence[SceneFiles], workers: int | None = None) -> list[TileFacts]:
    """Reads what a split needs of each pair, in their order, with one worker for each 1,000 by default."""
    count = worker_count(workers, len(found), _PAIRS_PER_WORKER)
    facts = ordered_map(read_tile, found, count, chunk=32)
    return list(progress(facts, len(found), "read for the split", "pair"))


def parse_fractions(text: str) -> dict[str, float]:
    """Reads ``"train=.8,val=.1,test=.1"``: fraction by part, in the order of the text.

    Raises:
        InputError: no such list, a fraction that is not above 0, a part twice, or a sum that is not 1.
    """
    fractions: dict[str, float] = {}
    for item in text.split(","):
        part, _, number = (word.strip() for word in item.partition("="))
        check_name(part, f"--fractions {text!r}")
        if part in fractions:
            raise InputError(f"--fractions {text!r}: expected each part once, found {part} twice")
        try:
            fractions[part] = float(number)
        except ValueError:
            fractions[part] = math.nan
        if not 0 < fractions[part] <= 1:
            raise InputError(
                f"--fractions {text!r}: expected a number above 0 and at most 1 for {part}, found "
                f"{number[:40]!r}; leave out a part that is to hold nothing"
            )
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise InputError(
            f"--fractions {text!r}: expected fractions with the sum 1, found {sum(fractions.values()):.6g}"
        )
    return fractions


def make_split(
    tiles: Sequence[TileFacts],
    name: str,
    folders: Sequence[str],
    split_by: str,
    fractions: Mapping[str, float],
    seed: int = 0,
    distance: float = NEIGHBOURS,
) -> Split:
    """Deals tiles out to parts.

    Args:
        tiles: of ``read_tiles``; their order does not matter.
        name: of the split.
        folders: that the tiles come from.
        split_by: of ``SPLIT_BY``. Tiles without a place on the ground, empty ones above all, have no
            neighbours.
        fractions: by part, with the sum 1.
        seed: another one deals otherwise, as well balanced.
        distance: m; for ``"location"``, tiles no further apart stay together.

    Raises:
        InputError: fewer groups than parts, or ``"location"`` where no tile has a place.
    """
    tiles = sorted(tiles, key=lambda tile: tile.key)
    groups = group_by_buildings(tiles)
    made: dict[str, object] = {"split_by": split_by, "seed": seed, "fractions": dict(fractions)}
    if split_by == "event":
        join_events(groups, tiles)
    if split_by == "location":
        if all(tile.ground is None for tile in tiles):
            raise InputError(
                "--split-by location: expected features.lng_lat in the labels, found none in any; split by "
                "event or random instead"
            )
        join_neighbours(groups, tiles, distance)
        made["distance"] = distance
    numbers = groups.numbered()
    count = int(numbers.max()) + 1
    if count < len(fractions):
        raise InputError(
            f"--split-by {split_by}: expected at least one group of tiles for each of {len(fractions)} "
            f"parts, found {count} among {len(tiles)} tiles (no building{_kept_whole(split_by)} may stand in "
            "two parts); ask for fewer parts or split by random"
        )
    amounts = np.zeros((count, len(AMOUNTS)), np.int64)
    np.add.at(amounts, numbers, np.array([tile.amounts for tile in tiles]))
    names = [tiles[first].key for first in np.unique(numbers, return_index=True)[1]]
    dealt = stratify(amounts, list(fractions.values()), names, seed)[numbers]
    made["same_building"], made["groups"] = SAME_BUILDING, count
    parts = {
        part: tuple(tiles[index].key for index in np.flatnonzero(dealt == number))
        for number, part in enumerate(fractions)
    }
    return Split(name, tuple(folders), made, parts, {}, count_parts(parts, tiles))


def leave_one_event_out(tiles: Sequence[TileFacts], name: str, folders: Sequence[str]) -> Split:
    """One part an event, and a fold for each event: tested on it, trained on all others.

    Events that share a building are left out together.

    Raises:
        InputError: fewer than two events that can be told apart.
    """
    tiles = sorted(tiles, key=lambda tile: tile.key)
    groups = group_by_buildings(tiles)
    join_events(groups, tiles)
    parts: dict[str, tuple[str, ...]] = {}
    folds: dict[int, tuple[str, ...]] = {}
    events = {tile.event: number for tile, number in zip(tiles, groups.numbered().tolist(), strict=True)}
    for event, number in sorted(events.items()):
        part = re.sub("[^A-Za-z0-9-]", "-", event).strip("-")
        if not part:
            first = next(tile.key for tile in tiles if tile.event == event)
            raise InputError(f"{first}: expected an event named with letters or digits, found {event!r}")
        if part in parts:
            raise InputError(f"event {event!r}: expected events of different names, found {part} twice")
        parts[part] = tuple(tile.key for tile in tiles if tile.event == event)
        folds[number] = (*folds.get(number, ()), part)
    if len(folds) < 2:
        raise InputError(
            f"--leave-one-event-out: expected two events or more that share no building, found {len(folds)} "
            f"({', '.join(parts)}); name more folders with --splits"
        )
    made = {"split_by": "leave-one-event-out", "same_building": SAME_BUILDING, "groups": len(folds)}
    counts = count_parts(parts, tiles)
    return Split(name, tuple(folders), made, parts, {tests[0]: tests for tests in folds.values()}, counts)


def count_parts(parts: Mapping[str, Sequence[str]], tiles: Sequence[TileFacts]) -> dict[str, dict[str, int]]:
    """What each part holds: part -> ``AMOUNTS`` -> number."""
    by_key = {tile.key: tile.amounts for tile in tiles}
    return {
        part: dict(zip(AMOUNTS, np.sum([by_key[key] for key in keys], axis=0).tolist(), strict=True))
        for part, keys in parts.items()
    }


def torn_groups(split: Split, tiles: Sequence[TileFacts]) -> int:
    """Number of groups of tiles with common buildings that a split divides; a fold counts as one part."""
    fold_of = {part: event for event, tests in split.folds.items() for part in tests}
    numbers = {name: number for number, name in enumerate([*split.parts, *split.folds])}
    part_of = {key: numbers[fold_of.get(part, part)] for part, keys in split.parts.items() for key in keys}
    parts = np.array([part_of[tile.key] for tile in tiles])
    groups = group_by_buildings(tiles).numbered()
    pairs = np.unique(np.column_stack([groups, parts]), axis=0)
    return int((np.bincount(pairs[:, 0]) > 1).sum())


def split_remarks(split: Split, tiles: Sequence[TileFacts]) -> tuple[str, ...]:
    """Sentences on what a split divides, and on tiles of which too little is known."""
    remarks = []
    if torn := torn_groups(split, tiles):
        remarks.append(f"WARNING: {torn} groups of tiles that share buildings are divided between parts")
    for event, tests in split.folds.items():
        if len(tests) > 1:
            remarks.append(f"fold {event}: {', '.join(tests)} share buildings and are left out together")
    buildings = sum(tile.amounts[2:].sum() for tile in tiles)
    placeless = sum(tile.ground is None and tile.amounts[2:].any() for tile in tiles)
    if buildings and placeless:
        remarks.append(
            f"{placeless} tiles have buildings without features.lng_lat: only uids tell what they share"
        )
    if unreadable := sum(not tile.readable for tile in tiles):
        remarks.append(
            f"{unreadable} pairs have unreadable labels: dealt out as tiles, left out of the files"
        )
    return tuple(remarks)


def shares_table(split: Split) -> str:
    """Table of what each part holds and which share of the whole that is, in percent."""
    totals = {kind: sum(counts[kind] for counts in split.counts.values()) for kind in AMOUNTS}
    wanted = split.made.get("fractions", {})
    rows = [["part", "wanted", *AMOUNTS]]
    for part, counts in split.counts.items():
        cells = [
            f"{counts[kind]} {100 * counts[kind] / totals[kind]:5.1f}%" if totals[kind] else "0"
            for kind in AMOUNTS
        ]
        fraction = wanted.get(part) if isinstance(wanted, Mapping) else None
        rows.append([part, f"{100 * fraction:.1f}%" if isinstance(fraction, float) else "", *cells])
    rows.append(["all", "", *map(str, totals.values())])
    return aligned(rows, ">")


def _kept_whole(split_by: str) -> str:
    return {"event": " or event", "location": " or neighbourhood"}.get(split_by, "")
