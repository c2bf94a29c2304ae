"""The command ``model``: seconds and memory of each config against the stock model and the semantic peer.

Each config is measured by a child process of its own, so that one which breaks off leaves the others alone,
and this process stays small. What is compared is measured in one child, in turns.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from skyeye_det.benchmark.machine import commit, machine, versions
from skyeye_det.benchmark.material import SPLIT, linked_root, root_pairs, sample_pairs
from skyeye_det.benchmark.model_rows import FailedRow, Row, memory_row, speed_rows, stage_table, table
from skyeye_det.benchmark.model_settings import MEMORY_DETECTIONS, ModelSettings, Task

from skyeye_det.data.coco import convert_split
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import InputError
from skyeye_det.files import read_json, write_json

_CHILD = "skyeye_det.benchmark.model_child"
_WRONG_INPUT = 2


class BrokenChildError(Exception):
    """A child broke off; its text says how, in one sentence."""


def run_model_benchmark(settings: ModelSettings, json_file: Path | None = None) -> tuple[str, bool]:
    """Measures every config and writes what was measured as JSON.

    Args:
        settings: what is measured.
        json_file: file to write.

    Returns:
        (text of the tables, whether every row was measured and keeps its bar).

    Raises:
        InputError: torch is missing, or settings, configs, weights or pairs are not what they should be.
    """
    require_detectron2("the model's benchmark")
    about: dict[str, Any] = {"versions": versions(), "machine": machine(), "commit": commit()}
    rows: list[Row] = []
    stages: dict[str, Any] = {}
    devices: dict[str, Any] = {}
    with _run_folder() as folder:
        task = first_task(settings, folder)
        for config in settings.configs:
            name = config.stem
            task = replace(task, config=str(config))
            rows += _speed(name, task, settings, stages, devices)
            if "memory" in settings.parts:
                rows.append(_memory(name, task))
    about["load_at_the_end"] = machine()["load"]
    plain = {key: _plain(value) for key, value in asdict(settings).items()}
    content = {"command": "model", **about, "settings": plain, "devices": devices, "stages": stages}
    if json_file is not None:
        write_json(json_file, content | {"rows": [row.as_json() for row in rows]}, pretty=True)
    tables = [stage_table(name, each) for name, each in stages.items()]
    text = "\n\n".join([table(rows), *tables, _about(about, settings, devices)])
    return text, all(row.is_met for row in rows)


def _speed(
    name: str, task: Task, settings: ModelSettings, stages: dict[str, Any], devices: dict[str, Any]
) -> list[Row]:
    if not {"inference", "training"} & set(settings.parts):
        return []
    print(f"measuring {name}", file=sys.stderr, flush=True)
    try:
        measured = run_child(task)
    except BrokenChildError as error:
        return [FailedRow(name, str(error))]
    devices[name] = measured["device"]
    if "stages" in measured:
        stages[name] = measured["stages"]
    return speed_rows(name, measured)


def _memory(name: str, task: Task) -> Row:
    print(f"measuring memory of {name}", file=sys.stderr, flush=True)
    try:
        few, many = (run_child(replace(task, kind="memory", detections=count)) for count in MEMORY_DETECTIONS)
    except BrokenChildError as error:
        return FailedRow(f"{name} memory", str(error))
    return memory_row(name, few, many)


def run_child(task: Task) -> dict[str, Any]:
    """Measures in a new process.

    Args:
        task: what; files are handed over in its folder.

    Returns:
        What ``model_speed`` measured.

    Raises:
        InputError: the child was given wrong input; its own sentence.
        BrokenChildError: it broke off in another way.
    """
    told, result = Path(task.folder) / "task.json", Path(task.folder) / "result.json"
    result.unlink(missing_ok=True)
    write_json(told, task.as_json())
    done = subprocess.run(
        [sys.executable, "-m", _CHILD, str(told), str(result)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    said = done.stderr.strip().splitlines() or ["it said nothing"]
    if done.returncode == _WRONG_INPUT:
        raise InputError(said[-1].removeprefix("error: "))
    if done.returncode < 0:
        raise BrokenChildError(f"its process was ended by signal {-done.returncode}, 9 most often for memory")
    if done.returncode or not result.is_file():
        raise BrokenChildError(f"its process ended with code {done.returncode}: {said[-1]}")
    return read_json(result)


def first_task(settings: ModelSettings, folder: Path) -> Task:
    """The task of the first config, with the pairs made ready.

    Args:
        settings: what is measured.
        folder: where pairs and work files go.

    Raises:
        InputError: no pairs, or the folder cannot be written.
    """
    if settings.xbd_root is None:
        sources = sample_pairs(folder / "sample", settings.tiles, settings.sample_size, 1)
    else:
        sources = root_pairs(settings.xbd_root)
    # Spread over the whole list, so that not all are of one event.
    chosen = [sources[number * len(sources) // settings.tiles] for number in range(settings.tiles)]
    root = folder / "root"
    linked_root(root, chosen, settings.tiles)
    annotations = convert_split(root, SPLIT, root / "annotations", workers=1).path
    (folder / "work").mkdir()
    return Task(
        kind="speed",
        config=str(settings.configs[0]),
        weights=settings.weights,
        peer=str(settings.peer or ""),
        peer_weights=settings.peer_weights,
        root=str(root),
        annotations=str(annotations),
        folder=str(folder / "work"),
        detections=settings.forced_detections,
        repeats=settings.repeats,
        parts=settings.parts,
        options=settings.options,
        device=settings.device,
        overrides=settings.overrides,
    )


@contextmanager
def _run_folder() -> Iterator[Path]:
    """A new folder for the files of a run, removed at its end."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="benchmark-"))
    except OSError as error:
        place = tempfile.gettempdir()
        raise InputError(f"{place}: cannot be written ({error.strerror or error}); set TMPDIR") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _about(about: dict[str, Any], settings: ModelSettings, devices: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    places = {f"{each['name']}, {each['threads']} threads" for each in devices.values()}
    forced = settings.forced_detections
    found = "as the config's thresholds let through" if forced is None else f"forced to {forced} a tile"
    return (
        f"{'; '.join(sorted(places)) or 'no device'}; {about['machine']['cpu']},"
        f" {about['machine']['cpus']} CPUs, load {about['machine']['load']:.1f} at the start and"
        f" {about['load_at_the_end']:.1f} at the end; {packages};"
        f" commit {about['commit'] or 'unknown'}\n"
        f"best of the runs, in brackets the median; detections {found};"
        f" images of {settings.xbd_root or 'the sample generator'}"
    )
