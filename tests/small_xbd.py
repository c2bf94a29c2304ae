"""Pairs of small labelled images in the layout of xBD."""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

Vertices = list[tuple[float, float]]


def square(x: float, y: float, side: float = 8) -> Vertices:
    """Its vertices; filled by the official rule it is ``side`` + 1 px wide."""
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def write_pair(
    root: Path,
    split: str,
    scene: str,
    buildings: Sequence[tuple[Vertices, str | None]],
    shape: tuple[int, int] = (48, 48),
    shift: float = 0,
) -> str:
    """Writes gray images of ``shape`` (h, w) with their labels.

    ``buildings`` are vertices and subtype; the post outlines lie ``shift`` px further right. Returns the
    scene.
    """
    for time in ("pre", "post"):
        entries = []
        for index, (vertices, subtype) in enumerate(buildings):
            moved = [(x + (shift if time == "post" else 0), y) for x, y in vertices]
            text = ", ".join(f"{x} {y}" for x, y in [*moved, moved[0]])
            properties = {"feature_type": "building", "uid": f"{scene}-{index}"}
            properties |= {"subtype": subtype} if time == "post" and subtype else {}
            entries.append({"properties": properties, "wkt": f"POLYGON (({text}))"})
        metadata = {"width": shape[1], "height": shape[0], "disaster": scene.partition("_")[0]}
        label = {"features": {"xy": entries, "lng_lat": []}, "metadata": metadata | {"disaster_type": "fire"}}
        for folder, suffix in (("images", "png"), ("labels", "json")):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
            path = root / split / folder / f"{scene}_{time}_disaster.{suffix}"
            if suffix == "json":
                path.write_text(json.dumps(label))
            else:
                assert cv2.imwrite(str(path), np.full((*shape, 3), 60, np.uint8))
    return scene
