"""Small xBD roots for the tests of reading and converting."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SQUARE = "POLYGON ((10 10, 20 10, 20 20, 10 20, 10 10))"


def feature(uid: str, wkt: Any = SQUARE, subtype: str | None = None, **properties: Any) -> dict[str, Any]:
    """One entry of ``features.xy``."""
    given = {"feature_type": "building", "uid": uid} | properties
    return {"properties": given | ({"subtype": subtype} if subtype else {}), "wkt": wkt}


def label(features: list[dict[str, Any]], size: int = 64, **metadata: Any) -> dict[str, Any]:
    """Content of a label file."""
    given = {"disaster": "test-flood", "disaster_type": "flooding", "gsd": 1.5, "width": size, "height": size}
    return {"features": {"xy": features, "lng_lat": []}, "metadata": given | metadata}


def write_pair(
    root: Path,
    pre: Any,
    post: Any,
    name: str = "test-flood_00000001",
    split: str = "train",
    suffix: str = ".png",
    size: int = 64,
) -> None:
    """Writes images and labels of a pair; ``pre`` and ``post`` are label contents or raw text."""
    for time, content in (("pre", pre), ("post", post)):
        for kind in ("images", "labels"):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content)
        (root / split / "labels" / f"{name}_{time}_disaster.json").write_text(text)
        image = np.zeros((size, size, 3), np.uint8)
        assert cv2.imwrite(str(root / split / "images" / f"{name}_{time}_disaster{suffix}"), image)


def write_buildings(root: Path, *buildings: tuple[str, str, str], **where: Any) -> None:
    """Writes a pair of (uid, wkt, subtype) with the same outlines in both files."""
    pre = [feature(uid, wkt) for uid, wkt, _ in buildings]
    post = [feature(uid, wkt, subtype) for uid, wkt, subtype in buildings]
    write_pair(root, label(pre), label(post), **where)
