"""Small splits for the tests of target images."""

import json
from pathlib import Path

import cv2
import numpy as np

SIDE = 48
Buildings = list[tuple[list[tuple[float, float]], str | None]]
"""(vertices, subtype) of each."""


def square(x: float, y: float, side: float = 8) -> list[tuple[float, float]]:
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


def write_pair(root: Path, number: int, buildings: Buildings, split: str = "tier3", shift: float = 0) -> str:
    """Writes a pair whose post outlines lie ``shift`` px further right; returns its scene."""
    scene = f"test-flood_{number:08d}"
    for folder in ("images", "labels"):
        (root / split / folder).mkdir(parents=True, exist_ok=True)
    for time in ("pre", "post"):
        entries = []
        for index, (vertices, subtype) in enumerate(buildings):
            moved = [(x + (shift if time == "post" else 0), y) for x, y in vertices]
            text = ", ".join(f"{x} {y}" for x, y in [*moved, moved[0]])
            properties = {"feature_type": "building", "uid": f"{number}-{index}"}
            properties |= {"subtype": subtype} if time == "post" and subtype else {}
            entries.append({"properties": properties, "wkt": f"POLYGON (({text}))"})
        label = {"features": {"xy": entries, "lng_lat": []}, "metadata": {"width": SIDE, "height": SIDE}}
        name = f"{scene}_{time}_disaster"
        (root / split / "labels" / f"{name}.json").write_text(json.dumps(label))
        image = np.zeros((SIDE, SIDE, 3), np.uint8)
        assert cv2.imwrite(str(root / split / "images" / f"{name}.png"), image)
    return scene


def targets(root: Path, scene: str, split: str = "tier3") -> tuple[Path, Path]:
    folder = root / split / "targets"
    return folder / f"{scene}_pre_disaster_target.png", folder / f"{scene}_post_disaster_target.png"
