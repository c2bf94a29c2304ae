"""Several predictions of one tile, of turned views or of other models, become one.

Instances are clustered by the IoU of their masks and averaged in the manner of weighted boxes fusion
(Solovyev et al. 2021, arXiv:1910.13302); maps are averaged pixel by pixel. What few have seen stays, with a
low score. Damage probabilities are pooled by their logarithms (Genest and Zidek 1986, Statistical Science
1:114), which a doubt moves farther than a mean; configs/README.md tells what that gains.

Glossary: ``V`` predictions with instances; ``N`` instances in all of them; ``C`` clusters; ``S`` side of a
soft mask; ``(h, w)`` tile. Boxes are XYXY in px, pixel ``k`` covers ``[k, k + 1]``.
"""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as coco_mask

from skyeye_det.prediction.instance_prediction import TilePrediction
from skyeye_det.prediction.pixel_prediction import PixelPrediction
from skyeye_det.prediction.rasterize import encode_instances, instance_crops

Prediction = TilePrediction | PixelPrediction

_LEAST_WEIGHT = 1e-6
"""Stands for a score of 0, so that a cluster of such instances still has a mean."""

_LEAST_PROBABILITY = 1e-3
"""Of a damage class in the pool: no model rules a class out for all others."""


def merge_predictions(predictions: Sequence[Prediction], iou_threshold: float = 0.5) -> Prediction:
    """Merges predictions of one tile, each in the tile's own frame.

    Instances: the best-scored free one founds a cluster and takes from each other prediction the free one of
    greatest mask IoU, if that reaches ``iou_threshold``; so a cluster has at most one of each. (Weighted
    boxes fusion compares with the running mean instead; with the founder, all IoUs are known beforehand.) A
    cluster's box and soft mask are the means of its members', weighted by score, and so are the logarithms of
    its damage probabilities; its score is the sum of theirs divided by V: one of eight views alone gives an
    eighth.

    Maps: plain means over the predictions that have them. Among instances, a map of pixels counts as one
    model more: its mean damage over an instance's pixels enters the instance's damage probabilities with
    weight 1, where the V instance predictions together have weight V. It has no say in scores. An ensemble
    therefore merges the views of each model first, then the models.

    Args:
        predictions: at least one; instances and maps of pixels may stand together.
        iou_threshold: least IoU, above 0 to 1, of two instances that are taken as one building.

    Returns:
        A ``TilePrediction``, best score first, where one is among ``predictions``, else a
        ``PixelPrediction``. A single prediction comes back as it is.

    Raises:
        ValueError: no predictions, tiles of different sizes, predictions already decided by a rule, or a
            threshold out of range.
    """
    _check(predictions, iou_threshold)
    if len(predictions) == 1:
        return predictions[0]
    tiles = [found for found in predictions if isinstance(found, TilePrediction)]
    pixels = [found for found in predictions if isinstance(found, PixelPrediction)]
    maps = [found.building_map for found in predictions if found.building_map is not None]
    building_map = _mean_map(maps) if maps else None
    damage_map = _mean_map([found.damage_map for found in pixels]) if pixels else None
    if not tiles:
        assert building_map is not None
        assert damage_map is not None
        return PixelPrediction(building_map=building_map, damage_map=damage_map, shape=predictions[0].shape)
    boxes, masks, scores, damage_probs = _merged_instances(tiles, iou_threshold)
    if damage_map is not None:
        seen, is_seen = _mean_damage(boxes, masks, damage_map)
        both = _pooled(
            len(tiles) * _logarithms(damage_probs) + len(pixels) * _logarithms(seen), len(predictions)
        )
        damage_probs = np.where(is_seen[:, None], both, damage_probs).astype(np.float32)
    return TilePrediction(
        boxes=boxes,
        masks=masks,
        scores=scores,
        damage_probs=damage_probs,
        damage=damage_probs.argmax(axis=1),
        shape=tiles[0].shape,
        building_map=building_map,
    )


def _check(predictions: Sequence[Prediction], iou_threshold: float) -> None:
    if not predictions:
        raise ValueError("expected at least one prediction to merge, found none")
    shapes = {tuple(found.shape) for found in predictions}
    if len(shapes) > 1:
        raise ValueError(f"expected predictions of one tile, found the sizes {sorted(shapes)}")
    if any(found.rule is not None for found in predictions):
        raise ValueError("expected predictions as the models give them, found decided ones; merge first")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold: expected above 0 to 1, found {iou_threshold}")


def _mean_map(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of uint8 maps of one shape, rounded once, half upwards."""
    total = np.zeros(maps[0].shape, np.uint32)
    for one in maps:
        total += one
    return ((2 * total + len(maps)) // (2 * len(maps))).astype(np.uint8)


def _merged_instances(
    tiles: Sequence[TilePrediction], iou_threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (C, 4), masks (C, S, S), scores (C,) and damage probabilities (C, 4), float32, best first."""
    clusters, count = _clusters(tiles, iou_threshold)
    total = np.zeros(count, np.float64)
    boxes, damage_logs = np.zeros((count, 4), np.float64), np.zeros((count, 4), np.float64)
    scores = np.zeros(count, np.float64)
    for tile, own in zip(tiles, clusters, strict=True):  # a cluster occurs once in `own`: += adds each
        weight = _weights(tile)
        total[own] += weight
        scores[own] += tile.scores
        boxes[own] += weight[:, None] * tile.boxes
        damage_logs[own] += weight[:, None] * _logarithms(tile.damage_probs)
    boxes, damage_probs = boxes / total[:, None], _pooled(damage_logs, total[:, None])
    side = max(tile.masks.shape[-1] for tile in tiles)
    masks = np.zeros((count, side, side), np.float32)
    for tile, own in zip(tiles, clusters, strict=True):
        share = (_weights(tile) / total[own]).astype(np.float32)
        masks[own] += share[:, None, None] * _moved_masks(tile.masks, tile.boxes, boxes[own], side)
    np.clip(masks, 0, 1, out=masks)
    order = np.argsort(-scores, kind="stable")
    kept = boxes[order], masks[order], scores[order] / len(tiles), damage_probs[order]
    return tuple(part.astype(np.float32, copy=False) for part in kept)  # type: ignore[return-value]


def _logarithms(damage_probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(damage_probs.astype(np.float64), _LEAST_PROBABILITY))


def _pooled(logarithms: np.ndarray, weights: np.ndarray | float) -> np.ndarray:
    """Probabilities (C, 4) from sums of weighted logarithms and the sums of their weights."""
    probs = np.exp(logarithms / weights)
    return probs / probs.sum(axis=1, keepdims=True)


def _weights(tile: TilePrediction) -> np.ndarray:
    return np.maximum(tile.scores.astype(np.float64), _LEAST_WEIGHT)


def _clusters(tiles: Sequence[TilePrediction], iou_threshold: float) -> tuple[list[np.ndarray], int]:
    """The cluster 0..C-1 of each instance, int64 (N of the prediction,) for each, and C."""
    sizes = [len(tile.scores) for tile in tiles]
    ends = np.cumsum(sizes)
    view = np.repeat(np.arange(len(tiles)), sizes).tolist()
    near = _neighbours(tiles, iou_threshold)
    scores = np.concatenate([tile.scores for tile in tiles])
    cluster = np.full(len(scores), -1, np.int64)
    count = 0
    for founder in np.argsort(-scores, kind="stable").tolist():
        if cluster[founder] >= 0:
            continue
        cluster[founder], views = count, {view[founder]}
        for other in near.get(founder, ()):
            if cluster[other] < 0 and view[other] not in views:
                cluster[other] = count
                views.add(view[other])
        count += 1
    return np.split(cluster, ends[:-1]), count


def _neighbours(tiles: Sequence[TilePrediction], iou_threshold: float) -> dict[int, list[int]]:
    """For each instance those of other predictions whose IoU reaches the threshold, greatest first.

    One matrix of two predictions' instances at a time; pycocotools compares run lengths only where boxes
    overlap.
    """
    starts = np.cumsum([0, *(len(tile.scores) for tile in tiles)])
    encoded = [_run_lengths(tile) for tile in tiles]
    ious, pairs = [np.zeros(0)], [np.zeros((0, 2), np.int64)]
    for second in range(1, len(tiles)):
        for first in range(second):
            if not encoded[first] or not encoded[second]:
                continue
            iou = coco_mask.iou(encoded[first], encoded[second], [0] * len(encoded[second]))
            place = np.argwhere(iou >= iou_threshold)
            ious.append(iou[tuple(place.T)])
            pairs.append(place + starts[[first, second]])
    order = np.argsort(-np.concatenate(ious), kind="stable")
    near: dict[int, list[int]] = {}
    for one, other in np.concatenate(pairs)[order].tolist():
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    return near


def _run_lengths(tile: TilePrediction) -> list[dict]:
    """Masks at 0.5; an instance without such a pixel is compared by its whole box."""
    encoded = encode_instances(tile.boxes, tile.masks, tile.shape)
    # One by one: pycocotools' area of a list fails from 256 masks on.
    bare = [index for index, one in enumerate(encoded) if not coco_mask.area(one)]
    boxes = encode_instances(tile.boxes[bare], np.ones_like(tile.masks[bare]), tile.shape)
    for index, box in zip(bare, boxes, strict=True):
        encoded[index] = box
    return encoded


def _moved_masks(masks: np.ndarray, boxes: np.ndarray, targets: np.ndarray, side: int) -> np.ndarray:
    """Soft masks (n, S, S) of ``boxes``, bilinear, on ``side`` x ``side`` cells of the boxes ``targets``."""
    across = _cell_weights(boxes[:, 0::2], targets[:, 0::2], masks.shape[-1], side)
    down = _cell_weights(boxes[:, 1::2], targets[:, 1::2], masks.shape[-1], side)
    return down @ masks @ across.transpose(0, 2, 1)


def _cell_weights(source: np.ndarray, target: np.ndarray, cells: int, side: int) -> np.ndarray:
    """Weights float32 (n, side, cells) of bilinear resampling from spans (n, 2) to spans; 0 outside."""
    source, target = source.astype(np.float64), target.astype(np.float64)
    centre = target[:, :1] + (np.arange(side) + 0.5) / side * (target[:, 1:] - target[:, :1])
    width = np.maximum(source[:, 1:] - source[:, :1], np.finfo(np.float32).tiny)
    place = ((centre - source[:, :1]) / width * cells - 0.5)[:, :, None]
    return np.maximum(1 - np.abs(place - np.arange(cells)), 0).astype(np.float32)


def _mean_damage(
    boxes: np.ndarray, masks: np.ndarray, damage_map: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of uint8 (4, h, w) over each instance's pixels: (C, 4), rows sum to 1, and bool (C,): has one."""
    seen = np.zeros((len(boxes), len(damage_map)), np.float64)
    for index, (x0, y0), crop in instance_crops(boxes, masks, damage_map.shape[1:]):
        part = damage_map[:, y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]]
        seen[index] = part[:, crop].sum(axis=1)
    total = seen.sum(axis=1, keepdims=True)
    return seen / np.maximum(total, 1), total[:, 0] > 0
