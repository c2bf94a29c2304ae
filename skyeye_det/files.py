"""Files that appear whole: written beside their place under another name, then renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from skyeye_det.errors import InputError


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
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes ``content`` to ``path`` so that the file is whole or absent."""
    with whole_file(path) as partial:
        partial.write_bytes(content)


def write_json(path: str | os.PathLike[str], content: Any, *, indent: int | None = None) -> None:
    """Writes ``content`` as UTF-8 JSON so that the file is whole or absent."""
    write_bytes(path, (json.dumps(content, indent=indent, ensure_ascii=False) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file.

    Raises:
        InputError: the file is missing, unreadable or no JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, found something else ({error})") from error
