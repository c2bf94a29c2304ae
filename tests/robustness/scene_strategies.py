"""Hypothesis strategies of valid xBD scenes, and how they are written as files.

Coordinates are whole quarters of a pixel, so that halves, on which rounding matters, come up often.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.targets import Parts

Points = list[tuple[float, float]]

quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""Few examples, the same on every machine."""


@dataclass(frozen=True)
class DrawnScene:
    """What a scene's files will say: size in px, and (parts on pre and post, damage) of each building."""

    width: int
    height: int
    buildings: tuple[tuple[Parts, Parts, int], ...]


def _quarters(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(round(low * 4), round(high * 4)).map(lambda number: number / 4)


@st.composite
def free_polygon(draw: st.DrawFn, width: int, height: int, slack: int = 12) -> Parts:
    """Any ring: a point, a line, a star, across the border."""
    points = draw(
        st.lists(
            st.tuples(_quarters(-slack, width + slack), _quarters(-slack, height + slack)),
            min_size=1,
            max_size=9,
        )
    )
    return ((_ring(points),),)


@st.composite
def polygon_with_holes(draw: st.DrawFn, width: int, height: int) -> Parts:
    """A rectangle inside the image, with up to three holes in a row, neither meeting nor crossing."""
    x0, y0 = draw(_quarters(0, width / 4)), draw(_quarters(0, height / 4))
    x1, y1 = draw(_quarters(width * 0.75, width - 1)), draw(_quarters(height * 0.75, height - 1))
    count = draw(st.integers(1, max(1, min(3, int(x1 - x0) // 4))))
    cell = (x1 - x0) / count
    rings = [_ring([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])]
    for number in range(count):
        left, right = x0 + cell * number + 1, x0 + cell * (number + 1) - 1
        xs = sorted((draw(_quarters(left, right)), draw(_quarters(left, right))))
        ys = sorted((draw(_quarters(y0 + 1, y1 - 1)), draw(_quarters(y0 + 1, y1 - 1))))
        if xs[0] < xs[1] and ys[0] < ys[1]:
            corners = [(xs[0], ys[0]), (xs[0], ys[1]), (xs[1], ys[1]), (xs[1], ys[0])]
            rings.append(_ring(corners[: draw(st.integers(3, 4))]))
    return (tuple(rings),)


@st.composite
def outlines(draw: st.DrawFn, width: int, height: int) -> Parts:
    """One building: a free polygon, one with holes, or several parts."""
    one = st.one_of(free_polygon(width, height), polygon_with_holes(width, height))
    return tuple(part for parts in draw(st.lists(one, min_size=1, max_size=3)) for part in parts)


@st.composite
def scenes(draw: st.DrawFn, most: int = 5) -> DrawnScene:
    """Scenes without, with few or with overlapping buildings of any grade, on images of any form."""
    width, height = draw(st.integers(8, 48)), draw(st.integers(8, 48))
    buildings = []
    for _ in range(draw(st.integers(0, most))):
        pre = draw(outlines(width, height))
        shift = np.array([draw(_quarters(-2, 2)), draw(_quarters(-2, 2))])
        post = tuple(tuple(ring + shift for ring in polygon) for polygon in pre)
        buildings.append((pre, post, draw(st.integers(-1, 3))))
    return DrawnScene(width, height, tuple(buildings))


def write_scene(root: Path, scene: DrawnScene, name: str, split: str = "train") -> None:
    """Writes the four files of a scene; its buildings have the uids u0, u1, ..."""
    for time in ("pre", "post"):
        entries = []
        for number, (pre, post, damage) in enumerate(scene.buildings):
            properties = {"feature_type": "building", "uid": f"u{number}"}
            if time == "post":
                properties["subtype"] = SUBTYPE_BY_DAMAGE[damage]
            entries.append({"properties": properties, "wkt": wkt(pre if time == "pre" else post)})
        metadata = {"disaster": "test-flood", "disaster_type": "flooding", "gsd": 0.5}
        metadata |= {"width": scene.width, "height": scene.height}
        label = {"features": {"xy": entries, "lng_lat": []}, "metadata": metadata}
        stem = f"{name}_{time}_disaster"
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
        (root / split / "labels" / f"{stem}.json").write_text(json.dumps(label))
        image = np.zeros((scene.height, scene.width, 3), np.uint8)
        assert cv2.imwrite(str(root / split / "images" / f"{stem}.png"), image)


def wkt(parts: Parts) -> str:
    """POLYGON or MULTIPOLYGON text of closed rings."""
    polygons = [
        "("
        + ", ".join("(" + ", ".join(f"{x!r} {y!r}" for x, y in _closed(ring)) + ")" for ring in polygon)
        + ")"
        for polygon in parts
    ]
    return f"POLYGON {polygons[0]}" if len(polygons) == 1 else f"MULTIPOLYGON ({', '.join(polygons)})"


def official_mask(parts: Parts, height: int, width: int) -> np.ndarray:
    """The official fill rule, pixel by pixel, apart from the product's: uint8 (height, width) 0/1."""
    mask = np.zeros((height, width), np.uint8)
    for polygon in parts:
        rings = [np.floor(ring + 0.5).astype(np.int32) for ring in polygon]
        for row in range(height):
            crossings = sorted(x for ring in rings for x in _crossings(ring.tolist(), row))
            for left, right in zip(crossings[::2], crossings[1::2], strict=True):
                mask[row, max(0, -(-left >> 16)) : max(0, (right >> 16) + 1)] = 1
        cv2.polylines(mask, rings, True, 1)
    return mask


def _crossings(ring: list[list[int]], row: int) -> list[int]:
    """Where the edges cross a row, in px / 2**16; an edge has its upper end and not its lower one."""
    found = []
    for start, end in zip(ring, ring[1:] + ring[:1], strict=True):
        (x, top), (x_end, bottom) = sorted((start, end), key=lambda vertex: vertex[1])
        if top <= row < bottom:
            wide = (x_end - x) << 16
            step = abs(wide) // (bottom - top) * (1 if wide >= 0 else -1)
            found.append((x << 16) + (row - top) * step)
    return found


def _ring(points: Points) -> np.ndarray:
    return np.array(points, np.float64)


def _closed(ring: np.ndarray) -> list[list[float]]:
    return [*ring.tolist(), ring[0].tolist()]
