"""What a semantic model found in one tile, with the outputs of ``TilePrediction``."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES, DamageClass
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.instance_prediction import building_results, compact_probability, same_rule
from skyeye_det.prediction.rasterize import encode_crop
from skyeye_det.prediction.regions import connected_regions

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class PixelPrediction:
    """Probabilities of one tile's pixels; buildings are connected regions (by sides and corners).

    Of a rule, ``score_threshold`` and ``map_weight`` have no effect: there are no scored objects.

    Attributes:
        building_map: uint8 (height, width), probability of building, 255 = certain.
        damage_map: uint8 (4, height, width), probability of each damage class given building, likewise.
        shape: (height, width) of the tile in px.
        rule: what the buildings were decided by, None before ``decided``.
    """

    building_map: np.ndarray
    damage_map: np.ndarray
    shape: tuple[int, int]
    rule: DecisionRule | None = None

    @classmethod
    def from_pixel_probs(cls, pixel_probs: "Tensor | np.ndarray") -> "PixelPrediction":
        """Takes over the output of the semantic model for one pair, wherever it lies.

        Args:
            pixel_probs: float (5, H, W), 0..1: building, and the four damage classes given building.

        Raises:
            ValueError: another shape, or values that are not finite.
        """
        if len(pixel_probs.shape) != 3 or len(pixel_probs) != 1 + NUM_DAMAGE_CLASSES:
            raise ValueError(f"expected pixel probabilities (5, H, W), found {tuple(pixel_probs.shape)}")
        compact = compact_probability(pixel_probs)
        return cls(compact[0], compact[1:], compact.shape[1:])

    def decided(self, rule: DecisionRule) -> "PixelPrediction":
        """The buildings: ``building_map`` is 0 outside them.

        A building is a connected region of pixels from ``pixel_threshold`` on. Those of fewer than
        ``min_area`` pixels are left out, then all where no mean probability that is left reaches
        ``presence_threshold``. What was decided by the same rule before stays as it is.

        Raises:
            ValueError: decided by another rule before; the pixels left out are gone.
        """
        if self.rule is not None:
            return same_rule(self, rule)
        # At least 1 of 255, so that 0 always means: no building.
        building = self.building_map >= max(rule.pixel_threshold * 255, 1)
        if rule.min_area > 0 or rule.presence_threshold > 0:
            regions = connected_regions(building)
            kept = regions.areas >= rule.min_area
            kept[0] = False
            if not (self._scores(regions.labels)[kept] >= rule.presence_threshold).any():
                kept[:] = False
            building = kept[regions.labels]
        return replace(self, building_map=self.building_map * building, rule=rule)

    def rasterize(self, rule: DecisionRule) -> tuple[np.ndarray, np.ndarray]:
        """Decides, and gives (localization 0/1, damage 0..4), uint8 (height, width); each pixel by itself."""
        found = self.decided(rule)
        building = found.building_map > 0
        damage = np.zeros(self.shape, np.uint8)
        damage[building] = rule.damage(found._probs(building)) + DamageClass.NO_DAMAGE.pixel_value
        return building.view(np.uint8), damage

    def coco_results(self, scene: str, image_id: int, file_name: str) -> list[dict[str, Any]]:
        """COCO results of every building, best score first.

        The score is the mean probability of its pixels, the class that of most of them (of equal counts the
        lighter damage), the four probabilities are their means, calibrated.

        Raises:
            ValueError: not ``decided``.
        """
        if self.rule is None:
            raise ValueError("expected a prediction decided by a rule, found none")
        building = self.building_map > 0
        regions = connected_regions(building)
        label, count, found = regions.numbers, len(regions), self._probs(building)
        probs = self.rule.calibrated(found)
        grades = label * NUM_DAMAGE_CLASSES + self.rule.damage(found)
        votes = np.bincount(grades, minlength=count * NUM_DAMAGE_CLASSES).reshape(count, NUM_DAMAGE_CLASSES)
        means = np.stack([np.bincount(label, column, minlength=count) for column in probs.T], axis=1)
        means = means / np.maximum(regions.areas, 1)[:, None]
        scores = self._scores(regions.labels)
        order = 1 + np.argsort(-scores[1:], kind="stable")
        encoded = []
        for number in order.tolist():
            rows, columns = regions.window(number)
            crop = regions.labels[rows, columns] == number
            encoded.append(encode_crop((columns.start, rows.start), crop, self.shape))
        return building_results(
            {"image_id": image_id, "file_name": file_name, "scene": scene},
            encoded,
            regions.boxes[order],
            scores[order],
            votes[order].argmax(axis=1),
            means[order],
        )

    def _scores(self, labels: np.ndarray) -> np.ndarray:
        """Mean probability float64 of each region, and of the background before them."""
        total = np.bincount(labels.ravel(), self.building_map.ravel())
        return total / (255 * np.maximum(np.bincount(labels.ravel()), 1))

    def _probs(self, building: np.ndarray) -> np.ndarray:
        """Damage probabilities float32 (n, 4) of the n building pixels; rows sum to 1."""
        return unit_probs(self.damage_map[:, building].T)


def unit_probs(values: np.ndarray) -> np.ndarray:
    """float32 (n, 4), rows sum to 1, of pixels' damage probabilities uint8 (n, 4); of none at all 0."""
    probs = values.astype(np.float32)
    return probs / np.maximum(probs.sum(axis=1, keepdims=True), np.float32(1))
