"""Full disks, places that cannot be written, folders that vanish, and workers that die."""

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_inputs import Command, commands, make_root, one_sentence, run
from test_kills import processes_of_session

from skyeye_det.errors import InputError
from skyeye_det.files import write_json

BOTH = pytest.mark.parametrize("which", [0, 1], ids=["convert", "score"])


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, Command]:
    return commands(*make_root(tmp_path_factory.mktemp("faults"), 24), workers=1)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 16 kB with 4 kB left."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    try:
        (place / "filling").write_bytes(bytes(12_288))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def nothing_in(folder: Path, command: Command) -> bool:
    """No half-written file, and the main output absent."""
    return not [
        path for path in folder.rglob("*") if path.name.endswith(".partial") or path.name == command.files[0]
    ]


@BOTH
def test_file_that_grows_too_large_is_refused_and_removed(both, which: int, tmp_path: Path) -> None:
    command = both[which]
    limits = 500, 500
    done = run(
        command, tmp_path / "out", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    )
    assert one_sentence(done), done.stderr
    assert command.files[0] in done.stderr
    assert nothing_in(tmp_path / "out", command)


def test_full_disk_is_refused_and_left_without_half_a_file(both, full_disk: Path) -> None:
    done = run(both[0], full_disk / "out")
    assert one_sentence(done), done.stderr
    assert "No space left" in done.stderr
    assert nothing_in(full_disk / "out", both[0])
    (full_disk / "filling").unlink()
    subprocess.run(["mount", "-o", "remount,size=4m", str(full_disk)], check=True)
    assert run(both[0], full_disk / "out").returncode == 0


def test_output_that_cannot_be_written_is_refused(both, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for command, place in zip(both, (tmp_path / "file" / "below", Path("/proc/self/nowhere")), strict=True):
        done = run(command, place)
        assert one_sentence(done), done.stderr
        assert str(place) in done.stderr


def test_folder_that_vanishes_while_writing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    replace = os.replace

    def vanishing(*arguments: object, **options: object) -> None:
        shutil.rmtree(folder)
        replace(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", vanishing)
    monkeypatch.setattr(Path, "replace", lambda path, target: vanishing(path, target))  # noqa: PLW0108 - a method
    with pytest.raises(InputError, match="report.json: cannot be written"):
        write_json(folder / "report.json", {"a": 1})
    assert not folder.exists()


def test_killed_worker_of_a_conversion_ends_it_without_output(tmp_path: Path) -> None:
    command = commands(*make_root(tmp_path, 2000), workers=2)[0]
    said = tmp_path / "stderr"
    with said.open("wb") as stderr:
        running = subprocess.Popen(
            command.line(tmp_path / "out"), stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )
        try:
            os.kill(_first_worker(running.pid), signal.SIGKILL)
            code = running.wait(60)
        finally:
            running.kill()
    assert code == 2
    assert "a worker process was killed" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert nothing_in(tmp_path / "out", command)
    time.sleep(0.5)
    assert not processes_of_session(running.pid)


def _cpu_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _first_worker(session: int) -> int:
    """Process number of a worker that is at work; Python's tracker of shared resources is none.

    One killed while it starts ends the run too, but Python's own pool may add a traceback of its thread.
    """
    for _ in range(2000):
        for process in processes_of_session(session):
            line = Path(f"/proc/{process}/cmdline").read_bytes()
            if b"spawn_main" in line and _cpu_seconds(process) > 0.35:
                return process
        time.sleep(0.005)
    raise AssertionError("the workers were not started")


def test_reader_that_goes_away_is_no_traceback(both, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = run(both[0], tmp_path / "out", stdout=writing, stderr=subprocess.PIPE, capture_output=False)
    os.close(writing)
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out" / "xbd_train.json").is_file()
