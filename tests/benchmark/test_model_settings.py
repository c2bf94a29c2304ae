import json
from dataclasses import fields
from pathlib import Path

import pytest

from skyeye_det.benchmark.model_settings import ModelSettings, Task
from skyeye_det.errors import InputError

ONE = (Path("a.yaml"),)
TASK = Task(
    kind="speed",
    config="a.yaml",
    weights="",
    peer="",
    peer_weights="",
    root="r",
    annotations="a.json",
    folder="f",
    detections=None,
    repeats=2,
    parts=("inference",),
    options=("bf16+fuse-bn",),
    device="cpu",
    overrides=("SEED", "1"),
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"configs": ()}, "--configs: expected one file or more"),
        ({"repeats": 0}, "--repeats: expected 1 or more, found 0"),
        ({"tiles": 0}, "--tiles: expected 1 or more"),
        ({"sample_size": -1}, "--sample-size: expected 1 or more"),
        ({"detections": 0}, "--detections: expected 1..2000, found 0"),
        ({"detections": 5000}, "--detections: expected 1..2000, found 5000"),
        (
            {"weights": "w.pth", "configs": (*ONE, Path("b.yaml"))},
            "--weights: expected one file in --configs",
        ),
        ({"peer_weights": "w.pth"}, "--peer-weights: expected --peer"),
        ({"options": ("fast",)}, "--options: expected some of bf16"),
        ({"options": ("bf16+bf16",)}, "--options: expected"),
        ({"options": ("bf16+fp16",)}, "--options: expected"),
        ({"options": ("fp16",), "device": "cpu"}, "fp16: expected a CUDA device"),
    ],
)
def test_what_means_nothing_is_refused(changes: dict, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        ModelSettings(**({"configs": ONE} | changes))


def test_random_weights_force_a_number_of_detections_and_trained_ones_do_not() -> None:
    assert ModelSettings(ONE).forced_detections == 100
    assert ModelSettings(ONE, detections=7).forced_detections == 7
    assert ModelSettings(ONE, weights="w.pth").forced_detections is None
    assert ModelSettings(ONE, weights="w.pth", detections=7).forced_detections == 7


def test_a_task_comes_back_from_json_as_it_went() -> None:
    assert Task.from_json(json.loads(json.dumps(TASK.as_json()))) == TASK
    assert set(TASK.as_json()) == {field.name for field in fields(Task)}
