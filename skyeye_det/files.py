"""Files that appear whole: written beside their place under another name, then renamed."""

import codecs
import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np

from skyeye_det.errors import BusyFolderError, InputError, printable

_RESULTS = "*.npz"
_NAMED = 3
"""Differences that a message names."""

_PATIENCE = 12.0
"""Seconds that a folder's second writer waits; PyTorch's loading processes look for a parent every 5 s."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a path beside ``path`` to write to, and renames it to ``path`` when the block ends well.

    The name is ``.<name>.partial``; it is removed when the block fails, and what a killed run left of it is
    overwritten by the next. Parent folders are made.

    Raises:
        InputError: the file cannot be written (read-only folder, full disk).
    """
    target = Path(path)
    partial = target.with_name(f".{target.name}.partial")
    try:
        if target.exists() and not target.is_file():
            raise InputError(f"{target}: expected a place for a file, found a folder, a pipe or a device")
        target.parent.mkdir(parents=True, exist_ok=True)
        # A link of that name, from a stranger's folder, would be written through.
        partial.unlink(missing_ok=True)
        yield partial
        partial.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


@contextmanager
def sole_writer(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Keeps a second run out of a folder while the block goes on.

    A killed run leaves the folder free as soon as the processes that load its images have noticed, a few
    seconds; so long a second run waits. Where the file system knows no locks (some network mounts) nobody is
    kept out.

    Args:
        folder: made where it is not there.

    Raises:
        BusyFolderError: another run is at it.
        InputError: it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error})") from error
    try:
        if not _is_locked(place):
            raise BusyFolderError(
                f"{folder}: another run writes to it; wait for its end, or choose another folder"
            )
        yield
    finally:
        with suppress(OSError):  # closing alone leaves it locked by forked processes that are still there
            fcntl.flock(place, fcntl.LOCK_UN)
        os.close(place)


def _is_locked(place: int) -> bool:
    """Tries for ``_PATIENCE`` seconds; True also where there are no locks."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.2)
        except OSError:
            return True
        else:
            return True


def lock_settings(settings_file: Path, settings: Mapping[str, Any], option: str) -> None:
    """Notes what the results of a folder come from; refuses to go on with those of something else.

    Args:
        settings_file: JSON of an earlier run in the folder, written where there are no results, ``*.npz``.
        settings: JSON values; ``weights`` is for people, named in the message and not compared.
        option: of the command line, that names the folder.

    Raises:
        InputError: there are results of other settings, or of an unknown origin.
    """
    folder = settings_file.parent
    if not any(folder.glob(_RESULTS)):
        write_json(settings_file, settings, pretty=True)
        return
    if not settings_file.is_file():
        raise InputError(
            f"{settings_file}: expected it to say what the results beside it come from, found no such file;"
            f" choose another {option}"
        )
    known = found if isinstance(found := read_json(settings_file), dict) else {}
    compared = {key: value for key, value in settings.items() if key != "weights"}
    if different := _different_places(compared, {key: known.get(key) for key in compared}):
        more = f" and {len(different) - _NAMED} more" * (len(different) > _NAMED)
        of = f" (weights {known['weights']})" if "weights" in known else ""
        raise InputError(
            f"{settings_file}: expected results of what is given now, found another"
            f" {', '.join(different[:_NAMED])}{more}{of}; choose another {option}, or delete"
            f" {folder / _RESULTS} to begin anew"
        )


def _different_places(expected: Any, found: Any, place: tuple[str, ...] = ()) -> list[str]:
    """Where two JSON values differ, as keys with dots between them."""
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        expected, found = dict(enumerate(expected)), dict(enumerate(found))
    if isinstance(expected, dict) and isinstance(found, dict):
        places = [(key, (*place, str(key))) for key in {**expected, **found}]
        return [
            inner for key, at in places for inner in _different_places(expected.get(key), found.get(key), at)
        ]
    return [] if expected == found else [".".join(place)]


def files_sha256(paths: Iterable[Path], *, named: bool = True) -> str:
    """Hash of files, one after the other, read a part at a time.

    Args:
        paths: of the files.
        named: whether their names count beside sizes and contents.

    Raises:
        InputError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                name = f"{path.name} " if named else ""
                digest.update(f"{name}{path.stat().st_size}\n".encode(errors="surrogateescape"))
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    return digest.hexdigest()


def absolute_file(path: str) -> str:
    """A file's path from the root on, for processes in other folders; other names stay as they are."""
    return os.path.abspath(path) if os.path.isfile(path) else path  # noqa: PTH100, PTH113 - keeps links


def require_writable(path: str | os.PathLike[str]) -> None:
    """Fails now rather than after the work whose result goes to ``path``, which stays as it is.

    Raises:
        InputError: as of ``whole_file``.
    """

    class _TriedError(Exception):
        """Leaves the block before the renaming."""

    with suppress(_TriedError), whole_file(path) as partial:
        partial.touch()
        raise _TriedError


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes ``content`` to ``path`` so that the file is whole or absent."""
    with whole_file(path) as partial:
        partial.write_bytes(content)


def json_bytes(content: Any, *, pretty: bool = False) -> bytes:
    """UTF-8 JSON of plain values and numpy arrays; what is not finite becomes null, lone surrogates escapes.

    Args:
        content: what JSON can hold; keys are text or numbers.
        pretty: one value a line.
    """
    try:
        content = msgspec.json.encode(content, enc_hook=_plain_value)
    except UnicodeEncodeError:  # a file name of another encoding
        content = msgspec.json.encode(_all_printable(content), enc_hook=_plain_value)
    return msgspec.json.format(content, indent=1) if pretty else content


def _all_printable(value: Any) -> Any:
    """The value with all its texts as of ``printable``."""
    if isinstance(value, dict):
        return {_all_printable(key): _all_printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_all_printable(item) for item in value]
    return printable(value) if isinstance(value, str) else value


def _plain_value(value: Any) -> Any:
    """Numbers and lists of numpy's."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is nothing that JSON can hold")


def write_json(path: str | os.PathLike[str], content: Any, *, pretty: bool = False) -> None:
    """Writes ``json_bytes`` of ``content`` so that the file is whole or absent."""
    write_bytes(path, json_bytes(content, pretty=pretty) + b"\n")


def open_plain(path: str | os.PathLike[str]) -> BinaryIO:
    """Opens a plain file for reading.

    Raises:
        OSError: missing or unreadable, or a folder, a pipe or a device, which could block or never end.
    """
    try:
        # O_NONBLOCK: opening a pipe that nobody writes to would wait for ever.
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115 - given away
    except ValueError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "a pipe or a device and no plain file")
    return file


def plain_bytes(path: str | os.PathLike[str]) -> bytes:
    """Content of a plain file; OSError as of ``open_plain``."""
    with open_plain(path) as file:
        return file.read()


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Content of a plain file.

    Raises:
        InputError: it cannot be read, see ``open_plain``.
    """
    try:
        return plain_bytes(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def utf8(content: bytes) -> bytes:
    """The text of a file as UTF-8 without its byte-order mark; UTF-16 is known by its own, as of Windows.

    Raises:
        UnicodeDecodeError: it begins as UTF-16 and is none.
    """
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16").encode()
    return content.removeprefix(codecs.BOM_UTF8)


def parse_json(path: str | os.PathLike[str], content: bytes) -> Any:
    """Value of JSON text; NaN and infinity are no JSON.

    Args:
        path: the file that it is of, for the message.
        content: UTF-8 or UTF-16, see ``utf8``.

    Raises:
        InputError: no JSON.
    """
    try:
        return msgspec.json.decode(utf8(content))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found something else ({error})") from error


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file, see ``parse_json``.

    Raises:
        InputError: the file is missing, unreadable or no JSON.
    """
    return parse_json(path, read_bytes(path))
