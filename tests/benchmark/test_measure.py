import os
import subprocess
import sys
import time

import numpy as np

from skyeye_det.benchmark.measure import (
    MIB,
    interleaved,
    measured,
    memory_of,
    process_tree,
    traced_peak,
    tree_memory,
)

HOLD_64_MIB = "x = bytearray(1 << 26); print('ready', flush=True); input()"


def holding_child() -> "subprocess.Popen[str]":
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD_64_MIB], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_ours_and_floor_take_turns_and_the_best_counts() -> None:
    calls: list[str] = []
    naps = iter([0.1, 0.02, 0.1])

    def ours() -> int:
        calls.append("ours")
        time.sleep(next(naps))
        return len(calls)

    def floor() -> str:
        calls.append("floor")
        return "done"

    best, _, results = interleaved(ours, floor, 3)
    assert calls == ["ours", "floor"] * 3
    assert results == (5, "done")
    assert 0.02 <= best.wall < 0.1
    assert best.cpu < best.wall


def test_the_cpu_time_of_ended_children_counts() -> None:
    code = "import time\nwhile time.process_time() < 0.3: pass"
    cost, done = measured(lambda: subprocess.run([sys.executable, "-c", code], check=True))
    assert done.returncode == 0
    assert cost.cpu >= 0.3


def test_traced_peak_is_what_is_held_at_a_time_beyond_the_inputs() -> None:
    kept = np.zeros(4 * MIB, np.uint8)
    assert 8 <= traced_peak(lambda: [np.ones(8 * MIB, np.uint8).sum() + kept[0] for _ in range(3)]).mib < 9


def test_memory_of_the_tree_holds_that_of_children() -> None:
    before = sum(memory_of(pid)["Pss"] for pid in process_tree())
    child = holding_child()
    try:
        with tree_memory() as peak:
            assert child.pid in process_tree()
            time.sleep(0.1)
    finally:
        child.communicate("\n")
    assert peak.bytes - before >= 64 * MIB
    assert child.pid not in process_tree()


def test_a_process_that_has_ended_has_no_memory() -> None:
    child = holding_child()
    assert memory_of(child.pid)["Private"] >= 64 * MIB
    child.communicate("\n")
    assert memory_of(child.pid) == {"Pss": 0, "Private": 0, "Shared": 0}
    assert memory_of(os.getpid())["Pss"] > 0
