import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from skyeye_det.evaluation.instance_metrics import MAX_DETECTIONS, average_precision
from skyeye_det.prediction.rasterize import encode_crop

SIDE = 160
LIMITS = [[0, 1e10], [0, 255], [256, 1024], [1025, 1e10]]
SIZES = ["", "_below_16", "_16_32", "_above_32"]


def entry(box: list[int], **fields: Any) -> dict[str, Any]:
    x, y, width, height = box
    mask = np.ones((min(height, SIDE - y), min(width, SIDE - x)), bool)
    if fields.pop("notched", False):
        mask[: height // 3, : width // 3] = False
    return {
        "category_id": 1,
        "segmentation": encode_crop((x, y), mask, (SIDE, SIDE)),
        "area": int(mask.sum()),
        "bbox": [x, y, *mask.shape[::-1]],
        **fields,
    }


def random_data(seed: int, tiles: int, buildings: int, scores: int) -> tuple[dict, list[dict]]:
    """Buildings that overlap each other, found well and badly, twice or not at all; scores that tie."""
    rng = np.random.default_rng(seed)
    truth: list[dict] = []
    results: list[dict] = []
    for image_id in range(1, tiles + 1):
        for _ in range(rng.integers(0, buildings)):
            box = [*rng.integers(0, 110, 2).tolist(), *rng.integers(4, 50, 2).tolist()]
            truth.append(
                entry(box, id=len(truth) + 1, image_id=image_id, iscrowd=0, notched=bool(rng.random() < 0.3))
            )
            for _ in range(rng.integers(0, 4)):
                moved = (np.array(box) + rng.integers(-3, 4, 4)).clip([0, 0, 1, 1], [140, 140, 60, 60])
                score = round(float(rng.integers(1, scores)) / scores, 5)
                results.append(entry(moved.tolist(), image_id=image_id, score=score))
        for _ in range(rng.integers(1, 4)):
            box = [*rng.integers(0, 110, 2).tolist(), *rng.integers(1, 50, 2).tolist()]
            results.append(entry(box, image_id=image_id, score=float(rng.random())))
    images = [{"id": n, "height": SIDE, "width": SIDE} for n in range(1, tiles + 1)]
    order = rng.permutation(len(results)).tolist()
    return (
        {"images": images, "annotations": truth, "categories": [{"id": 1, "name": "building"}]},
        [results[place] for place in order],
    )


def reference(truth: dict, results: list[dict]) -> dict[str, float]:
    """The same figures by pycocotools, which wants plain results."""
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = COCO()
        dataset.dataset = truth
        dataset.createIndex()
        plain = [{k: v for k, v in r.items() if k not in ("area", "bbox")} for r in results]
        evaluation = COCOeval(dataset, dataset.loadRes(plain), "segm")
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.areaRng = LIMITS
        evaluation.params.areaRngLbl = SIZES
        evaluation.evaluate()
        evaluation.accumulate()

    def mean(values: np.ndarray) -> float:
        return 100 * values[values > -1].mean() if (values > -1).any() else np.nan

    precision, recall = evaluation.eval["precision"][:, :, 0, :, 0], evaluation.eval["recall"][:, 0, :, 0]
    figures = {"AP50": mean(precision[0, :, 0]), "AP75": mean(precision[5, :, 0])}
    for group, size in enumerate(SIZES):
        figures["AP" + size] = mean(precision[:, :, group])
        figures["AR" + size] = mean(recall[:, group])
        figures["recall50" + size] = mean(recall[:1, group])
    return figures


@pytest.mark.parametrize("seed", range(25))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    data = random_data(
        seed, tiles=1 + seed % 6, buildings=2 + 3 * (seed % 9), scores=5 if seed % 2 else 10**5
    )
    assert average_precision(*data) == pytest.approx(reference(*data), abs=1e-10, nan_ok=True)


def test_only_the_best_thousand_of_a_tile_count() -> None:
    truth, _ = random_data(1, 1, 12, 10)
    false = [entry([140, 140, 4, 4], image_id=1, score=0.9) for _ in range(MAX_DETECTIONS)]
    hits = [{**building, "score": 0.5} for building in truth["annotations"]]
    assert average_precision(truth, false + hits)["recall50"] == 0
    assert average_precision(truth, false[1:] + hits)["recall50"] > 0
    assert average_precision(truth, false[1:] + hits) == pytest.approx(
        reference(truth, false[1:] + hits), nan_ok=True
    )


def test_truth_as_result_is_all_of_it() -> None:
    truth, _ = random_data(3, 4, 25, 10)
    results = [{**building, "score": 0.5} for building in truth["annotations"]]
    assert set(average_precision(truth, results).values()) == {100.0}


def test_no_results_are_zero_and_no_truth_is_not_defined() -> None:
    truth, results = random_data(3, 4, 25, 10)
    assert set(average_precision(truth, []).values()) == {0.0}
    nothing = average_precision({**truth, "annotations": []}, results)
    assert all(np.isnan(value) for value in nothing.values())
