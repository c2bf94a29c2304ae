"""Warm worker processes for mutants: one that hangs or dies is replaced, and its mutant has failed."""

import os
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

from mutants import Mutant, mutant
from one_mutant import run_mutant
from verdicts import FAILED, MEGABYTES, SECONDS, Verdict

_IDLE = 2.0
"""s without CPU time after which a step that is over its time counts as waiting, not as slowed by others."""
_LONGEST = 120.0
"""s on the clock for all of a mutant, however busy the machine is."""
_TICKS = os.sysconf("SC_CLK_TCK")


def run_mutants(numbers: Iterable[int], seed: int, base: Path, scratch: Path, jobs: int) -> Iterator[Verdict]:
    """Runs mutants in ``jobs`` processes.

    Args:
        numbers: of the mutants.
        seed: of the series.
        base: undamaged input.
        scratch: folder for what is damaged; emptied again.
        jobs: number of processes.

    Yields:
        A verdict each, in the order of ``numbers``.
    """
    workers = [MutantWorker(base, scratch / f"job{job}") for job in range(jobs)]
    free: SimpleQueue[MutantWorker] = SimpleQueue()
    for worker in workers:
        free.put(worker)

    def judged(number: int) -> Verdict:
        worker = free.get()
        try:
            return worker.run(mutant(seed, number))
        finally:
            free.put(worker)

    with ThreadPoolExecutor(jobs) as pool:
        try:
            yield from pool.map(judged, numbers)
        finally:
            pool.shutdown(cancel_futures=True)
            for worker in workers:
                worker.stop()


class MutantWorker:
    """One process that runs mutants one after the other; started again when it was lost."""

    def __init__(self, base: Path, folder: Path) -> None:
        self._base, self._folder = base, folder
        self._last: int | None = None
        self._start()

    def run(self, mutant: Mutant) -> Verdict:
        """Runs a mutant and waits for its verdict, or ends the process that gives none."""
        try:
            self._connection.send((mutant.series, mutant.number))
            verdict = self._answer(mutant)
        except (EOFError, OSError):
            self._process.join()
            before = "" if self._last is None else f", maybe of what mutant {self._last} did to it before"
            return self._lost(mutant, f"the process died with exit code {self._process.exitcode}{before}")
        if isinstance(verdict, str):
            return self._lost(mutant, verdict)
        self._last = mutant.number
        if verdict.megabytes > MEGABYTES:
            self._restart()
        return verdict

    def _answer(self, mutant: Mutant) -> Verdict | str:
        """The verdict, or what keeps the process from giving one."""
        given = active = time.monotonic()
        begun: float | None = None
        at_begin = cpu = 0.0
        while True:
            now, used = time.monotonic(), _cpu_seconds(self._process.pid)
            if self._connection.poll(0.1):
                message = self._connection.recv()
                if isinstance(message, Verdict):
                    return message
                if isinstance(message, str):
                    raise RuntimeError(f"mutant {mutant.number} cannot be made: {message}")
                begun, active, at_begin, cpu = now, now, used, used
                continue
            if used > cpu:
                active, cpu = now, used
            over = begun is not None and now - begun > SECONDS
            if (
                (over and now - active > _IDLE)
                or (over and used - at_begin > SECONDS)
                or now - given > _LONGEST
            ):
                how = "waiting" if now - active > _IDLE else "running"
                return f"still {how} after {now - (begun or given):.0f} s"

    def stop(self) -> None:
        """Ends the process and removes what it worked on."""
        self._connection.close()
        self._process.join(1)
        self._process.kill()
        self._process.join()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self._base, self._folder), daemon=True)
        self._process.start()
        theirs.close()

    def _restart(self) -> None:
        self.stop()
        self._start()

    def _lost(self, mutant: Mutant, text: str) -> Verdict:
        self._process.kill()
        self._restart()
        return Verdict(mutant.number, mutant.kind.damage, mutant.kind.role, mutant.step, FAILED, text)


def _work(connection: Connection, base: Path, folder: Path) -> None:
    # What libraries say of broken images belongs to no report.
    silent = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(silent, number)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123 - for as long as the process lives
    while True:
        try:
            series, number = connection.recv()
        except EOFError:
            return
        try:
            verdict = run_mutant(mutant(series, number), base, folder, lambda: connection.send(None))
        except Exception:  # noqa: BLE001 - told to the runner, which raises it
            connection.send(traceback.format_exc())
            return
        connection.send(verdict)


def _cpu_seconds(process: int | None) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
