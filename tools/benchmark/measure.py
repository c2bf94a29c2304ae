"""Time and memory of a piece of work, worker processes included. Linux: memory is read from ``/proc``."""

import os
import resource
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MIB = 2**20
_SECONDS_BETWEEN_SAMPLES = 0.05


@dataclass(frozen=True)
class Cost:
    """Seconds of a piece of work: by the clock, and of CPU over all processes."""

    wall: float
    cpu: float


@dataclass
class Peak:
    """Largest memory seen, in bytes."""

    bytes: int = 0

    @property
    def mib(self) -> float:
        """The same in MiB."""
        return self.bytes / MIB


def interleaved(
    ours: Callable[[], Any], floor: Callable[[], Any], repeats: int
) -> tuple[Cost, Cost, tuple[Any, Any]]:
    """Runs ours, floor, ours, floor, ..., so that a slow spell of the machine meets both.

    Args:
        ours: what is judged; run before, so that files lie in the page cache.
        floor: what it is held against.
        repeats: runs of each.

    Returns:
        (best cost of ours, best cost of floor, what the last run of each gave); clock and CPU are each the
        best of the runs.
    """
    costs: tuple[list[Cost], list[Cost]] = ([], [])
    results: list[Any] = [None, None]
    for _ in range(repeats):
        for side, work in enumerate((ours, floor)):
            cost, results[side] = measured(work)
            costs[side].append(cost)
    best_ours, best_floor = (
        Cost(min(cost.wall for cost in of_side), min(cost.cpu for cost in of_side)) for of_side in costs
    )
    return best_ours, best_floor, (results[0], results[1])


def measured(work: Callable[[], Any]) -> tuple[Cost, Any]:
    """Cost and result of one run; CPU time of worker processes counts where they have ended by then."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    result = work()
    return Cost(time.perf_counter() - wall, _cpu_seconds() - cpu), result


@contextmanager
def tree_memory() -> Iterator[Peak]:
    """Samples, 20 times a second, the memory of this process and all below it while the block runs.

    It is the proportional set size: a page that several processes share counts once.
    """
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while True:
            peak.bytes = max(peak.bytes, sum(memory_of(pid)["Pss"] for pid in process_tree()))
            if done.wait(_SECONDS_BETWEEN_SAMPLES):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def traced_peak(work: Callable[[], Any]) -> Peak:
    """Most memory that Python and numpy hold at a time during ``work``, beyond what they held before it."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        work()
        return Peak(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()


def process_tree(pid: int | None = None) -> list[int]:
    """Ids of a process, this one by default, and of all below it that are alive."""
    pid = os.getpid() if pid is None else pid
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = task.read_text().split()
        except OSError:  # a thread or process that has just ended
            continue
        for child in children:
            found += process_tree(int(child))
    return found


def memory_of(pid: int) -> dict[str, int]:
    """Bytes of a process: ``Private`` and ``Shared`` pages, and ``Pss``, which counts a page by its sharers.

    Zeros where the process has just ended.
    """
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except OSError:
        lines = []
    sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    both = {
        kind: sizes.get(f"{kind}_Clean", 0) + sizes.get(f"{kind}_Dirty", 0) for kind in ("Private", "Shared")
    }
    return both | {"Pss": sizes.get("Pss", 0)}


def _cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)
