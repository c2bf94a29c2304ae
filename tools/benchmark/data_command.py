"""The command ``data``: every row of the data plane, as table and JSON."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from skyeye_det.benchmark.class_images import scoring_row, targets_row
from skyeye_det.benchmark.conversion import conversion_row
from skyeye_det.benchmark.machine import commit, machine, versions
from skyeye_det.benchmark.rows import Row, Skipped, table
from skyeye_det.benchmark.settings import Settings

from skyeye_det.dependencies import DETECTRON2_MODULES
from skyeye_det.errors import InputError
from skyeye_det.files import write_json


def _rasterizing_row(settings: Settings) -> Row:
    from skyeye_det.benchmark.rasterizing import rasterizing_row

    return rasterizing_row(settings)


def _loader_row(settings: Settings) -> Row:
    from skyeye_det.benchmark.loader import loader_row

    return loader_row(settings)


# Conversion first: its memory is this process's own, which torch would add to.
_ROWS: dict[str, Callable[[Settings], Row]] = {
    "conversion": conversion_row,
    "scoring": scoring_row,
    "targets": targets_row,
    "rasterize": _rasterizing_row,
    "loader": _loader_row,
}
_NEEDED = {"conversion": ("orjson",), "rasterize": DETECTRON2_MODULES, "loader": DETECTRON2_MODULES}
"""Row -> modules that it imports beyond what setup.py requires."""

ROW_NAMES = tuple(_ROWS)
"""Names of the rows, in the order in which they are measured."""


def run_data_benchmark(
    settings: Settings, only: Sequence[str] = ROW_NAMES, json_file: Path | None = None
) -> tuple[str, bool]:
    """Measures rows of the data plane and writes them as JSON.

    Args:
        settings: what is measured on; files that are made go to a new folder in
            ``settings.output``, removed at the end.
        only: names of the rows wanted.
        json_file: file to write.

    Returns:
        (text of the table, whether every measured row keeps its bars).

    Raises:
        InputError: an unknown row, sources that cannot be read, or files that cannot be written.
    """
    if unknown := set(only) - set(ROW_NAMES):
        raise InputError(
            f"--only: expected some of {', '.join(ROW_NAMES)}, found {', '.join(sorted(unknown))}"
        )
    about: dict[str, Any] = {"versions": versions(), "machine": machine(), "commit": commit()}
    with _run_folder(settings.output) as folder:
        here = replace(settings, output=folder)
        rows = [_measure(name, here) for name in ROW_NAMES if name in only]
    content = {
        "command": "data",
        **about,
        "settings": {
            key: str(value) if isinstance(value, Path) else value for key, value in asdict(settings).items()
        },
        "rows": [row.as_json() for row in rows],
    }
    if json_file is not None:
        write_json(json_file, content, pretty=True)
    met = all(row.is_met for row in rows if isinstance(row, Row))
    return "\n".join([table(rows), "", _about(about, settings)]), met


def _measure(name: str, settings: Settings) -> Row | Skipped:
    missing = [module for module in _NEEDED.get(name, ()) if find_spec(module) is None]
    if missing:
        return Skipped(name, f"needs {', '.join(missing)}, not installed here; run `make env`")
    print(f"measuring {name}", file=sys.stderr, flush=True)
    row = _ROWS[name](settings)
    shutil.rmtree(settings.output / name, ignore_errors=True)
    return row


@contextmanager
def _run_folder(parent: Path) -> Iterator[Path]:
    """A new folder for the files of a run, removed at its end."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix="benchmark-", dir=parent)
    except OSError as error:
        raise InputError(
            f"{parent}: cannot be written ({error.strerror or error}); choose another --output"
        ) from error
    with folder as name:
        yield Path(name)


def _about(about: dict[str, Any], settings: Settings) -> str:
    packages = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"{about['machine']['cpu']}, {about['machine']['cpus']} CPUs,"
        f" load {about['machine']['load']:.1f} at the start;"
        f" {packages}; commit {about['commit'] or 'unknown'}\n"
        f"seconds by the clock, of CPU over all processes in brackets; {settings.origin}"
    )
