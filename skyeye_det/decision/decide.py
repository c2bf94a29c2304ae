"""From what models saw in a window to its buildings, by a rule: the only place where that is decided."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from skyeye_det.damage import DamageClass
from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.fills import building_values, filled_outlines, majority_damage
from skyeye_det.decision.owners import OWNER_FLOOR, owner_map
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.settle import InstanceSettling, SettledInstances
from skyeye_det.prediction.masks import EMPTY_CROP, Crop, trimmed, window_of
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction, Prediction, unit_probs
from skyeye_det.prediction.regions import Regions, connected_regions


def decide(prediction: Prediction, rule: DecisionRule) -> Buildings:
    """The buildings of a window.

    Args:
        prediction: of one model, or merged of several.
        rule: thresholds, grades, outlines and fills.

    Returns:
        Its buildings, best score first; with ``candidates`` where the model has scored instances.
    """
    if isinstance(prediction, PixelPrediction):
        return _decide_pixels(prediction, rule)
    settled = InstanceSettling(prediction).settle(rule)
    buildings = _of_instances(prediction, settled, settled.buildings, rule)
    left_out = ["duplicate" if one else "score" for one in settled.is_duplicate.tolist()]
    candidates = _of_instances(prediction, settled, settled.candidates, rule, left_out)
    pixels = _painted_pixels(prediction, settled, rule) if rule.outline == "painted" else None
    return replace(_with_values(buildings, pixels), candidates=candidates)


def _of_instances(
    prediction: InstancePrediction,
    settled: SettledInstances,
    chosen: np.ndarray,
    rule: DecisionRule,
    left_out: Sequence[str] | None = None,
) -> Buildings:
    is_component = prediction.is_component[chosen].tolist()
    return Buildings(
        shape=prediction.shape,
        masks=[settled.crops[index] for index in chosen.tolist()],
        values=[EMPTY_CROP] * len(chosen),
        scores=prediction.scores[chosen],
        damage=rule.damage(prediction.damage_probs[chosen]),
        damage_probs=rule.calibrated(prediction.damage_probs[chosen]),
        sources=["component" if one else "instance" for one in is_component],
        features=prediction.features[chosen],
        left_out=left_out,
        rule=rule,
    )


def _painted_pixels(
    prediction: InstancePrediction, settled: SettledInstances, rule: DecisionRule
) -> list[Crop]:
    """The pixels of each building whose probability reaches the rule's threshold; disjoint."""
    floor = min(OWNER_FLOOR, rule.pixel_threshold)
    owner, probability = owner_map(prediction, settled, rule.map_weight, floor)
    owner[probability < np.float32(rule.pixel_threshold)] = -1
    regions = Regions(owner + 1, len(settled.buildings) + 1)
    return [_region_crop(regions, number) for number in range(1, len(regions))]


def _region_crop(regions: Regions, number: int) -> Crop:
    if not regions.areas[number]:
        return EMPTY_CROP
    rows, columns = regions.window(number)
    return (columns.start, rows.start), regions.labels[rows, columns] == number


def _with_values(
    buildings: Buildings, pixels: Sequence[Crop] | None, own: np.ndarray | None = None
) -> Buildings:
    """Buildings with what each adds to the damage image.

    Args:
        buildings: with masks and grades.
        pixels: of each; None: those of the mask, or of its polygons, as the rule's outline says.
        own: uint8 (h, w), each pixel's own grade 1..4 where a semantic model gave one.
    """
    rule = buildings.rule
    if pixels is None:
        pixels = (
            buildings.masks
            if rule.outline in ("mask", "painted")
            else filled_outlines(buildings.outlines(rule.outline), buildings.shape)
        )
    rows = zip(pixels, buildings.damage.tolist(), buildings.damage_probs, strict=True)
    values = [
        building_values(crop, damage, probs, rule.fill, None if own is None else own[window_of(crop)])
        for crop, damage, probs in rows
    ]
    return replace(buildings, values=values)


def building_pixels(prediction: PixelPrediction, rule: DecisionRule) -> Regions:
    """The buildings of a semantic model: connected regions of pixels from ``pixel_threshold`` on.

    Those of fewer than ``min_area`` pixels are left out, then all where no mean probability that is left
    reaches ``presence_threshold``; ``score_threshold`` and ``map_weight`` have no effect.
    """
    # At least 1 of 255, so that 0 always means: no building.
    regions = connected_regions(prediction.building_map >= max(rule.pixel_threshold * 255, 1))
    if rule.min_area <= 0 and rule.presence_threshold <= 0:
        return regions
    kept = regions.areas >= rule.min_area
    kept[0] = False
    if not (region_scores(prediction, regions)[kept] >= rule.presence_threshold).any():
        kept[:] = False
    return connected_regions(kept[regions.labels])


def region_scores(prediction: PixelPrediction, regions: Regions) -> np.ndarray:
    """Mean probability of building float64 (R + 1,) of each region's pixels; 0 of the background."""
    values = prediction.building_map.ravel()[regions.places]
    total = np.bincount(regions.numbers, values, minlength=len(regions))
    return total / (255 * np.maximum(regions.areas, 1))


def _decide_pixels(prediction: PixelPrediction, rule: DecisionRule) -> Buildings:
    """Regions: score and probabilities are means of their pixels', the grade is that of most of them."""
    regions = building_pixels(prediction, rule)
    found = unit_probs(prediction.damage_map.reshape(4, -1)[:, regions.places].T)
    probs = rule.calibrated(found)
    own = regions.image_of((rule.damage(found) + DamageClass.NO_DAMAGE.pixel_value).astype(np.uint8))
    sums = [np.bincount(regions.numbers, column, minlength=len(regions)) for column in probs.T]
    means = np.stack(sums, axis=1) / np.maximum(regions.areas, 1)[:, None]
    scores = region_scores(prediction, regions)
    order = 1 + np.argsort(-scores[1:], kind="stable")
    masks = [_region_crop(regions, number) for number in order.tolist()]
    grades = [majority_damage(own[window_of(crop)][crop[1]]) for crop in masks]
    buildings = Buildings(
        shape=prediction.shape,
        masks=masks,
        values=[EMPTY_CROP] * len(masks),
        scores=scores[order].astype(np.float32),
        damage=np.array(grades, np.int64),
        damage_probs=means[order].astype(np.float32),
        sources=["region"] * len(masks),
        rule=rule,
    )
    return _with_values(buildings, None, own)


def decide_footprints(
    outlines: Sequence[Crop], damage_probs: np.ndarray, shape: tuple[int, int], rule: DecisionRule
) -> Buildings:
    """Buildings whose outlines are given: only their grades are decided.

    Args:
        outlines: N masks, bool crops of the image.
        damage_probs: (N, 4), as the model gave them.
        shape: (h, w) of the image in px.
        rule: its temperature, damage weights and fill count; outlines stand as they are.
    """
    buildings = Buildings(
        shape=shape,
        masks=[trimmed(crop) for crop in outlines],
        values=[EMPTY_CROP] * len(outlines),
        scores=np.ones(len(outlines), np.float32),
        damage=rule.damage(damage_probs),
        damage_probs=rule.calibrated(damage_probs),
        sources=["footprint"] * len(outlines),
        rule=rule,
    )
    return _with_values(buildings, buildings.masks)
