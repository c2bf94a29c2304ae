"""What a child measures, at a tiny size; times are never judged."""

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from model_tasks import HYBRID, tiny_peer, tiny_task
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det.benchmark.model_child import measure_task
from skyeye_det.benchmark.model_inputs import pre_images, training_batch, whole_tiles
from skyeye_det.benchmark.model_settings import Task
from skyeye_det.benchmark.model_speed import measure_memory, measure_speed, taken_in_turns
from skyeye_det.benchmark.model_stock import stock_model, weighted_model, with_detections
from skyeye_det.engine.setup import load_config
from skyeye_det.errors import InputError


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return tiny_task(tmp_path_factory.mktemp("model"))


def test_each_takes_its_turn_and_warm_ups_do_not_count() -> None:
    calls: list[str] = []
    works = {"a": lambda: calls.append("a"), "b": lambda: (calls.append("b"), time.sleep(0.01))[0]}
    seconds = taken_in_turns(works, repeats=2, warm_ups=1)
    assert calls == ["a", "b"] * 3
    assert {name: len(runs) for name, runs in seconds.items()} == {"a": 2, "b": 2}
    assert min(seconds["b"]) >= 0.01 > min(seconds["a"])


@pytest.mark.parametrize("count", [1, 25])
def test_every_tile_gives_the_forced_number_in_both_models(task: Task, count: int) -> None:
    # The hybrid adds what its map finds, so that its number is not to be forced.
    cfg = with_detections(tiny_config(MODEL__META_ARCHITECTURE="PairRCNN"), count)
    ours = weighted_model(cfg, "").eval()
    stock, _ = stock_model(cfg, ours)
    stock.eval()
    for pair in whole_tiles(cfg, task):
        with torch.inference_mode():
            found = ours([pair])[0]["instances"]
            theirs = stock.inference(pre_images([pair]), do_postprocess=False)[0]
        assert len(found) == len(theirs) == count
        torch.testing.assert_close(found.pred_boxes.tensor, theirs.pred_boxes.tensor, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(found.scores, theirs.scores, atol=1e-4, rtol=1e-3)


def test_the_stock_model_is_ours_without_what_is_added() -> None:
    cfg = tiny_config(MODEL__ROI_MASK_HEAD__NAME="BoundaryMaskHead")
    ours = weighted_model(cfg, "")
    stock, is_whole = stock_model(cfg, ours)
    assert is_whole
    added = set(ours.state_dict()) - set(stock.state_dict())
    assert set(stock.state_dict()) < set(ours.state_dict())
    assert added
    ours_alone = ("building_map_head.", "roi_heads.damage_", "roi_heads.mask_head.edge_")
    assert all(key.startswith(ours_alone) for key in added)
    assert not any(name.endswith("_post") for name in stock.backbone.output_shape())
    assert len(stock.pixel_mean) == 3


def test_models_without_roi_heads_have_no_stock_model() -> None:
    with pytest.raises(InputError, match="--configs: expected models with ROI heads"):
        stock_model(tiny_config(), torch.nn.Linear(1, 1))


def test_training_crops_are_the_same_for_both_models(task: Task) -> None:
    batch = training_batch(tiny_config(SOLVER__IMS_PER_BATCH=3), task)
    assert [tuple(each["image"].shape) for each in batch] == [(6, 64, 64)] * 3
    for pair, image in zip(batch, pre_images(batch), strict=True):
        assert torch.equal(pair["image"][:3], image["image"])
        assert len(pair["instances"]) == len(image["instances"])
    again = training_batch(tiny_config(SOLVER__IMS_PER_BATCH=3), task)
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(batch, again, strict=True))


def test_a_child_measures_and_writes_json(task: Task, tmp_path: Path) -> None:
    told = tmp_path / "task.json"
    told.write_text(json.dumps(replace(task, peer=str(tiny_peer(tmp_path))).as_json()))
    measure_task(told, tmp_path / "result.json")
    measured = json.loads((tmp_path / "result.json").read_text())
    seconds = measured["inference"]["seconds"]
    stocks = {"stock", "stock with pasting", "stock with folded BatchNorm"}
    assert set(seconds) == {"ours", *stocks, "peer", "post-processing"}
    assert all(len(runs) == 2 and min(runs) > 0 for runs in seconds.values())
    assert all(part < whole for part, whole in zip(seconds["post-processing"], seconds["ours"], strict=True))
    assert measured["inference"]["detections"] == {"ours": 20.0, "stock": 20.0}
    assert measured["inference"]["stock_is_ours"]
    assert set(measured["training"]["seconds"]) == {"ours", "stock", "peer"}
    assert measured["training"]["what"] == "2 crops of 64 x 64 px"
    stages = measured["stages"]
    assert {"backbone", "RPN", "box", "mask", "rest"} == set(stages["stock"])
    assert set(stages["ours"]) == set(stages["stock"]) | {"damage", "post-processing"}
    assert len(list(Path(task.folder).glob("*.png"))) == 4


def test_the_hybrid_tells_of_its_map(task: Task) -> None:
    hybrid = str(CONFIGS / "xbd_mrcnn.yaml")
    overrides = tuple(tiny_overrides(MODEL__FPN__OUT_CHANNELS=32, **HYBRID))
    measured = measure_speed(replace(task, config=hybrid, overrides=overrides))
    assert {"semantic map", "map instances"} <= set(measured["stages"]["ours"])
    assert measured["inference"]["stock_is_ours"]
    model = weighted_model(load_config(hybrid, overrides), "")
    assert model.map_instances is not None


def test_options_are_held_against_plain_float32(task: Task) -> None:
    options = ("bf16", "fuse-bn", "contiguous+fuse-bn", "fp16")
    told: dict[str, Any] = measure_speed(replace(task, parts=("inference", "training"), options=options))
    measured = told["options"]
    assert set(measured) == {
        "inference bf16",
        "training bf16",
        "inference fuse-bn",
        "inference contiguous+fuse-bn",
        "fp16",
    }
    assert measured["fp16"]["failed"].startswith("precision fp16: expected a CUDA device")
    for name in set(measured) - {"fp16"}:
        assert len(measured[name]["seconds"]) == len(measured[name]["plain"]) == 2
    assert measured["inference fuse-bn"]["figures"] == {"detections": 20, "detections, plain": 20}


@pytest.mark.parametrize("count", [1, 20])
def test_memory_is_that_of_the_process(task: Task, count: int) -> None:
    told = measure_memory(replace(task, kind="memory", detections=count))
    assert told["detections"] == count
    assert told["mib"] > 100
    assert "VmHWM" in told["memory_is"]
