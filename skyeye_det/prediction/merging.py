"""Several predictions of one window, of turned views or of other models, become one.

Instances are clustered by the IoU of their masks and averaged in the manner of weighted boxes fusion
(Solovyev et al. 2021, arXiv:1910.13302); maps are averaged pixel by pixel. What few have seen stays, with a
low score. Damage probabilities are pooled by their logarithms (Genest and Zidek 1986, Statistical Science
1:114), which a doubt moves farther than a mean; configs/README.md tells what that gains.

Glossary: ``V`` predictions with instances; ``N`` instances in all of them; ``C`` clusters; ``S`` side of a
soft mask; ``(h, w)`` window. Boxes are XYXY in px, pixel ``k`` covers ``[k, k + 1]``.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from skyeye_det.prediction.masks import bilinear_weights, encode_crop, mask_crops, pixels_of
from skyeye_det.prediction.prediction import (
    InstancePrediction,
    PixelPrediction,
    Prediction,
    as_probability,
    compact_probability,
)

_LEAST_IOU = 0.5
"""Of two instances that are taken as one building."""

_LEAST_WEIGHT = 1e-6
"""Stands for a score of 0, so that a cluster of such instances still has a mean."""

_LEAST_PROBABILITY = 1e-3
"""Of a damage class in the pool: no model rules a class out for all others."""


def merge_predictions(predictions: Sequence[Prediction], *, same_model: bool = False) -> Prediction:
    """Merges predictions of one window, each in the window's own frame.

    Instances: the best-scored free one founds a cluster and takes from each other prediction the free one of
    its kind (instance or component of the map) of greatest mask IoU, if that reaches 0.5; so a cluster has at
    most one of each. (Weighted boxes fusion compares with the running mean instead; with the founder, all
    IoUs are known beforehand.) A cluster's box and soft mask are the means of its members', weighted by
    score, and so are the logarithms of its damage probabilities; its score is the sum of theirs divided by V:
    one of eight views alone gives an eighth.

    Maps: plain means over the predictions that have them. Among instances, a map of pixels counts as one
    model more: its mean damage over an instance's pixels enters the instance's damage probabilities with
    weight 1, where the V instance predictions together have weight V. It has no say in scores. An ensemble
    therefore merges the views of each model first, then the models.

    Args:
        predictions: at least one; instances and maps of pixels may stand together.
        same_model: whether they are views of one model, whose feature vectors have a mean; those of several
            models are dropped.

    Returns:
        An ``InstancePrediction``, best score first, where one is among ``predictions``, else a
        ``PixelPrediction``. A single prediction comes back as it is.
    """
    if len(predictions) == 1:
        return predictions[0]
    views = [found for found in predictions if isinstance(found, InstancePrediction)]
    pixels = [found for found in predictions if isinstance(found, PixelPrediction)]
    maps = [found.building_map for found in predictions if found.building_map is not None]
    building_map = _mean_map(maps) if maps else None
    damage_map = _mean_map([found.damage_map for found in pixels]) if pixels else None
    if not views:
        assert building_map is not None
        assert damage_map is not None
        return PixelPrediction(building_map, damage_map, predictions[0].shape)
    merged = replace(_merged_instances(views, same_model=same_model), building_map=building_map)
    if damage_map is None:
        return merged
    seen, is_seen = _mean_damage(merged.boxes, merged.masks, damage_map)
    both = _pooled(
        len(views) * _logarithms(merged.damage_probs) + len(pixels) * _logarithms(seen), len(predictions)
    )
    probs = np.where(is_seen[:, None], both, merged.damage_probs).astype(np.float32)
    return replace(merged, damage_probs=probs)


def _mean_map(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Mean of uint8 maps of one shape, rounded once, half upwards."""
    total = np.zeros(maps[0].shape, np.uint32)
    for one in maps:
        total += one
    return ((2 * total + len(maps)) // (2 * len(maps))).astype(np.uint8)


def _merged_instances(views: Sequence[InstancePrediction], *, same_model: bool) -> InstancePrediction:
    """Means of the clusters, best score first, without a map."""
    if len(views) == 1:
        return views[0]
    clusters, count = _clusters(views)
    total, scores = np.zeros(count, np.float64), np.zeros(count, np.float64)
    boxes, damage_logs = np.zeros((count, 4), np.float64), np.zeros((count, 4), np.float64)
    is_component = np.zeros(count, np.bool_)
    length = views[0].features.shape[1] if same_model else 0
    features = np.zeros((count, length), np.float32)
    for view, own in zip(views, clusters, strict=True):  # a cluster occurs once in `own`: += adds each
        weight = _weights(view)
        total[own] += weight
        scores[own] += view.scores
        boxes[own] += weight[:, None] * view.boxes
        damage_logs[own] += weight[:, None] * _logarithms(view.damage_probs)
        is_component[own] = view.is_component
        features[own] += weight[:, None] * view.features[:, :length]
    boxes = boxes / total[:, None]
    side = max(view.masks.shape[-1] for view in views)
    masks = np.zeros((count, side, side), np.float32)
    for view, own in zip(views, clusters, strict=True):
        share = (_weights(view) / total[own]).astype(np.float32)
        masks[own] += share[:, None, None] * _moved_masks(view.masks, view.boxes, boxes[own], side)
    order = np.argsort(-scores, kind="stable")
    return InstancePrediction(
        boxes=boxes[order].astype(np.float32),
        masks=compact_probability(masks[order]),
        scores=(scores[order] / len(views)).astype(np.float32),
        damage_probs=_pooled(damage_logs, total[:, None])[order].astype(np.float32),
        is_component=is_component[order],
        features=(features / total[:, None])[order].astype(np.float16),
        shape=views[0].shape,
    )


def _logarithms(damage_probs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(damage_probs.astype(np.float64), _LEAST_PROBABILITY))


def _pooled(logarithms: np.ndarray, weights: np.ndarray | float) -> np.ndarray:
    """Probabilities (C, 4) from sums of weighted logarithms and the sums of their weights."""
    probs = np.exp(logarithms / weights)
    return probs / probs.sum(axis=1, keepdims=True)


def pooled_damage(found: Sequence[np.ndarray]) -> np.ndarray:
    """Damage probabilities (N, 4) of the same buildings by several models, pooled by their logarithms."""
    if len(found) == 1:
        return found[0]
    return _pooled(np.sum([_logarithms(probs) for probs in found], axis=0), len(found)).astype(np.float32)


def _weights(view: InstancePrediction) -> np.ndarray:
    return np.maximum(view.scores.astype(np.float64), _LEAST_WEIGHT)


def _clusters(views: Sequence[InstancePrediction]) -> tuple[list[np.ndarray], int]:
    """The cluster 0..C-1 of each instance, int64 (N of the prediction,) for each, and C."""
    sizes = [len(view.scores) for view in views]
    number = np.repeat(np.arange(len(views)), sizes).tolist()
    near = _neighbours(views)
    scores = np.concatenate([view.scores for view in views])
    cluster = np.full(len(scores), -1, np.int64)
    count = 0
    for founder in np.argsort(-scores, kind="stable").tolist():
        if cluster[founder] >= 0:
            continue
        cluster[founder], present = count, {number[founder]}
        for other in near.get(founder, ()):
            if cluster[other] < 0 and number[other] not in present:
                cluster[other] = count
                present.add(number[other])
        count += 1
    return np.split(cluster, np.cumsum(sizes)[:-1]), count


def _neighbours(views: Sequence[InstancePrediction]) -> dict[int, list[int]]:
    """For each instance those of its kind in other predictions whose IoU is large enough, best first.

    One matrix of two predictions' instances at a time; pycocotools compares run lengths only where boxes
    overlap.
    """
    starts = np.cumsum([0, *(len(view.scores) for view in views)])
    encoded = [_run_lengths(view) for view in views]
    ious, pairs = [np.zeros(0)], [np.zeros((0, 2), np.int64)]
    for second in range(1, len(views)):
        for first in range(second):
            if not encoded[first] or not encoded[second]:
                continue
            iou = coco_mask.iou(encoded[first], encoded[second], [0] * len(encoded[second]))
            alike = views[first].is_component[:, None] == views[second].is_component
            place = np.argwhere((iou >= _LEAST_IOU) & alike)
            ious.append(iou[tuple(place.T)])
            pairs.append(place + starts[[first, second]])
    order = np.argsort(-np.concatenate(ious), kind="stable")
    near: dict[int, list[int]] = {}
    for one, other in np.concatenate(pairs)[order].tolist():
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    return near


def _run_lengths(view: InstancePrediction) -> list[dict]:
    """Masks at 0.5; an instance without such a pixel is compared by its whole box."""
    crops = mask_crops(view.boxes, view.masks, view.shape)
    bare = [index for index, (_, crop) in enumerate(crops) if not crop.any()]
    boxes = mask_crops(view.boxes[bare], np.full_like(view.masks[bare], 255), view.shape)
    for index, box in zip(bare, boxes, strict=True):
        crops[index] = box
    return [encode_crop(*crop, view.shape) for crop in crops]


def _moved_masks(masks: np.ndarray, boxes: np.ndarray, targets: np.ndarray, side: int) -> np.ndarray:
    """Soft masks (n, S, S) of ``boxes``, bilinear, on ``side`` x ``side`` cells of the boxes ``targets``."""
    cells = (np.arange(side) + 0.5) / side
    across, down = (
        bilinear_weights(
            boxes[:, axis::2],
            targets[:, axis, None] + cells * (targets[:, axis + 2] - targets[:, axis])[:, None],
            masks.shape[-1],
        )
        for axis in (0, 1)
    )
    return down @ as_probability(masks) @ across.transpose(0, 2, 1)


def _mean_damage(
    boxes: np.ndarray, masks: np.ndarray, damage_map: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of uint8 (4, h, w) over each instance's pixels: (C, 4), rows sum to 1, and bool (C,): has one."""
    shape = damage_map.shape[1], damage_map.shape[2]
    crops = mask_crops(boxes, masks, shape)
    sums = [pixels_of(damage_map, crop).sum(axis=1) for crop in crops]
    seen = np.array(sums, np.float64).reshape(-1, len(damage_map))
    total = seen.sum(axis=1, keepdims=True)
    return seen / np.maximum(total, 1), total[:, 0] > 0
