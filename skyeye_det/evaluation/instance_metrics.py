"""Mask AP and recall of buildings by pycocotools, with limits that fit dense tiles."""

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

MAX_DETECTIONS = 1000
"""Instances that count a tile; COCO's 100 would cap the recall of dense tiles."""

_SIZES = {"all": (0, 1e10), "below_16": (0, 16**2), "16_32": (16**2, 32**2), "above_32": (32**2, 1e10)}
_NAN = float("nan")


def average_precision(truth: dict[str, Any], results: list[dict[str, Any]]) -> dict[str, float]:
    """COCO's AP, and recall by size of the building.

    Args:
        truth: a COCO data set; ``area`` in px.
        results: COCO results with ``image_id``, ``category_id``, ``segmentation`` and ``score``.

    Returns:
        Percent, 0..100: ``AP`` (mean over IoU 0.50:0.95), ``AP50``, ``AP75``, ``recall50`` (found with IoU of
        at least 0.5) and ``recall50_<size>`` for buildings whose area is that of a square of less than 16,
        16 to 32 and over 32 px. NaN where the truth has no building (of that size).
    """
    if not truth["annotations"]:
        return dict.fromkeys(["AP", "AP50", "AP75", *_recall_names()], _NAN)
    if not results:
        counts = _buildings_by_size(truth)
        return {"AP": 0.0, "AP50": 0.0, "AP75": 0.0} | {
            name: 0.0 if count else _NAN for name, count in zip(_recall_names(), counts, strict=True)
        }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its steps
        dataset = COCO()
        dataset.dataset = truth
        dataset.createIndex()
        evaluation = COCOeval(dataset, dataset.loadRes(results), "segm")
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.areaRng = [list(limits) for limits in _SIZES.values()]
        evaluation.params.areaRngLbl = list(_SIZES)
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]  # IoU, recall level, of all sizes
    recall = evaluation.eval["recall"][0, 0, :, 0]  # at IoU 0.5, by size
    by_iou = {"AP": precision, "AP50": precision[:1], "AP75": precision[5:6]}
    return {name: _percent(values) for name, values in by_iou.items()} | {
        name: _percent(value) for name, value in zip(_recall_names(), recall, strict=True)
    }


def _recall_names() -> list[str]:
    return ["recall50" if size == "all" else f"recall50_{size}" for size in _SIZES]


def _buildings_by_size(truth: dict[str, Any]) -> list[int]:
    areas = np.array([annotation["area"] for annotation in truth["annotations"]])
    return [int(((areas >= low) & (areas <= high)).sum()) for low, high in _SIZES.values()]


def _percent(values: np.ndarray) -> float:
    # pycocotools writes -1 where there is no truth.
    values = np.atleast_1d(values)
    return float(100 * values[values > -1].mean()) if (values > -1).any() else _NAN
