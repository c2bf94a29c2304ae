"""Ends commands by signals at random moments, and looks at what is left."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fault_inputs import REPOSITORY, Command, run

_OLD = b'{"what": "an earlier run wrote"}\n'
_WAIT = 20.0
"""s that worker processes get to notice that their parent has gone."""


@dataclass(frozen=True)
class KillReport:
    """One run that a signal ended, or that was done before.

    Attributes:
        number: of the run.
        command: its name.
        signal: sent to the command's main process.
        delay: s after the start.
        code: exit code; negative for the signal that ended it.
        state: "absent", "old" or "whole", of the main output.
        fault: what is wrong; ``None`` where all is as it must be.
    """

    number: int
    command: str
    signal: str
    delay: float
    code: int
    state: str
    fault: str | None


def undisturbed(command: Command, output: Path) -> tuple[dict[str, bytes], float]:
    """Runs a command to its end: its files, and the seconds that it takes."""
    started = time.monotonic()
    done = run(command, output)
    seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"{command.name} fails without being killed: {done.stderr}")
    return {name: (output / name).read_bytes() for name in command.files}, seconds


def kill_runs(commands: tuple[Command, ...], runs: int, seed: int, scratch: Path) -> Iterator[KillReport]:
    """Runs commands in turn, ends each at a random moment, and runs it again.

    Args:
        commands: what to run.
        runs: how often.
        seed: of the moments.
        scratch: folder for outputs.

    Yields:
        A report each.
    """
    expected = [undisturbed(command, scratch / f"whole-{command.name}") for command in commands]
    rng = Random(seed)
    for number in range(runs):
        which = number % len(commands)
        files, seconds = expected[which]
        sent = (signal.SIGKILL, signal.SIGTERM)[number // len(commands) % 2]
        delay = rng.uniform(0, seconds)
        yield _killed_run(number, commands[which], files, sent, delay, scratch / f"run-{number}")


def _killed_run(
    number: int, command: Command, files: dict[str, bytes], sent: signal.Signals, delay: float, output: Path
) -> KillReport:
    output.mkdir()
    if old := number % 3 == 0:
        for name in files:
            (output / name).write_bytes(_OLD)
    code, left, told = _ended_by(command, output, sent, delay)
    state, fault = _state(output, files, old)
    if left:
        fault = fault or f"{left} processes were left behind"
    if sent is signal.SIGTERM:
        fault = fault or _fault_of_terminated(code, output, told)
    fault = fault or _fault_of_next(command, output, files)
    shutil.rmtree(output)
    return KillReport(number, command.name, sent.name, delay, code, state, fault)


def _ended_by(command: Command, output: Path, sent: signal.Signals, delay: float) -> tuple[int, int, str]:
    """Exit code, number of processes that outlive the command, and what it said on standard error."""
    # A file and not a pipe: a worker left behind would hold a pipe open for ever.
    said = output.with_suffix(".stderr")
    with said.open("wb") as stderr:
        running = subprocess.Popen(
            command.line(output),
            cwd=REPOSITORY,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
        time.sleep(delay)
        running.send_signal(sent)
        code = running.wait(_WAIT)
    until = time.monotonic() + _WAIT
    while (left := processes_of_session(running.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return code, len(left), said.read_text()


def processes_of_session(session: int) -> list[int]:
    """Living processes of a session."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(place.parent.name))
    return found


def _state(output: Path, files: dict[str, bytes], old: bool) -> tuple[str, str | None]:
    """State of the main output, and the first file that is neither absent, nor old, nor whole."""
    states = {}
    for name, whole in files.items():
        path = output / name
        content = path.read_bytes() if path.exists() else None
        known = {whole: "whole"} | ({_OLD: "old"} if old else {None: "absent"})
        states[name] = known.get(content, "broken")
    broken = [name for name, state in states.items() if state == "broken"]
    return states[next(iter(files))], f"{broken[0]} is neither whole nor as before" if broken else None


def _fault_of_terminated(code: int, output: Path, told: str) -> str | None:
    # While Python is still importing, or has come to its end, no handler stands and the signal ends it.
    if code not in (143, 0, -signal.SIGTERM):
        return f"exit code {code} after SIGTERM"
    if "Traceback" in told:
        return f"a traceback: {told[-300:]!r}"
    if partial := list(output.rglob("*.partial")):
        return f"{partial[0].name} left after SIGTERM"
    return None


def _fault_of_next(command: Command, output: Path, files: dict[str, bytes]) -> str | None:
    done = run(command, output)
    if done.returncode:
        return f"the next run failed with exit code {done.returncode}: {done.stderr[-300:]!r}"
    for name, whole in files.items():
        if (output / name).read_bytes() != whole:
            return f"the next run wrote another {name}"
    names = {path.name for path in output.rglob("*")}
    return None if names == set(files) else f"the next run left {sorted(names - set(files))}"
