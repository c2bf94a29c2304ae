import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from skyeye_det.evaluation import instance_metrics
from skyeye_det.evaluation.instance_metrics import (
    MAX_DETECTIONS,
    average_precision,
    count_proposals,
    precision_and_recall,
    proposal_figures,
)
from skyeye_det.evaluation.predictions import mask_area
from skyeye_det.evaluation.truth import TrueBuildings, annotated_buildings
from skyeye_det.prediction.masks import encode_crop

SIDE, SHAPE = 160, (37, 23)
LIMITS = [[0, 1e10], [0, 255], [256, 1024], [1025, 1e10]]
SIZES = ["", "_below_16", "_16_32", "_above_32"]


def annotation(box: list[int], notched: bool = False) -> dict[str, Any]:
    """A building of these pixels, a corner cut off where it is notched."""
    x, y, width, height = box
    right, low = x + width - 1, y + height - 1
    notch = [x + width // 3, y, x, y + height // 3] if notched else [x, y]
    return {"uid": "u", "segmentation": [[*notch, x, low, right, low, right, y]], "damage": 0}


def result(box: list[int], image_id: int, score: float) -> dict[str, Any]:
    x, y, width, height = box
    mask = np.ones((min(height, SIDE - y), min(width, SIDE - x)), bool)
    return {
        "image_id": image_id,
        "segmentation": encode_crop((x, y), mask, (SIDE, SIDE)),
        "score": score,
    }


def random_data(seed: int, tiles: int, buildings: int, scores: int) -> tuple[list[dict], list[dict]]:
    """Buildings that overlap each other, found well and badly, twice or not at all; scores that tie."""
    rng = np.random.default_rng(seed)
    truth: list[dict] = []
    results: list[dict] = []
    for image_id in range(1, tiles + 1):
        truth.append({"image_id": image_id, "height": SIDE, "width": SIDE, "annotations": []})
        for _ in range(rng.integers(0, buildings)):
            box = [*rng.integers(0, 110, 2).tolist(), *rng.integers(4, 50, 2).tolist()]
            truth[-1]["annotations"].append(annotation(box, notched=bool(rng.random() < 0.3)))
            for _ in range(rng.integers(0, 4)):
                moved = (np.array(box) + rng.integers(-3, 4, 4)).clip([0, 0, 1, 1], [140, 140, 60, 60])
                score = round(float(rng.integers(1, scores)) / scores, 5)
                results.append(result(moved.tolist(), image_id, score))
        for _ in range(rng.integers(1, 4)):
            box = [*rng.integers(0, 110, 2).tolist(), *rng.integers(1, 50, 2).tolist()]
            results.append(result(box, image_id, float(rng.random())))
    return truth, [results[place] for place in rng.permutation(len(results)).tolist()]


def true_results(tile: dict, score: float = 0.5) -> list[dict]:
    true = TrueBuildings.of(annotated_buildings(tile), (SIDE, SIDE))
    return [
        {"image_id": tile["image_id"], "segmentation": mask, "score": score} for mask in true.run_lengths()
    ]


def reference(tiles: list[dict], results: list[dict]) -> dict[str, float]:
    """The same figures by pycocotools."""
    annotations = [
        {**entry, "id": number, "category_id": 1, "iscrowd": 0, "area": coco_mask.area(entry["segmentation"])}
        for number, entry in enumerate((entry for tile in tiles for entry in true_results(tile)), start=1)
    ]
    dataset = COCO()
    images = [{"id": tile["image_id"], "height": SIDE, "width": SIDE} for tile in tiles]
    dataset.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    with contextlib.redirect_stdout(io.StringIO()):
        dataset.createIndex()
        found = dataset.loadRes([{**entry, "category_id": 1} for entry in results])
        evaluation = COCOeval(dataset, found, "segm")
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = LIMITS, SIZES
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


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_pycocotools(seed: int) -> None:
    data = random_data(
        seed, tiles=1 + seed % 6, buildings=2 + 3 * (seed % 9), scores=5 if seed % 2 else 10**5
    )
    assert average_precision(*data) == pytest.approx(reference(*data), abs=1e-6, nan_ok=True)


def test_only_the_best_thousand_of_a_tile_count() -> None:
    (tile,), _ = random_data(1, 1, 12, 10)
    false = [result([140, 140, 4, 4], 1, 0.9) for _ in range(MAX_DETECTIONS)]
    assert average_precision([tile], false + true_results(tile))["recall50"] == 0
    assert average_precision([tile], false[1:] + true_results(tile))["recall50"] > 0


def test_truth_as_result_is_all_of_it() -> None:
    tiles, _ = random_data(3, 4, 25, 10)
    results = [entry for tile in tiles for entry in true_results(tile)]
    assert set(average_precision(tiles, results).values()) == {100.0}


def test_no_results_are_zero_and_no_truth_is_not_defined() -> None:
    tiles, results = random_data(3, 4, 25, 10)
    assert set(average_precision(tiles, []).values()) == {0.0}
    empty = [{**tile, "annotations": []} for tile in tiles]
    for nothing in (
        average_precision(empty, results),
        average_precision(empty, []),
        precision_and_recall([]),
    ):
        assert all(np.isnan(value) for value in nothing.values())


def tile_of(*boxes: list[int]) -> dict[str, Any]:
    return {"image_id": 1, "height": SIDE, "width": SIDE, "annotations": [annotation(box) for box in boxes]}


def test_half_an_overlap_with_a_proposal_is_enough_and_less_is_not() -> None:
    one = tile_of([10, 10, 20, 20])
    for proposal, met in (([10, 10, 20, 30], 1), ([10, 10, 19.9, 30], 0), ([10, 10, 30, 50.1], 0)):
        assert count_proposals(one, np.array([proposal], float))[1, 0] == met


@pytest.mark.parametrize("block", [7, 1024])
def test_proposals_meet_what_overlaps_them_by_half(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_metrics, "_BLOCK", block)
    rng = np.random.default_rng(0)
    boxes = [[x, y, side, side] for x, y, side in rng.integers((0, 0, 4), (90, 90, 38), (60, 3)).tolist()]
    corner = rng.uniform(0, 100, (300, 2))
    proposals = np.concatenate([corner, corner + rng.uniform(2, 40, (300, 2))], axis=1)
    before = proposals.copy()
    true = np.array(boxes)[:, None].astype(float)
    low, high = np.maximum(true[..., :2], corner), np.minimum(true[..., :2] + true[..., 2:], proposals[:, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    both = true[..., 2:].prod(axis=2) + (proposals[:, 2:] - corner).prod(axis=1) - shared
    expected = (shared / both).max(axis=1) >= 0.5
    sides = np.array(boxes)[:, 2]
    groups = [sides > 0, sides < 16, (sides >= 16) & (sides <= 32), sides > 32]
    counts = count_proposals(tile_of(*boxes), proposals)
    assert 0 < expected.sum() < len(expected)
    assert counts[1].tolist() == [int(expected[group].sum()) for group in groups]
    assert counts[0].tolist() == [int(group.sum()) for group in groups]
    np.testing.assert_array_equal(proposals, before)


def test_no_proposals_meet_nothing_and_no_buildings_leave_the_recall_undefined() -> None:
    counts = count_proposals(tile_of([10, 10, 20, 20]), np.zeros((0, 4), np.float32))
    assert (counts[0].tolist(), counts[1].any()) == ([1, 0, 1, 0], False)
    nothing = proposal_figures(count_proposals(tile_of(), np.ones((3, 4))))
    assert all(np.isnan(value) for value in nothing.values())


def test_size_is_that_of_the_mask_inside_the_tile() -> None:
    counts = count_proposals(tile_of([SIDE - 10, 0, 40, 40], [SIDE + 5, 0, 9, 9]), np.zeros((1, 4)))
    # 10 x 40 px of the first are inside, none of the second.
    assert counts[0].tolist() == [1, 0, 1, 0]


def encoded(mask: np.ndarray) -> dict:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def random_mask(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random(SHAPE) < rng.choice([0, 0.01, 0.3, 0.99, 1])


@pytest.mark.parametrize("seed", range(8))
def test_area_is_that_of_pycocotools(seed: int) -> None:
    mask = random_mask(seed)
    assert mask_area(encoded(mask), SHAPE) == mask.sum()


def test_runs_of_a_large_image_are_read() -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    mask[2999, 2990:] = 1
    assert mask_area(encoded(mask), (3000, 3000)) == 10


GOOD = encoded(random_mask(2))


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        (None, "no compressed run lengths"),
        ({"size": list(SHAPE), "counts": [3, 4]}, "no compressed run lengths"),
        ({"size": [23, 37], "counts": GOOD["counts"]}, r"size \[23, 37\] instead of \[37, 23\]"),
        ({"size": list(SHAPE), "counts": ""}, "break off"),
        ({"size": list(SHAPE), "counts": "é"}, "characters"),
        ({"size": list(SHAPE), "counts": "0p1"}, "characters"),
        ({"size": list(SHAPE), "counts": "1o"}, "break off"),
        ({"size": list(SHAPE), "counts": "ooooooo0"}, "characters"),
        ({"size": list(SHAPE), "counts": "o"}, "break off"),
        ({"size": list(SHAPE), "counts": "11"}, "do not add up"),
        ({"size": list(SHAPE), "counts": "1O"}, "fewer than 0"),
        ({"size": list(SHAPE), "counts": "10cj0"}, "a run of no pixels"),
    ],
)
def test_what_is_no_mask_of_the_image_is_refused(mask: object, found: str) -> None:
    with pytest.raises(ValueError, match=found):
        mask_area(mask, SHAPE)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 50), st.integers(0, 200), st.text(min_size=0, max_size=3))
def test_damaged_text_is_refused_or_still_a_mask_of_the_image(seed: int, place: int, text: str) -> None:
    whole = encoded(random_mask(seed))["counts"]
    place %= len(whole) + 1
    mask = {"size": list(SHAPE), "counts": whole[:place] + text + whole[place + 1 :]}
    try:
        area = mask_area(mask, SHAPE)
    except ValueError:
        return
    assert area == int(coco_mask.decode(mask).sum()) == int(coco_mask.area(mask))
