"""Pools of worker processes: results in order, memory bounded, no worker left behind."""

import gc
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TypeVar

import cv2

from skyeye_det.errors import InputError

_CHUNKS_AHEAD = 4
_OBJECTS_BETWEEN_COLLECTIONS = 200_000

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count(workers: int | None, items: int, items_a_worker: int) -> int:
    """Number of processes: ``workers``, else one for each ``items_a_worker``, at most one a CPU."""
    return workers or min(os.cpu_count() or 1, -(-items // items_a_worker))


def ordered_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, chunk: int = 8
) -> Iterator[Result]:
    """Results of ``function`` in the order of ``items``, worked out by processes.

    At most four chunks a worker are under way or waiting to be taken, however many items there are.

    Args:
        function: importable by name; its errors are raised here.
        items: can be pickled.
        workers: number of processes; with 1 the work is done in this process.
        chunk: items handed over at a time.

    Raises:
        InputError: a worker was killed, by the system for want of memory as a rule.
    """
    workers = min(workers, -(-len(items) // chunk))
    if workers <= 1:
        yield from map(function, items)
        return
    chunks = (items[start : start + chunk] for start in range(0, len(items), chunk))
    # spawn: forking a process that has threads (OpenCV's, torch's) can lock up.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin)
    waiting: deque[Future[list[Result]]] = deque()
    try:
        for ahead in islice(chunks, workers * _CHUNKS_AHEAD):
            waiting.append(_submitted(pool, function, ahead))
        while waiting:
            done = waiting.popleft().result()
            for ahead in islice(chunks, 1):
                waiting.append(_submitted(pool, function, ahead))
            yield from done
    except BrokenProcessPool as error:
        raise InputError(
            "a worker process was killed, probably for want of memory; run again with --workers 1"
        ) from error
    finally:
        for future in waiting:
            future.cancel()
        # Python takes a thread whose joining was interrupted for ended, and leaves a worker that still
        # starts without the semaphores that it looks for.
        with signals_held_back():
            pool.shutdown()


def _submitted(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item]
) -> "Future[list[Result]]":
    try:
        with signals_held_back():
            return pool.submit(_results, function, items)
    except OSError as error:  # the pipe to a worker that was killed while starting
        raise BrokenProcessPool from error


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Lets a signal wait for the end of the block: a worker started by half says so by a traceback.

    What is started inside never sees the terminal's Ctrl-C, which is meant for its parent.
    """
    come: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM) if main}
    handled = {number: handler for number, handler in before.items() if callable(handler)}
    for number in handled:
        signal.signal(number, lambda received, _: come.append(received))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited by processes and threads
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in handled.items():
            signal.signal(number, handler)
        if come:
            signal.raise_signal(come[0])


def _end_with_parent() -> None:
    """Makes this worker end when its parent is killed; it would wait for work for ever otherwise."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _begin() -> None:
    _end_with_parent()
    cv2.setNumThreads(1)  # there is a process for each core
    # What workers make and drop are values without cycles; looking for cycles takes a tenth of their time.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


def _results(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [function(item) for item in items]
