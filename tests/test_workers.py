"""Pools of workers: order, errors, and workers that are lost."""

import math
import os
import signal
import time

import pytest

from skyeye_det import workers
from skyeye_det.errors import InputError
from skyeye_det.workers import ordered_map, worker_count


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    items = list(range(50))
    assert list(ordered_map(math.sqrt, items, workers, chunk=3)) == [math.sqrt(item) for item in items]


def test_nothing_to_do_gives_nothing() -> None:
    assert list(ordered_map(math.sqrt, [], 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_in_the_place_of_its_item(workers: int) -> None:
    results = ordered_map(math.sqrt, [4, 9, -1, 16], workers, chunk=1)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ValueError, match="math domain|nonnegative"):
        next(results)


def test_a_killed_worker_is_reported_in_a_sentence() -> None:
    with pytest.raises(InputError, match="a worker process was killed.*--workers 1"):
        list(ordered_map(os._exit, [9, 9], 2, chunk=1))


def test_results_that_nobody_takes_are_not_waited_for() -> None:
    start = time.monotonic()
    results = ordered_map(time.sleep, [0.0] * 2 + [0.2] * 500, 2, chunk=1)
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 30  # 50 s for all of them


@pytest.mark.parametrize(
    ("given", "items", "expected"), [(None, 0, 0), (None, 1, 1), (None, 50, 1), (3, 1, 3), (1, 10_000, 1)]
)
def test_number_of_workers_is_as_asked_or_grows_with_the_items(given, items: int, expected: int) -> None:
    assert worker_count(given, items, 50) == expected


def test_at_most_one_worker_a_cpu_by_default() -> None:
    assert worker_count(None, 10**6, 1) == os.cpu_count()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_until_a_worker_has_started(number: signal.Signals) -> None:
    told: list[str] = []

    class Pool:
        def submit(self, *_: object) -> str:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            told.append("started")
            return "future"

    before = signal.signal(number, lambda *_: told.append("signal"))
    try:
        assert workers._submitted(Pool(), len, []) == "future"  # type: ignore[arg-type]
        signal.raise_signal(number)
    finally:
        signal.signal(number, before)
    assert told == ["started", "signal", "signal"]
