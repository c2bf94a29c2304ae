"""Known footprints in a window, whose damage alone is to be predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.prediction.masks import Crop, crop_boxes, pixels_of
from skyeye_det.prediction.prediction import InstancePrediction, unit_probs
from skyeye_det.prediction.windows import Window

_SIDE = 28
"""S of the soft masks that models of instances read; their heads take any."""


@dataclass(frozen=True, eq=False)
class Footprints:
    """N outlines in a window, filled.

    Attributes:
        crops: N bool crops in px of the window, none empty.
        shape: (h, w) of the window.
    """

    crops: Sequence[Crop]
    shape: tuple[int, int]

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, XYXY px."""
        return crop_boxes(self.crops).astype(np.float32)

    @property
    def masks(self) -> np.ndarray:
        """(N, S, S) uint8, the share of each cell that is filled, 255 = all."""
        soft = [
            cv2.resize(mask.view(np.uint8) * np.uint8(255), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            for _, mask in self.crops
        ]
        return np.array(soft, np.uint8).reshape(-1, _SIDE, _SIDE)

    def prediction(self, damage_probs: np.ndarray) -> InstancePrediction:
        """What is kept of them: (N, 4) damage probabilities, in their order."""
        count = len(self.crops)
        return InstancePrediction(
            boxes=self.boxes,
            masks=self.masks,
            scores=np.ones(count, np.float32),
            damage_probs=damage_probs.astype(np.float32).reshape(count, 4),
            is_component=np.zeros(count, np.bool_),
            features=np.zeros((count, 0), np.float16),
            shape=self.shape,
        )

    def ungraded(self) -> InstancePrediction:
        """What is kept of them where nothing can be seen: each grade as likely as the others."""
        return self.prediction(np.full((len(self.crops), NUM_DAMAGE_CLASSES), 0.25, np.float32))


def shared_out(crops: Sequence[Crop], windows: Sequence[Window]) -> list[list[int]]:
    """Which window classifies which footprint: the one that sees it most centrally.

    Args:
        crops: filled outlines in px of the image.
        windows: of the image.

    Returns:
        For each window the indices of its footprints; each footprint is in one list.
    """
    boxes = crop_boxes(crops)
    apart = np.array([each.edge_distance(boxes - [each.x, each.y, each.x, each.y]) for each in windows])
    best = apart.argmax(axis=0) if len(crops) else np.zeros(0, np.int64)
    for index in np.flatnonzero(apart.max(axis=0, initial=-np.inf) < 0).tolist():  # in no window whole
        pixels = [np.count_nonzero(cut_to(crops[index], window)[1]) for window in windows]
        best[index] = int(np.argmax(pixels))
    return [np.flatnonzero(best == number).tolist() for number in range(len(windows))]


def cut_to(crop: Crop, window: Window) -> Crop:
    """The part of a crop of the image that lies in a window, in px of that."""
    (x, y), mask = crop
    left, top = max(window.x - x, 0), max(window.y - y, 0)
    part = mask[top : window.y + window.height - y, left : window.x + window.width - x]
    return (x + left - window.x, y + top - window.y), part


def mean_damage(damage_map: np.ndarray, crops: Sequence[Crop]) -> np.ndarray:
    """Mean probabilities (N, 4) of a damage map uint8 (4, h, w) over each crop's pixels, rows sum to 1."""
    means = [unit_probs(pixels_of(damage_map, crop).T).mean(axis=0) for crop in crops]
    return np.array(means, np.float32).reshape(-1, 4)
