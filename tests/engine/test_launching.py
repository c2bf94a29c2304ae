import argparse

import pytest
import torch

from skyeye_det.engine import launching
from skyeye_det.engine.launching import launch_training
from skyeye_det.errors import InputError


def arguments(**changes: object) -> argparse.Namespace:
    given = {"num_gpus": 1, "num_machines": 1, "machine_rank": 0, "dist_url": "tcp://127.0.0.1:50000"}
    return argparse.Namespace(**(given | changes))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_gpus": 2}, "--num-gpus: expected at most 0, .* found 2; .*--num-gpus 1 alone runs on the CPU"),
        ({"num_machines": 2}, "--num-gpus: expected at most 0"),
        ({"num_gpus": 0}, "expected 1 or more, found 0 and 1"),
        ({"num_machines": 2, "machine_rank": 2}, r"--machine-rank: expected 0\.\.1"),
        ({"num_machines": 2, "dist_url": "auto"}, "--dist-url: expected tcp"),
    ],
)
def test_processes_that_this_machine_cannot_run_are_told(
    monkeypatch: pytest.MonkeyPatch, changes: dict, sentence: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(InputError, match=sentence):
        launch_training(arguments(**changes))


@pytest.mark.parametrize("gpus", [0, 1])
def test_one_process_runs_here_with_or_without_gpu(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    runs = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(launching, "train", runs.append)
    assert launch_training(arguments()) == 0
    assert len(runs) == 1


def test_fault_in_one_of_several_processes_is_reported_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    # Before they meet, both processes look for the config.
    faulty = arguments(num_gpus=2, dist_url="auto", config_file="none.yaml", opts=[], eval_only=True)
    assert launch_training(faulty) == 2
    printed = capfd.readouterr().err
    assert "error: config none.yaml: no such file" in printed
    assert "InputError" not in printed
