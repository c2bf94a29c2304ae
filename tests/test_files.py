"""Files are whole or absent: after failure, after kill -9, in folders that cannot be written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from skyeye_det import files
from skyeye_det.errors import InputError
from skyeye_det.files import (
    read_json,
    require_writable,
    sole_writer,
    whole_file,
    write_bytes,
    write_json,
)

KILLED = """
import sys, time
from skyeye_det.files import whole_file
with whole_file(sys.argv[1]) as partial:
    partial.write_bytes(b"half")
    print("written", flush=True)
    time.sleep(60)
"""

HOLDS = """
import sys, time
from skyeye_det.files import sole_writer
with sole_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(1)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_appears_under_its_name_only_when_the_block_ends(tmp_path):
    target = tmp_path / "new" / "folders" / "a.json"
    with whole_file(target) as partial:
        partial.write_text("done")
        assert not target.exists()
        assert partial.parent == target.parent  # a rename across file systems is no single step
    assert target.read_text() == "done"
    assert names(target.parent) == ["a.json"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")

    def write_and_fail() -> None:
        with whole_file(target) as partial:
            partial.write_text("half")
            raise RuntimeError("of the caller")

    with pytest.raises(RuntimeError, match="of the caller"):
        write_and_fail()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.json"]


def test_kill_leaves_the_old_file_and_the_next_write_clears_up(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(target)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=30)
    process.stdout.close()
    assert target.read_text() == "old"
    assert not [name for name in names(tmp_path) if name.endswith(".json") and name != "a.json"]
    write_bytes(target, b"new")
    assert target.read_bytes() == b"new"
    assert names(tmp_path) == ["a.json"]


def test_block_that_writes_nothing_is_an_error_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    target.write_text("old")
    with pytest.raises(InputError, match=r"a\.json: cannot be written"), whole_file(target):
        pass
    assert target.read_text() == "old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_read_only_folder_is_told_in_one_sentence(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match=r"a\.json: cannot be written \(Permission denied\)"):
            write_bytes(tmp_path / "a.json", b"x")
    finally:
        tmp_path.chmod(0o700)


def test_file_in_the_place_of_a_folder_is_told_in_one_sentence(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(InputError, match=r"a\.json: cannot be written"):
        write_bytes(tmp_path / "taken" / "a.json", b"x")
    assert (tmp_path / "taken").read_text() == "a file"


def test_folder_in_the_place_of_the_file_is_kept(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match=r"a\.json: expected a place for a file"):
        write_bytes(tmp_path / "a.json", b"x")
    assert names(tmp_path) == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_is_told_in_one_sentence(tmp_path):
    def write() -> None:
        with whole_file(tmp_path / "a.json") as partial:
            partial.symlink_to("/dev/full")
            partial.write_bytes(b"x" * 100_000)

    with pytest.raises(InputError, match="No space left"):
        write()
    assert names(tmp_path) == []


def test_device_is_not_replaced(tmp_path):
    (tmp_path / "a.json").symlink_to("/dev/null")
    with pytest.raises(InputError, match="a device"):
        write_bytes(tmp_path / "a.json", b"x")
    assert (tmp_path / "a.json").is_char_device()


def test_link_in_the_place_of_the_partial_file_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".a.json.partial").symlink_to(tmp_path / "precious")
    write_bytes(tmp_path / "a.json", b"x")
    assert (tmp_path / "precious").read_text() == "kept"
    assert names(tmp_path) == ["a.json", "precious"]


def test_json_goes_there_and_back_with_any_letters(tmp_path):
    content = {"scene": "Nürburg–東京", "score": [0.1, None], "damage": -1}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content
    assert "東京" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert (tmp_path / "a.json").read_bytes().endswith(b"\n")


def test_json_that_cannot_be_written_touches_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 200_000])
def test_broken_json_is_named(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json: expected JSON"):
        read_json(tmp_path / "a.json")


def test_missing_json_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.json: cannot be read"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_json(tmp_path)


def test_what_can_be_written_is_left_as_it_is(tmp_path):
    (tmp_path / "there").write_text("old")
    require_writable(tmp_path / "there")
    require_writable(tmp_path / "new" / "file")
    assert (tmp_path / "there").read_text() == "old"
    assert not list((tmp_path / "new").iterdir())
    with pytest.raises(InputError, match="cannot be written"):
        require_writable(tmp_path / "there" / "file")


def test_a_folder_has_one_writer_until_its_block_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.3)
    with sole_writer(tmp_path / "out"):
        with pytest.raises(InputError, match="another run writes to it"), sole_writer(tmp_path / "out"):
            pass
        with sole_writer(tmp_path / "other"):
            pass
    with sole_writer(tmp_path / "out"):
        pass
    assert not list((tmp_path / "out").iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"), sole_writer(tmp_path / "file"):
        pass


def test_processes_that_a_writer_leaves_behind_do_not_keep_the_next_one_out(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    with sole_writer(tmp_path):
        child = os.fork()
        if child == 0:
            signal.pause()
    try:
        with sole_writer(tmp_path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_the_next_writer_waits_for_the_processes_of_a_killed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_PATIENCE", 20.0)
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    start = time.monotonic()
    with sole_writer(tmp_path):
        assert time.monotonic() - start < 15
    assert holder.wait() == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_of_other_systems_is_read_with_its_mark(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding[-3:] in ("-le", "-be") else ""
    (tmp_path / "a.json").write_bytes(f'{mark}{{"a": "é"}}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"a": "é"}


def test_half_a_letter_of_utf_16_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"a": 1}'.encode("utf-16")[:-1])
    with pytest.raises(InputError, match="expected JSON"):
        read_json(tmp_path / "a.json")
