"""The page's files as `skyeye assess` writes them, made up: any number of buildings, images of noise.

px are those of the grid, x right and y down. North is up, 0.5 m a px.
"""

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np

PAGE = Path(__file__).parents[2] / "skyeye_det/report/page"
GRADES = ("no_damage", "minor", "major", "destroyed")
COLORS = ("#2c7bb6", "#ffffbf", "#fdae61", "#d7191c")
STATUSES = ["assessed", "post image shows nothing here"]
TILE, CHUNK, PIXEL_M, CELL = 256, 1024, 0.5, 1000
HOSTILE = "<img src=x onerror=window.hurt=1>"
"""Name of an area: text, never markup."""


def write_page(
    folder: Path, count: int, width: int, height: int, linked: Path | None = None
) -> dict[str, Any]:
    """Writes a whole report into a folder.

    Args:
        folder: made here.
        count: of buildings; one of eight is not assessed.
        width, height: of the scene in px.
        linked: tiles are links to this one file, where the images do not matter.

    Returns:
        What ``meta.js`` says.
    """
    rng = np.random.default_rng(7)
    max_zoom = max(0, math.ceil(math.log2(max(width, height) / TILE)))
    columns = _columns(rng, count, width, height)
    for side in ("pre", "post"):
        _tiles(folder / "tiles" / side, side, columns, (width, height), max_zoom, linked)
    meta = _meta(columns, width, height, max_zoom)
    places: dict[str, list[int]] = {}
    for index, (x, y) in enumerate(columns["middle"]):
        places.setdefault(f"{int(x) // CHUNK}_{int(y) // CHUNK}", []).append(index)
    ids: dict[str, dict[str, str]] = {}
    order = []
    for key, members in places.items():
        chunk = {
            name: [columns[name][index] for index in members]
            for name in (
                "id",
                "layer",
                "damage",
                "score",
                "status",
                "valid",
                "area",
                "shift_m",
                "rings",
                "lon",
                "lat",
                "review",
            )
        }
        chunk["p"] = [value for index in members for value in columns["p"][index]]
        _write(folder / f"chunks/{key}.js", f"skyeye.chunk({json.dumps(key)}, {json.dumps(chunk)});")
        for place, index in enumerate(members):
            number = sum(map(ord, columns["id"][index])) % 256
            ids.setdefault(f"{number:02x}", {})[columns["id"][index]] = key
            if columns["damage"][index] >= 0:
                order.append((max(columns["p"][index]), *map(int, key.split("_")), place))
    for number, keys in ids.items():
        _write(folder / f"ids/{number}.js", f"skyeye.ids({json.dumps(number)}, {json.dumps(keys)});")
    uncertain = [place for _, *place in sorted(order)[:2000]]
    _write(folder / "uncertain.js", f"skyeye.uncertain({json.dumps(uncertain)});")
    meta["chunks"] = {key: len(members) for key, members in places.items()}
    _write(folder / "meta.js", f"skyeye.meta({json.dumps(meta)});")
    return meta


def inline_page(folder: Path, leaflet: Path, server: str = "") -> None:
    """Writes ``index.html`` from the app's sources.

    Args:
        folder: of the report.
        leaflet: folder with leaflet.js and leaflet.css.
        server: script of a server's own copy.
    """
    texts = {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted((PAGE / "texts").glob("*.json"))
    }
    scripts = [leaflet / "leaflet.js", *sorted(PAGE.glob("*.js"))]
    style = (leaflet / "leaflet.css").read_text("utf-8") + (PAGE / "style.css").read_text("utf-8")
    parts = {
        "style": f"<style>{style}</style>",
        "texts": f'<script type="application/json" id="texts">{json.dumps(texts)}</script>'.replace(
            "<\\", ""
        ),
        "server": f"<script>{server}</script>" if server else "",
        "script": "".join(f"<script>{path.read_text('utf-8')}</script>\n" for path in scripts),
    }
    html = (PAGE / "index.html").read_text("utf-8")
    for name, part in parts.items():
        html = html.replace(f"<!--{name}-->", part)
    _write(folder / "index.html", html)


def _columns(rng: np.random.Generator, count: int, width: int, height: int) -> dict[str, Any]:
    a_row = max(1, math.ceil(math.sqrt(count * width / height)))
    step_x, step_y = width / a_row, height / max(1, math.ceil(count / a_row))
    index = np.arange(count)
    middle = np.stack([(index % a_row + 0.5) * step_x, (index // a_row + 0.5) * step_y], axis=1)
    middle += rng.uniform(-0.12, 0.12, middle.shape) * [step_x, step_y]
    severity = np.clip(middle[:, 0] / width * 3 + rng.normal(0, 0.8, count), 0, 3)
    p = np.exp(-((np.arange(4) - severity[:, None]) ** 2) / rng.uniform(0.2, 1.2, (count, 1)))
    p = np.round(1000 * p / p.sum(axis=1, keepdims=True)).astype(int)
    unseen = index % 8 == 5
    p[unseen] = 0
    side = rng.uniform(0.22, 0.42, (count, 2)) * min(step_x, step_y, 60)
    angle = rng.uniform(0, math.pi, count)
    rings = [
        _outline(*each, hole=number % 9 == 4)
        for number, each in enumerate(zip(middle, side, angle, strict=True))
    ]
    return {
        "middle": middle,
        "id": [f"b{number:06d}" for number in range(count)],
        "layer": [int(number % 11 == 3) for number in range(count)],
        "damage": np.where(unseen, -1, p.argmax(axis=1)).tolist(),
        "p": p.tolist(),
        "score": rng.integers(400, 1000, count).tolist(),
        "status": unseen.astype(int).tolist(),
        "valid": np.where(unseen, 20, 100).tolist(),
        "area": np.round(side.prod(axis=1) * 4 * PIXEL_M**2, 1).tolist(),
        "shift_m": [None if number % 7 == 0 else 0.4 for number in range(count)],
        "rings": rings,
        "lon": np.round(20 + middle[:, 0] * 5e-6, 6).tolist(),
        "lat": np.round(40 - middle[:, 1] * 4.5e-6, 6).tolist(),
        "review": [
            {"damage": 3, "by": "A. Nalyst", "note": "roof gone"} if number == 2 else None
            for number in range(count)
        ],
    }


def _outline(middle: np.ndarray, side: np.ndarray, angle: float, hole: bool) -> list[list[float]]:
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side
    rings = [corners, corners[::-1] * 0.4] if hole else [corners]
    return [np.round(ring @ turn.T + middle, 1).reshape(-1).tolist() for ring in rings]


def _tiles(
    folder: Path,
    side: str,
    columns: dict[str, Any],
    size: tuple[int, int],
    max_zoom: int,
    linked: Path | None,
) -> None:
    width, height = size
    image = np.zeros((1, 1, 3), np.uint8) if linked else _image(side, columns, width, height)
    for zoom in range(max_zoom, -1, -1):
        scale = 2 ** (max_zoom - zoom)
        for x in range(math.ceil(width / TILE / scale)):
            (folder / f"{zoom}/{x}").mkdir(parents=True, exist_ok=True)
            for y in range(math.ceil(height / TILE / scale)):
                path = folder / f"{zoom}/{x}/{y}.jpg"
                if linked:
                    path.hardlink_to(linked)
                    continue
                part = image[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
                tile = np.zeros((TILE, TILE, 3), np.uint8)
                tile[: part.shape[0], : part.shape[1]] = part
                cv2.imwrite(str(path), tile, [cv2.IMWRITE_JPEG_QUALITY, 80])
        if not linked:
            halves = (math.ceil(image.shape[1] / 2), math.ceil(image.shape[0] / 2))
            image = cv2.resize(image, halves, interpolation=cv2.INTER_AREA)


def _image(side: str, columns: dict[str, Any], width: int, height: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    ground = cv2.resize(
        rng.normal(0, 1, (height // 40 + 2, width // 40 + 2)), (width, height), interpolation=cv2.INTER_CUBIC
    )
    image = np.stack([70 + 8 * ground, 96 + 14 * ground, 88 + 10 * ground], axis=2)
    image += rng.normal(0, 5, (height, width, 1))
    for rings, damage in zip(columns["rings"], columns["damage"], strict=True):
        roof = np.array(rings[0]).reshape(-1, 1, 2)
        ruined = side == "post" and damage >= 2
        color = rng.normal((95, 110, 120), 8) if ruined else rng.normal((140, 150, 175), 18)
        cv2.fillPoly(image, [np.round(roof).astype(np.int32)], color.tolist())
    return np.clip(image, 0, 255).astype(np.uint8)


def _meta(columns: dict[str, Any], width: int, height: int, max_zoom: int) -> dict[str, Any]:
    everywhere = np.ones(len(columns["id"]), bool)
    whole = _count(columns, everywhere)
    half = [0, 0, width / 2, height], [width / 2, 0, width, height]
    areas = [
        {"name": name, "box": box, "rings": [_ring(box)]} | _count(columns, _inside(columns, box))
        for name, box in zip((HOSTILE, "Río East"), half, strict=True)
    ]
    corners = [(x, y) for y in range(0, height, CELL) for x in range(0, width, CELL)]
    boxes = [[x, y, x + CELL, y + CELL] for x, y in corners]
    cells = [
        {"name": f"{x / 2000:.1f} {y / 2000:.1f}", "box": box} | _count(columns, _inside(columns, box))
        for (x, y), box in zip(corners, boxes, strict=True)
    ]
    nodes = np.linspace(0, 1, 5)
    sizes = {
        zoom: [math.ceil(side / TILE / 2 ** (max_zoom - zoom)) for side in (width, height)]
        for zoom in range(max_zoom + 1)
    }
    bits = {str(zoom): "1" * (x * y) for zoom, (x, y) in sizes.items()}
    lattice = {
        "x": (nodes * width).tolist(),
        "y": (nodes * height).tolist(),
        "lon": [(20 + nodes * width * 5e-6).tolist()] * 5,
        "lat": [[40 - node * height * 4.5e-6] * 5 for node in nodes],
    }
    windows = [
        {"x": x, "y": y, "dx": 3.0 + x / width, "dy": -1.5 + y / height}
        for y in range(300, height, max(600, height // 8))
        for x in range(300, width, max(600, width // 8))
    ]
    return {
        "version": 1, "run_id": "made-up-7", "model": "made-up model", "finished": "2026-11-29T14:00:00Z",
        "skyeye_det": "1.0", "pre_date": "2026-10-02", "post_date": "2026-11-20", "width": width, "height": height,
        "pixel_m": PIXEL_M, "crs": "EPSG:32634", "transform": [PIXEL_M, 0, 5e5, 0, -PIXEL_M, 4.4e6], "lonlat": lattice,
        "max_zoom": max_zoom, "chunk": CHUNK, "tiles": {"pre": bits, "post": bits},
        "grades": [{"key": key, "color": color} for key, color in zip(GRADES, COLORS, strict=True)],
        "not_assessed_color": "#8c8c8c", "status_texts": STATUSES,
        "counts": [
            {name: whole[name][grade] for name in ("labelled", "expected", "low", "high")} for grade in range(4)
        ],
        "buildings": whole["buildings"], "assessed": whole["assessed"], "not_in_footprints": sum(columns["layer"]),
        "seen_share": 0.93, "not_assessed": [{"reason": STATUSES[1], "area_m2": 0.07 * width * height * PIXEL_M**2}],
        "statuses": {text: columns["status"].count(index) for index, text in enumerate(STATUSES)},
        "areas": areas, "cells": [cell for cell in cells if cell["buildings"]],
        "shift": {"dx": 3.4, "dy": -1.1, "metres": 1.8, "applied": True, "agreeing": len(windows), "windows": windows},
        "coverage": [_ring([0, 0, width, height])],
        "limits": ["Trained on images of 0.3 to 0.8 m a pixel.", "Thin cloud, haze and smoke are not noticed."],
        "attribution": "Made-up images", "sources": {"pre": ["before.tif"], "post": ["after.tif"]},
        "rule": "most probable", "outlines": "right-angled",
    }  # fmt: skip


def _count(columns: dict[str, Any], chosen: np.ndarray) -> dict[str, Any]:
    damage = np.array(columns["damage"], int)[chosen]
    p = np.array(columns["p"], float).reshape(-1, 4)[chosen & (np.array(columns["damage"], int) >= 0)] / 1000
    expected, spread = p.sum(axis=0), 1.645 * np.sqrt((p * (1 - p)).sum(axis=0))
    return {
        "buildings": int(chosen.sum()),
        "assessed": int((damage >= 0).sum()),
        "labelled": [int((damage == grade).sum()) for grade in range(4)],
        "expected": expected.tolist(),
        "low": np.maximum(expected - spread, 0).tolist(),
        "high": (expected + spread).tolist(),
    }


def _inside(columns: dict[str, Any], box: list[float]) -> np.ndarray:
    x, y = np.reshape(columns["middle"], (-1, 2)).T
    return (x >= box[0]) & (x < box[2]) & (y >= box[1]) & (y < box[3])


def _ring(box: list[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
