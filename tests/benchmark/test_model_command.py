"""The command from end to end at a tiny size; times are never judged."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from model_tasks import tiny_settings, tiny_task
from tiny_model import CONFIGS

from skyeye_det.benchmark import model_child, model_command
from skyeye_det.benchmark.model_command import BrokenChildError, run_child, run_model_benchmark
from skyeye_det.benchmark.model_settings import Task
from skyeye_det.errors import InputError

TOOL = Path(__file__).parents[2] / "tools" / "benchmark.py"
SPEED: dict[str, Any] = {
    "device": {"name": "CPU", "threads": 2, "torch": "2"},
    "training": {"what": "2 crops", "seconds": {"ours": [2.0], "stock": [1.0]}},
}


def test_rows_of_every_config_and_of_memory_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[Task] = []

    def measured(task: Task) -> dict[str, Any]:
        tasks.append(task)
        if task.kind == "speed":
            return SPEED
        return {"detections": task.detections, "mib": 1000.0 + task.detections, "memory_is": "VmHWM"}

    monkeypatch.setattr(model_command, "run_child", measured)
    configs = (CONFIGS / "xbd_mrcnn.yaml", CONFIGS / "sample_xbd.yaml")
    text, met = run_model_benchmark(tiny_settings(configs=configs), tmp_path / "rows.json")
    content = json.loads((tmp_path / "rows.json").read_text())
    assert [(task.kind, Path(task.config).stem, task.detections) for task in tasks] == [
        (kind, name, count)
        for name in ("xbd_mrcnn", "sample_xbd")
        for kind, count in (("speed", 20), ("memory", 100), ("memory", 1000))
    ]
    names = [f"{name} {row}" for name in ("xbd_mrcnn", "sample_xbd") for row in ("training", "memory")]
    assert [row["name"] for row in content["rows"]] == names
    assert met is False  # 2000 MiB against 1100
    assert [row["met"] for row in content["rows"]] == [True, False] * 2
    assert content["settings"]["detections"] == 20
    assert "CPU, 2 threads" in text


def test_a_child_that_breaks_off_is_told_in_a_sentence_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def measured(task: Task) -> dict[str, Any]:
        if "sample" in task.config:
            return SPEED
        raise BrokenChildError("its process was ended by signal 9, 9 most often for memory")

    monkeypatch.setattr(model_command, "run_child", measured)
    configs = (CONFIGS / "xbd_mrcnn.yaml", CONFIGS / "sample_xbd.yaml")
    text, met = run_model_benchmark(tiny_settings(configs=configs, parts=("training",)))
    assert not met
    assert "xbd_mrcnn: failed, its process was ended by signal 9" in text
    assert "sample_xbd training" in text


def test_a_child_is_judged_by_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task(tmp_path)
    monkeypatch.setattr(model_command, "_CHILD", "no_such_module")
    with pytest.raises(BrokenChildError, match="ended with code 1: .*no_such_module"):
        run_child(task)
    (tmp_path / "killed.py").write_text("import os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setattr(model_command, "_CHILD", "killed")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(BrokenChildError, match="signal 9"):
        run_child(task)
    (tmp_path / "silent.py").write_text("")
    monkeypatch.setattr(model_command, "_CHILD", "silent")
    with pytest.raises(BrokenChildError, match="ended with code 0: it said nothing"):
        run_child(task)


def test_the_child_is_the_module_that_measures() -> None:
    assert model_child.__name__ == model_command._CHILD


def test_wrong_input_of_a_child_is_the_commands_own(tmp_path: Path) -> None:
    task = replace(tiny_task(tmp_path), config=str(tmp_path / "none.yaml"))
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        run_child(task)


def test_folders_of_a_run_are_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_command.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(model_command, "run_child", lambda task: SPEED)
    run_model_benchmark(tiny_settings(parts=("training",)))
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="--xbd-root"):
        run_model_benchmark(tiny_settings(xbd_root=tmp_path))
    assert not list(tmp_path.iterdir())


def run_tool(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(TOOL), "model", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_tool_ends_with_the_code_that_the_bars_say(tmp_path: Path) -> None:
    settings = tiny_settings()
    done = run_tool(
        *("--configs", str(settings.configs[0]), "--peer", "none", "--sample-size", "128", "--device", "cpu"),
        *("--only", "inference", "--repeats", "1", "--json", str(tmp_path / "rows.json")),
        *("--opts", *settings.overrides),
    )
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["name"] for row in rows] == [
        "xbd_mrcnn_plain inference",
        "xbd_mrcnn_plain post-processing",
    ]
    assert done.returncode == (0 if all(row["met"] for row in rows) else 1), done.stderr
    assert "xbd_mrcnn_plain, stage" in done.stdout


def test_the_tool_refuses_in_one_sentence(tmp_path: Path) -> None:
    done = run_tool("--configs", str(tmp_path / "none.yaml"), "--sample-size", "128", "--only", "inference")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: config ")
    assert "Traceback" not in done.stderr
