"""Predictions of made-up buildings, to the pixel."""

from collections.abc import Sequence

import numpy as np

from skyeye_det.prediction.prediction import InstancePrediction

Rectangle = tuple[int, int, int, int]


def square_prediction(
    rectangles: Sequence[Rectangle],
    scores: Sequence[float],
    *,
    components: Sequence[bool] | None = None,
    damage: Sequence[int] | None = None,
    building_map: np.ndarray | None = None,
    shape: tuple[int, int] = (96, 128),
) -> InstancePrediction:
    """Instances that fill their boxes (x0, y0, x1, y1), each nearly sure of one grade."""
    count = len(rectangles)
    grades = np.zeros(count, int) if damage is None else np.asarray(damage)
    return InstancePrediction(
        boxes=np.array(rectangles, np.float32).reshape(-1, 4),
        masks=np.full((count, 28, 28), 255, np.uint8),
        scores=np.asarray(scores, np.float32),
        damage_probs=np.where(np.arange(4) == grades[:, None], 0.91, 0.03).astype(np.float32),
        is_component=np.zeros(count, bool) if components is None else np.asarray(components, bool),
        features=np.zeros((count, 0), np.float16),
        shape=shape,
        building_map=building_map,
    )


def map_of(rectangles: Sequence[Rectangle], value: float, shape: tuple[int, int] = (96, 128)) -> np.ndarray:
    """A building map uint8 (h, w) that is ``value`` in rectangles."""
    image = np.zeros(shape, np.uint8)
    for x0, y0, x1, y1 in rectangles:
        image[y0:y1, x0:x1] = round(value * 255)
    return image
