"""Conversions and scorings ended by SIGKILL and SIGTERM at random moments, each then run again.

Afterwards every output is whole or as it was before, no process is left, SIGTERM exits with 143 and leaves no
half-written file, and the next run gives the same bytes. ``SKYEYE_KILLS`` sets the number of runs.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fault_inputs import REPOSITORY, Command, commands, make_root, run

RUNS = int(os.environ.get("SKYEYE_KILLS", "4"))
OLD = b'{"what": "an earlier run wrote"}\n'
WAIT = 20.0  # s that worker processes get to notice that their parent has gone

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Command, Files, float]]:
    """Commands, what they write, and the seconds that they take."""
    folder = tmp_path_factory.mktemp("kills")
    found = []
    for command in commands(*make_root(folder, 200)):
        started = time.monotonic()
        assert run(command, folder / command.name).returncode == 0
        seconds = time.monotonic() - started
        files = {name: (folder / command.name / name).read_bytes() for name in command.files}
        found.append((command, files, seconds))
    return found


@pytest.mark.parametrize("number", range(RUNS))
def test_killed_command_leaves_whole_or_no_output_and_runs_again(undisturbed, tmp_path, number: int) -> None:
    command, files, seconds = undisturbed[number % len(undisturbed)]
    sent = (signal.SIGKILL, signal.SIGTERM)[number // len(undisturbed) % 2]
    output = tmp_path / "output"
    output.mkdir()
    if has_old := number % 3 == 0:
        for name in files:
            (output / name).write_bytes(OLD)
    code, left, printed = ended_by(command, output, sent, random.Random(number).uniform(0, seconds))
    assert left == []
    for name, whole in files.items():
        path = output / name
        assert (path.read_bytes() if path.exists() else None) in (whole, OLD if has_old else None)
    if sent is signal.SIGTERM:
        # While Python is still importing, or has come to its end, no handler stands and the signal ends it.
        assert code in (143, 0, -signal.SIGTERM)
        assert "Traceback" not in printed
        assert not list(output.rglob("*.partial"))
    assert run(command, output).returncode == 0
    assert {path.name: path.read_bytes() for path in output.rglob("*")} == files


def ended_by(
    command: Command, output: Path, sent: signal.Signals, delay: float
) -> tuple[int, list[int], str]:
    """Exit code, processes that outlive the command, and what it printed on standard error."""
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
        code = running.wait(WAIT)
    until = time.monotonic() + WAIT
    while (left := processes_of_session(running.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    for process in left:
        os.kill(process, signal.SIGKILL)
    return code, left, said.read_text()


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
