"""Time and memory of pieces of work, the machine that they ran on, and the table and JSON of all."""

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from importlib.metadata import distributions
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

from skyeye_det.arguments import command_parser, named_path, positive, report_file
from skyeye_det.files import write_json
from skyeye_det.text_table import aligned

_PACKAGES = ("numpy", "opencv-python-headless", "shapely", "msgspec", "orjson", "torch")


@dataclass(frozen=True)
class Row:
    """One thing held against the least that it has to do, or against another's way to do it.

    Attributes:
        name: such as ``"conversion"``, with the unit where it is not seconds.
        what: what was done, on what, and what ``floor`` did.
        ours: measurements, one a run.
        floor: those of the floor.
        memory: MiB, of ``in_own_process`` unless ``what`` names another kind.
        notes: further numbers, and what must hold.
    """

    name: str
    what: str
    ours: Sequence[float]
    floor: Sequence[float]
    memory: float | None = None
    notes: Mapping[str, float | bool] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Best run of ours to the best of the floor."""
        return min(self.ours) / min(self.floor)


def command_line(description: str | None, tiles: int) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; ``tiles`` is the default of ``--tiles``."""
    parser = command_parser(description)
    add = parser.add_argument
    add("--xbd-root", type=named_path, metavar="DIR", help="root with PNG images and labels")
    add("--tiles", type=positive, default=tiles, help=f"tiles that are measured on (default: {tiles})")
    add("--repeats", type=positive, default=3, help="runs of each, the best counts (default: 3)")
    add("--json", type=report_file, metavar="FILE", help="write the table here too")
    return parser


def report(rows: Sequence[Row], settings: Mapping[str, Any], json_file: Path | None) -> None:
    """Prints the table of all rows and writes it as JSON, with ``settings`` and the machine."""
    about = machine()
    if json_file is not None:
        content = {"machine": about, "settings": {key: str(value) for key, value in settings.items()}}
        write_json(json_file, content | {"rows": [asdict(row) for row in rows]}, pretty=True)
    table, notes = [["row", "ours", "floor", "ratio", "MiB"]], []
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.ratio >= 0.1 else f"1/{1 / row.ratio:.1f}"
        memory = "-" if row.memory is None else f"{row.memory:.1f}"
        table.append([row.name, f"{min(row.ours):.4g}", f"{min(row.floor):.4g}", ratio, memory])
        notes.append(f"{row.name}: {row.what}; best of {len(row.ours)}")
        notes += [f"  {name}: {value:.4g}" for name, value in row.notes.items()]
    print("\n".join([aligned(table), *notes, ", ".join(f"{key} {value}" for key, value in about.items())]))


def in_turns(
    ours: Callable[[], Any], floor: Callable[[], Any], repeats: int, warm_ups: int = 1
) -> tuple[list[float], list[float]]:
    """Seconds of ``repeats`` runs of ours and of the floor, in turns: a slow spell meets both."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(warm_ups + repeats):
        for side, work in enumerate((ours, floor)):
            start = time.perf_counter()
            work()
            if number >= warm_ups:
                seconds[side].append(time.perf_counter() - start)
    return seconds


def in_own_process(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Runs ``work``, which can be imported by name, in a new process.

    Returns:
        (its result, peak resident memory in MiB of the process and its workers, each by itself, in sum).
    """
    peaks: dict[str, int] = {}
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        future, done = pool.submit(work, *arguments), False
        root = str(active_children()[0].pid)
        while not done:
            done = bool(wait([future], timeout=0.05).done)  # and a last look
            tasks = Path("/proc", root, "task").glob("*/children")
            for pid in (root, *(child for task in tasks for child in _text(task).split())):
                words = _text(Path("/proc", pid, "status")).split()
                if "VmHWM:" in words:
                    peaks[pid] = int(words[words.index("VmHWM:") + 1])
    return future.result(), sum(peaks.values()) / 1024


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a thread or process that has just ended
        return ""


def machine() -> dict[str, Any]:
    """Commit (``+`` where files were changed), processor, its load, and versions."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    models = [line for line in _text(Path("/proc/cpuinfo")).splitlines() if line.startswith("model name")]
    versions = {package.name: package.version for package in distributions()}
    return {
        "commit": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
        or "unknown",
        "cpu": models[0].partition(": ")[2] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        **{name: versions[name] for name in _PACKAGES if name in versions},
    }
