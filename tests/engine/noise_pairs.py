"""Folders of small pairs of noise, and what inference leaves of them."""

import json
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.decision.rule import DecisionRule

SCENES = ("storm_00000001", "storm_00000002", "storm_00000003")
WIDTH, HEIGHT = 131, 97  # neither square nor a multiple of any stride
ALL = DecisionRule(score_threshold=0.0, pixel_threshold=0.01, map_weight=0.0)


def write_pair(folder: Path, scene: str, seed: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    for phase in ("pre", "post"):
        image = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        # Not imwrite: OpenCV 5.0 crashes on a path that is no UTF-8.
        (folder / f"{scene}_{phase}_disaster.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())


def pngs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def listed(folder: Path, name: str = "instances") -> list[dict]:
    return json.loads((folder / f"{name}.json").read_text())
