"""Made-up predictions and truths of small tiles, to tune on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyeye_det.decision.tuning.rasterized import Truth
from skyeye_det.decision.tuning.tiles import KnownWindow, save_truth
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction, Prediction
from skyeye_det.prediction.store import save_prediction

SHAPE = (72, 90)
KINDS = ("instances", "hybrid", "pixels")


@dataclass(frozen=True, eq=False)
class KeptTile:
    prediction: Prediction
    truth: Truth


def keep(folder: Path, tiles: Sequence[KeptTile]) -> list[KnownWindow]:
    windows = []
    for number, tile in enumerate(tiles):
        name = f"storm_{number:08d}"
        windows.append(KnownWindow(name, folder / f"{name}.npz", folder / f"{name}.truth.npz"))
        save_prediction(windows[-1].prediction, tile.prediction)
        save_truth(windows[-1].truth, tile.truth)
    return windows


def random_truth(rng: np.random.Generator, classes: tuple[int, ...] = (0, 1, 2, 3, 4)):
    """Rectangles of each class, 0 un-classified; the damage image a pixel off, as the official ones are."""
    localization, damage = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    for value in classes:
        y, x = rng.integers(1, SHAPE[0] - 22), rng.integers(1, SHAPE[1] - 22)
        height, width = rng.integers(6, 20, 2)
        localization[y : y + height, x : x + width] = 1
        damage[y + 1 : y + height + 1, x : x + width] = value
    return localization, damage


def random_instances(rng: np.random.Generator, count: int, *, with_map: bool) -> InstancePrediction:
    corner = rng.uniform(-5, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(2, 30, (count, 2))], axis=1).astype(np.float32)
    probs = rng.dirichlet((0.6,) * 4, count).astype(np.float32)
    return InstancePrediction(
        boxes=boxes,
        masks=rng.integers(0, 256, (count, 7, 7), np.uint8),
        # coarse, so that some are equal
        scores=(np.round(rng.random(count) * 20) / 20).astype(np.float32),
        damage_probs=probs,
        is_component=rng.random(count) < 0.3,
        features=np.zeros((count, 0), np.float16),
        shape=SHAPE,
        building_map=soft_map(rng) if with_map else None,
    )


def soft_map(rng: np.random.Generator) -> np.ndarray:
    """uint8, in blobs of a few pixels."""
    return rng.integers(0, 256, (SHAPE[0] // 6, SHAPE[1] // 6), np.uint8).repeat(6, 0).repeat(6, 1)


def random_pixels(rng: np.random.Generator) -> PixelPrediction:
    values = rng.dirichlet((0.4,) * 4, SHAPE[0] * SHAPE[1] // 4).repeat(4, axis=0)
    damage_map = np.rint(values * 255).astype(np.uint8).T.reshape(4, *SHAPE)
    damage_map[:, :3] = 0  # nothing known of a pixel
    return PixelPrediction(building_map=soft_map(rng), damage_map=damage_map, shape=SHAPE)


def random_tile(kind: str, seed: int, count: int = 12) -> KeptTile:
    rng = np.random.default_rng(seed)
    if kind == "pixels":
        return KeptTile(random_pixels(rng), random_truth(rng))
    return KeptTile(random_instances(rng, count, with_map=kind == "hybrid"), random_truth(rng))


def village(seed: int, rare: bool = True) -> KeptTile:
    """Twelve squares found to the pixel, and faint false ones; minor damage looks a bit more like none.

    Plain argmax never says minor damage; of the truly undamaged only few look as the minor ones do.
    """
    rng = np.random.default_rng(seed)
    localization, damage = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    boxes, probs, scores = [], [], []
    for number in range(12):
        y, x = 4 + 24 * (number // 4), 3 + 22 * (number % 4)
        grade = int(rng.choice(4, p=(0.55, 0.15, 0.15, 0.15))) if rare else 0
        row = np.full(4, 0.05) + 0.8 * np.eye(4)[grade]
        if grade == 1 or (grade == 0 and rng.random() < 0.1):
            row = np.array([0.5, 0.35, 0.1, 0.05]) + rng.uniform(0, 0.02, 4)
        boxes.append((x, y, x + 14, y + 14))
        probs.append(row / row.sum())
        scores.append(0.9)
        localization[y : y + 14, x : x + 14] = 1
        damage[y : y + 14, x : x + 14] = grade + 1
    for y, x in rng.integers(0, 60, (4, 2)):
        boxes.append((x, y, x + 8, y + 8))
        probs.append(np.full(4, 0.25))
        scores.append(0.3)
    probs = np.array(probs, np.float32)
    count = len(boxes)
    prediction = InstancePrediction(
        boxes=np.array(boxes, np.float32),
        masks=np.full((count, 7, 7), 255, np.uint8),
        scores=np.array(scores, np.float32),
        damage_probs=probs,
        is_component=np.zeros(count, bool),
        features=np.zeros((count, 0), np.float16),
        shape=SHAPE,
    )
    return KeptTile(prediction, (localization, damage))
