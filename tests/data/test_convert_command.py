import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from xbd_files import SQUARE, write_buildings, write_pair

from skyeye_det.data.validation import FaultKind

REPOSITORY = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, str(REPOSITORY / "tools" / "convert_xbd_to_coco.py")]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_command_converts_splits_beside_the_data(tmp_path: Path) -> None:
    for split in ("train", "tier3"):
        write_buildings(tmp_path, ("a", SQUARE, "no-damage"), split=split)
    done = run("--xbd-root", tmp_path, "--splits", "train", "tier3")
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in (tmp_path / "annotations").iterdir()} == {
        f"xbd_{split}{suffix}" for split in ("train", "tier3") for suffix in (".json", ".faults.json")
    }
    assert "tier3" in done.stdout


def test_wrong_root_and_strict_fault_exit_with_2_and_one_sentence(tmp_path: Path) -> None:
    wrong = run("--xbd-root", tmp_path / "nowhere", "--splits", "train")
    write_buildings(tmp_path, ("a", "POINT (1 1)", "no-damage"))
    strict = run("--xbd-root", tmp_path, "--splits", "train", "--strict")
    for failed in (wrong, strict):
        assert failed.returncode == 2
        assert failed.stderr.startswith("error: ")
        assert failed.stderr.count("\n") == 1
        assert failed.stdout == ""


@pytest.mark.skipif(sys.platform != "linux", reason="finds a process's workers in /proc")
def test_killed_conversion_leaves_the_old_file_and_no_worker(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"))
    assert run("--xbd-root", tmp_path, "--splits", "train").returncode == 0
    written = tmp_path / "annotations" / "xbd_train.json"
    before = written.read_bytes()
    for number in range(2, 13):
        write_buildings(tmp_path, ("a", SQUARE, "no-damage"), name=f"test-flood_{number:08d}")
    waiting = (
        "import time, skyeye_det.data.coco as coco\n"
        "def stuck(results, *told):\n"
        "    yield next(results)\n"
        "    time.sleep(60)\n"
        "coco.progress = stuck\n"
        f"coco.convert_split({str(tmp_path)!r}, 'train', {str(written.parent)!r}, workers=2)\n"
    )
    running = subprocess.Popen([sys.executable, "-c", waiting], cwd=REPOSITORY)
    try:
        children = _wait_for_children(running.pid)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert written.read_bytes() == before
    assert _wait_until_gone(children)
    assert run("--xbd-root", tmp_path, "--splits", "train", "--workers", 2).returncode == 0
    assert len(json.loads(written.read_bytes())["images"]) == 12


def test_kill_in_the_middle_of_writing_leaves_the_old_file(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"))
    assert run("--xbd-root", tmp_path, "--splits", "train").returncode == 0
    written = tmp_path / "annotations" / "xbd_train.json"
    before = written.read_bytes()
    write_buildings(tmp_path, ("a", SQUARE, "destroyed"))
    dying = (
        "import os, signal\nfrom pathlib import Path\n"
        "from skyeye_det.data.coco import convert_split\n"
        "def replace(old, new):\n"
        "    if new.name == 'xbd_train.json': os.kill(os.getpid(), signal.SIGKILL)\n"
        "Path.replace = replace\n"
        f"convert_split({str(tmp_path)!r}, 'train', {str(tmp_path / 'annotations')!r})\n"
    )
    killed = subprocess.run([sys.executable, "-c", dying], cwd=REPOSITORY, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert written.read_bytes() == before
    assert run("--xbd-root", tmp_path, "--splits", "train").returncode == 0
    assert json.loads(written.read_bytes())["annotations"][0]["damage"] == 3
    assert not [path for path in written.parent.iterdir() if path.name.endswith(".partial")]


def test_unreadable_labels_among_good_ones_are_counted(tmp_path: Path) -> None:
    write_buildings(tmp_path, ("a", SQUARE, "no-damage"))
    write_pair(tmp_path, "{", "{", name="test-flood_00000002")
    done = run("--xbd-root", tmp_path, "--splits", "train")
    assert done.returncode == 0
    assert "2  unreadable-label  the pair is left out" in done.stdout


def test_documentation_states_the_rule_of_every_kind_of_fault() -> None:
    text = (REPOSITORY / "datasets" / "README.md").read_text()
    for kind in FaultKind:
        assert f"| `{kind.value}` | {kind.expected} | {kind.rule} |" in text


def _wait_for_children(parent: int) -> list[int]:
    """Two workers and Python's own tracker of shared resources."""
    for _ in range(300):
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        if len(children) >= 3:
            time.sleep(1.5)  # the workers have read their pairs and wait for more
            return [int(child) for child in children]
        time.sleep(0.1)
    raise AssertionError("the workers were not started")


def _wait_until_gone(processes: list[int]) -> bool:
    for _ in range(100):
        if not any(_alive(number) for number in processes):
            return True
        time.sleep(0.1)
    return False


def _alive(number: int) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
