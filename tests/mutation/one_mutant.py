"""Runs one mutant in this process and says what became of it."""

import os
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mutants import Mutant
from sandbox import Sandbox, leftovers, new_sandbox
from steps import STEPS, output_of
from verdicts import (
    DONE,
    FAILED,
    MEGABYTES,
    REFUSED,
    REPORTED,
    SECONDS,
    Verdict,
    fault_of_files,
    fault_of_sentence,
    fault_of_text,
)

from skyeye_det.errors import InputError

_LIMIT = 2 << 30
"""Bytes of address space above the start; beyond it memory is refused, and the mutant fails."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def run_mutant(mutant: Mutant, base: Path, folder: Path, begin: Callable[[], None] = lambda: None) -> Verdict:
    """Makes the mutant below ``folder``, runs its step and removes it.

    Args:
        mutant: which one.
        base: undamaged input.
        folder: not there yet.
        begin: called when the input is made and the step begins.
    """
    box = new_sandbox(base, folder)
    try:
        victim = mutant.damaged(box)
        return _run(mutant, box, victim, begin)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(mutant: Mutant, box: Sandbox, victim: Path, begin: Callable[[], None]) -> Verdict:
    output = output_of(mutant.step, box)
    before, partial = box.state(output), leftovers(output)
    at_start, limits = _reset_peak(), resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _LIMIT, limits[1]))
    begin()
    started = time.process_time()
    WATCH.begin(output)
    outcome, text = FAILED, ""
    try:
        shown, faults = STEPS[mutant.step](box)
        fault = fault_of_text(shown)
        outcome = REPORTED if faults else DONE
    except InputError as error:
        text = str(error)
        outcome, fault = REFUSED, fault_of_sentence(text, box, victim)
    except BaseException as error:  # noqa: BLE001 - whatever else comes out is what is looked for
        fault = _last_lines(error)
    seconds = time.process_time() - started
    strange = WATCH.end()
    resource.setrlimit(resource.RLIMIT_AS, limits)
    megabytes = max(0.0, (_peak() - at_start) / 1024)
    fault = fault or strange or fault_of_files(box, output, before, partial)
    if not fault and seconds > SECONDS:
        fault = f"{seconds:.1f} s of CPU time"
    if not fault and megabytes > MEGABYTES:
        fault = f"{megabytes:.0f} MB of memory"
    if fault:
        outcome, text = FAILED, fault
    return Verdict(
        mutant.number, mutant.kind.damage, mutant.kind.role, mutant.step, outcome, text, seconds, megabytes
    )


class _Watch:
    """Sees by Python's audit events what is written, wherever it is; only the output folder may be."""

    def __init__(self) -> None:
        self._output: str | None = None
        self._seen: str | None = None
        sys.addaudithook(self._hook)

    def begin(self, output: Path) -> None:
        """Writing outside ``output`` counts from now on."""
        self._seen, self._output = None, str(output)

    def end(self) -> str | None:
        """What was written elsewhere."""
        self._output = None
        return self._seen

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._output is None:
            return
        for path in _written_paths(event, arguments):
            place = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - without following links
            if place != self._output and not place.startswith(self._output + os.sep) and place != os.devnull:
                self._seen = self._seen or f"{event} of {place!r}, outside the output folder"


def _written_paths(event: str, arguments: tuple[Any, ...]) -> list[Any]:
    if event == "open":
        path, mode, flags = arguments
        writes = any(sign in mode for sign in "wax+") if isinstance(mode, str) else flags & _WRITING
        return [path] if writes and not isinstance(path, int) else []
    if event in ("os.rename", "os.link", "os.symlink", "shutil.move", "shutil.copyfile"):
        return list(arguments[:2])
    if event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"):
        return [arguments[0]] if not isinstance(arguments[0], int) else []
    return []


WATCH = _Watch()


def _last_lines(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "skyeye_det" in frame.filename] or frames
    place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
    return f"{type(error).__name__} at {place}: {str(error)[:300]!r}"


def _reset_peak() -> int:
    """Sets the peak memory of this process to its present memory; kB."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    return _status("VmHWM:")


def _address_space() -> int:
    return _status("VmSize:") * 1024


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise AssertionError(key)
