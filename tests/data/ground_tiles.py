"""Tiles of buildings that have a place on the ground, for the tests of splits."""

from pathlib import Path
from typing import Any

import numpy as np
from xbd_files import feature, label, write_pair

METRES_A_PIXEL = 0.5
SIZE = 64
TILE = SIZE * METRES_A_PIXEL
"""m, the side of a tile."""

_METRES_A_DEGREE = 111_320.0
_LATITUDE = 30.0


def wkt(west: float, south: float, width: float = 10, height: float = 10) -> str:
    """A rectangle."""
    east, north = west + width, south + height
    corners = ((west, south), (east, south), (east, north), (west, north), (west, south))
    return "POLYGON ((" + ", ".join(f"{x!r} {y!r}" for x, y in corners) + "))"


def ground_wkt(pixels: tuple[float, float, float, float], place: tuple[float, float]) -> str:
    """A rectangle (x, y, width, height) in px of a tile with its upper left corner at ``place``, m."""
    x, y, width, height = (METRES_A_PIXEL * value for value in pixels)
    east = _METRES_A_DEGREE * np.cos(np.radians(_LATITUDE))
    west, north = place[0] + x, place[1] - y
    return wkt(
        float(west / east),
        float(_LATITUDE + north / _METRES_A_DEGREE),
        float(width / east),
        -height / _METRES_A_DEGREE,  # the vertices in the order of those on the image
    )


def write_tile(
    root: Path,
    name: str,
    buildings: list[tuple[str, tuple[float, float, float, float], str]],
    place: tuple[float, float] | None = (0, 0),
    split: str = "train",
) -> None:
    """Writes a pair of SIZE px with (uid, (x, y, width, height) px, subtype); no place, no lng_lat."""
    contents: list[dict[str, Any]] = []
    for time in ("pre", "post"):
        drawn = [
            feature(uid, wkt(*box), subtype if time == "post" else None) for uid, box, subtype in buildings
        ]
        content = label(drawn, size=SIZE, disaster=name.rpartition("_")[0])
        if place is not None:
            content["features"]["lng_lat"] = [
                feature(uid, ground_wkt(box, place)) for uid, box, _ in buildings
            ]
        contents.append(content)
    write_pair(root, *contents, name=name, split=split, size=SIZE)


def write_events(root: Path, tiles: dict[str, int], split: str = "train", north: float = 0) -> None:
    """Writes ``tiles`` of each event, far apart, with none to three buildings of changing damage each."""
    grades = ("no-damage", "minor-damage", "major-damage", "destroyed", "un-classified")
    for far, (event, count) in enumerate(tiles.items()):
        for number in range(count):
            buildings = [
                (
                    f"{split}-{event}-{number}-{index}",
                    (5.0 + 20 * index, 5.0, 10.0, 10.0),
                    grades[(number + index) % 5],
                )
                for index in range(number % 4)
            ]
            place = (1000.0 * number, 100_000.0 * far + north)
            write_tile(root, f"{event}_{number:08d}", buildings, place, split)
