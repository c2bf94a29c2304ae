"""A child of the model's benchmark: ``python -m skyeye_det.benchmark.model_child TASK.json RESULT.json``."""

import sys
from pathlib import Path

from skyeye_det.benchmark.model_settings import Task
from skyeye_det.benchmark.model_speed import measure_memory, measure_speed

from skyeye_det.errors import run_command
from skyeye_det.files import read_json, write_json

_MEASURED = {"speed": measure_speed, "memory": measure_memory}


def measure_task(task_file: Path, result_file: Path) -> None:
    """Does what a task file says and writes what was measured.

    Args:
        task_file: JSON of ``Task.as_json``.
        result_file: JSON to write.

    Raises:
        InputError: as ``measure_speed`` and ``measure_memory``.
    """
    task = Task.from_json(read_json(task_file))
    write_json(result_file, _MEASURED[task.kind](task))


if __name__ == "__main__":
    run_command(lambda: measure_task(Path(sys.argv[1]), Path(sys.argv[2])))
