"""Damage to the outlines of a label: WKT text, coordinates, rings, and whole features."""

import json
import math
import re
from collections.abc import Callable
from random import Random
from typing import Any

LabelDamage = Callable[[Random, dict[str, Any]], None]

_ODD_WKT = (
    None, 5, [], {}, "", " ", "POLYGON", "POLYGON EMPTY", "POLYGON ()", "POLYGON (())", "POLYGON ((,))",
    "POLYGON ((1))", "POLYGON ((1 1))", "POLYGON ((1 1, 1 1))", "POLYGON ((1 1, 2 2, 1 1))",
    "POLYGON ((1 1 1, 2 2 2, 3 1 1, 1 1 1))", "POLYGON Z ((1 1 1, 9 9 1, 3 1 1, 1 1 1))",
    "SRID=4326;POLYGON ((1 1, 9 1, 9 9, 1 1))", "polygon((1 1,9 1,9 9,1 1))", "POINT (3 3)",
    "LINESTRING (1 1, 9 9)", "GEOMETRYCOLLECTION (POINT (1 1))", "MULTIPOLYGON EMPTY", "MULTIPOLYGON (())",
    "MULTIPOLYGON (((1 1, 9 1, 9 9, 1 1)), ((2 2, 4 2, 4 4, 2 2)))",
    "MULTIPOLYGON (((1 1, 9 1, 9 9, 1 1)), EMPTY)",
    "POLYGON ((1 1, 9 1, 9 9, 1 1), (30 30, 40 30, 40 40, 30 30))",
    "POLYGON ((1 1, 30 1, 30 30, 1 30, 1 1), (5 5, 5 5))",
    "POLYGON ((1 1, 30 1, 30 30, 1 30, 1 1), (1 1, 30 1, 30 30, 1 30, 1 1))",
    "POLYGON ((1 1, 9 1, 9 9, 1 1)) x",
    "POLYGON ((\uff11 \uff11, \uff19 \uff11, \uff19 \uff19, \uff11 \uff11))",
    "POLYGON ((1_0 1, 9 1, 9 9, 1_0 1))", "POLYGON ((1\u30001, 9\u20031, 9\xa09, 1\x1c1))",
    "POLYGON ((0x1 1, 9 1, 9 9, 0x1 1))", "POLYGON ((1,5 1,5, 9 9))",
    "POLYGON ((+1 1., .9e1 1E0, 9 9, +1 1.))", "POLYGON ((1d0 1, 9 1, 9 9, 1d0 1))",
    "POLYGON ((1 1\0, 9 1, 9 9, 1 1))",
    "POLYGON ((\u0661 \u0661, \u0669 \u0661, \u0669 \u0669, \u0661 \u0661))",
    "POLYGON ((nan 1, 9 1, 9 9, nan 1))", "POLYGON ((inf 1, 9 1, 9 9, inf 1))",
    "POLYGON ((-infinity NaN, 9 1, 9 9, 1 1))", "POLYGON ((1 1, 9 1, 9 9, 1 1)",
)  # fmt: skip
_ODD_COORDINATES = (
    "nan", "inf", "-inf", "1e400", "1e308", "-1e308", "1e-320", "-0.0", "1048575.9", "1048576", "-1048575",
    "0.5", "1.5", "2.5", "-0.5", "-0.50001", "1e6", "-1e6", "65536", "-32769", "16777216", "1" * 400,
    "0." + "3" * 400, "1e", "--1",
)  # fmt: skip


def odd_wkt(rng: Random, label: dict[str, Any]) -> None:
    """Something else in the place of the polygon."""
    _feature(rng, label)["wkt"] = rng.choice(_ODD_WKT)


def text_damaged(rng: Random, label: dict[str, Any]) -> None:
    """Signs of the WKT are lost, doubled or others."""
    feature = _feature(rng, label)
    signs = list(feature["wkt"])
    for _ in range(rng.choice((1, 1, 2, 5))):
        place = rng.randrange(len(signs))
        signs[place : place + 1] = rng.choice(("", signs[place] * 2, *"(),. -e+x\n\0", "EMPTY"))
    feature["wkt"] = "".join(signs)


def odd_coordinates(rng: Random, label: dict[str, Any]) -> None:
    """One or all coordinates are not finite, far away, tiny or halves."""
    feature = _feature(rng, label)
    numbers = re.findall(r"-?\d+(?:\.\d+)?", feature["wkt"])
    chosen = rng.choice((rng.choice(numbers), None))

    def changed(match: re.Match[str]) -> str:
        return (
            rng.choice(_ODD_COORDINATES)
            if match[0] == chosen or (chosen is None and rng.random() < 0.3)
            else match[0]
        )

    feature["wkt"] = re.sub(r"-?\d+(?:\.\d+)?", changed, feature["wkt"])


def moved_out(rng: Random, label: dict[str, Any]) -> None:
    """The outline lies partly or wholly beyond the image."""
    dx, dy = (rng.choice((-1e5, -200, -30, 0, 30, 200, 1e5, 1e6)) for _ in range(2))
    points = [(x + dx, y + dy) for x, y in _circle(9, 64, 64, rng.choice((0.2, 5, 40)))]
    _feature(rng, label)["wkt"] = _polygon(points)


def degenerate(rng: Random, label: dict[str, Any]) -> None:
    """Rings without area, open, crossing themselves, or doubled."""
    x, y = rng.uniform(0, 127), rng.uniform(0, 127)
    points = rng.choice(
        (
            [(x, y)],
            [(x, y)] * 5,
            [(x, y), (x + 9, y)],
            [(x, y), (x + 9, y + 9), (x + 9, y), (x, y + 9)],
            _circle(7, x, y, 20)[::2] + _circle(7, x, y, 20)[1::2],
            _circle(6, x, y, 20) * 2,
            [(rng.uniform(-20, 150), rng.uniform(-20, 150)) for _ in range(60)],
        )
    )
    _feature(rng, label)["wkt"] = _polygon(points, closed=rng.random() < 0.7)


def holes(rng: Random, label: dict[str, Any]) -> None:
    """Holes outside, across, inside one another, twice, or of one point."""
    rings = [_circle(24, 60, 60, 40)]
    for _ in range(rng.choice((1, 2, 6, 20))):
        size, at = rng.choice((0.0, 2.0, 8.0, 30.0, 60.0)), (rng.uniform(10, 110), rng.uniform(10, 110))
        rings.append(_circle(rng.choice((1, 2, 3, 8)), *at, size))
    _feature(rng, label)["wkt"] = _wkt(rings)


def feature_damaged(rng: Random, label: dict[str, Any]) -> None:
    """A feature that is no building, has no uid, another's uid, or an odd subtype."""
    entries = label["features"]["xy"]
    feature = _feature(rng, label)
    properties = feature["properties"]
    key, values = rng.choice(
        (
            ("uid", (None, "", 5, entries[0]["properties"]["uid"], "\ud83d", "a\nb", ["x"], "u" * 10_000)),
            (
                "subtype",
                (None, "", "Destroyed", "un-classified", 3, ["destroyed"], {}, "no-damage\n", "x" * 10_000),
            ),
            ("feature_type", (None, "", "tree", 1, [], "building ", "y" * 10_000)),
        )
    )
    if rng.random() < 0.2:
        properties.pop(key, None)
    else:
        properties[key] = rng.choice(values)


def huge_outline(rng: Random, label: dict[str, Any]) -> None:
    """Ten megabytes of WKT: vertices, blanks, brackets, or digits."""
    size = 10_000_000
    count = size // 24
    _feature(rng, label)["wkt"] = rng.choice(
        (
            lambda: _polygon(_circle(count, 64, 64, 60)),
            lambda: _polygon([(rng.random() * 128, rng.random() * 128) for _ in range(count)]),
            lambda: "POLYGON ((" + " " * size + "1 1, 9 1, 9 9, 1 1))",
            lambda: "POLYGON " + "(" * size,
            lambda: "POLYGON ((" + "1 1, " * (size // 5) + "x))",
            lambda: "POLYGON ((" + "1" * size + " 1, 9 1, 9 9, 1 1))",
            lambda: "(" + ")" * size,
            lambda: "POLYGON ((" + "1 " * (size // 2) + "))",
            lambda: "MULTIPOLYGON (((" + ")), ((".join(["1 1, 9 1, 9 9, 1 1"] * (size // 24)) + ")))",
        )
    )()


def many_rings(rng: Random, label: dict[str, Any]) -> None:
    """Hundreds or thousands of holes or parts, or rings of thousands of vertices."""
    outer = _circle(rng.choice((8, 3000)), 64, 64, 62)
    count, vertices = rng.choice(((40, 8), (400, 4), (3000, 3), (1, 3000), (3, 1500)))
    inner = [
        _circle(vertices, rng.uniform(25, 100), rng.uniform(25, 100), rng.choice((0.4, 3, 20)))
        for _ in range(count)
    ]
    if rng.random() < 0.5:
        _feature(rng, label)["wkt"] = _wkt([outer, *inner])
    else:
        _feature(rng, label)["wkt"] = (
            "MULTIPOLYGON (" + ", ".join(_rings([ring]) for ring in [outer, *inner]) + ")"
        )


def many_features(rng: Random, label: dict[str, Any]) -> None:
    """Thousands of buildings, each with its own uid or all with one."""
    feature = json.dumps(_feature(rng, label))
    same = rng.random() < 0.3
    for number in range(rng.choice((1000, 5000))):
        copy = json.loads(feature)
        copy["properties"]["uid"] = "same" if same else f"uid-{number}"
        label["features"]["xy"].append(copy)


def metadata_damaged(rng: Random, label: dict[str, Any]) -> None:
    """Sizes, names and figures of the metadata are odd, missing, or lead elsewhere."""
    metadata = label["metadata"]
    key, values = rng.choice(
        (
            ("width", (None, 0, -1, 1.0, "128", True, 10**30, 129, [])),
            ("height", (None, 0, -1, 1.0, "128", False, 2**31, 127, {})),
            ("gsd", (None, 0, -1, "0.5", True, 1e999, math.nan, 10**400, [])),
            ("disaster", (None, "", 5, [], "../..", "a\nb", "\ud800", "d" * 100_000)),
            ("disaster_type", (None, "", 5, {}, "<b>", "\0", "t" * 100_000)),
            (
                "img_name",
                (
                    "../../outside/secret.png",
                    "/etc/passwd",
                    "",
                    None,
                    7,
                    "other.png",
                    "x\0.png",
                    "n" * 100_000,
                ),
            ),
        )
    )
    if rng.random() < 0.2:
        metadata.pop(key, None)
    else:
        metadata[key] = rng.choice(values)


LABEL_DAMAGES: dict[str, LabelDamage] = {
    "odd WKT": odd_wkt,
    "WKT damaged": text_damaged,
    "odd coordinates": odd_coordinates,
    "outline moved out": moved_out,
    "outline degenerate": degenerate,
    "odd holes": holes,
    "feature damaged": feature_damaged,
    "metadata damaged": metadata_damaged,
}
HEAVY_LABEL_DAMAGES: dict[str, LabelDamage] = {
    "10 MB of WKT": huge_outline,
    "many rings or vertices": many_rings,
    "many buildings": many_features,
}


def _feature(rng: Random, label: dict[str, Any]) -> dict[str, Any]:
    """One of the buildings; a label without any gets one."""
    entries = label["features"]["xy"]
    if not entries:
        properties = {"feature_type": "building", "uid": "new", "subtype": "destroyed"}
        entries.append({"properties": properties, "wkt": _polygon(_circle(5, 40, 40, 9))})
    return rng.choice(entries)


def _circle(count: int, x: float, y: float, radius: float) -> list[tuple[float, float]]:
    turn = 2 * math.pi / count
    return [
        (x + radius * math.cos(turn * index), y + radius * math.sin(turn * index)) for index in range(count)
    ]


def _polygon(points: list[tuple[float, float]], closed: bool = True) -> str:
    return f"POLYGON {_rings([points], closed)}"


def _wkt(rings: list[list[tuple[float, float]]]) -> str:
    return f"POLYGON {_rings(rings)}"


def _rings(rings: list[list[tuple[float, float]]], closed: bool = True) -> str:
    texts = [", ".join(f"{x:.6f} {y:.6f}" for x, y in ring + ring[:1] * closed) for ring in rings]
    return "((" + "), (".join(texts) + "))"
