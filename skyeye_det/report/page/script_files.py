"""Data that the page reads by <script>, since a page from disk may not fetch."""

import re
from pathlib import Path
from typing import Any

import msgspec

from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes, read_bytes, write_bytes

_UNSAFE = {b"<": rb"\u003c", "\u2028".encode(): rb"\u2028", "\u2029".encode(): rb"\u2029"}
"""Signs within texts that could end a script or, in old browsers, a line of it."""


def write_call(path: Path, function: str, *arguments: Any) -> None:
    """Writes a file that hands JSON values to a function of the page.

    Args:
        path: of the file.
        function: its name in ``skyeye``.
        arguments: what JSON can hold; what is not finite becomes null.

    Raises:
        InputError: the file cannot be written.
    """
    write_bytes(path, f"skyeye.{function}(".encode() + b",".join(map(safe_json, arguments)) + b");\n")


_CALL = re.compile(rb"skyeye\.[a-z]+\((.*)\);\n?", re.DOTALL)


def is_call(content: bytes) -> bool:
    """Whether a file hands JSON to the page and does nothing else, as those of ``write_call``."""
    return bool(_arguments(content))


def read_call(path: Path) -> list[Any]:
    """What a file of ``write_call`` hands to the page; InputError where it is none."""
    if not (found := _arguments(read_bytes(path))):
        raise InputError(f"{path}: expected data of the page, found something else; end `skyeye review`")
    return found


def _arguments(content: bytes) -> list[Any]:
    """Those of a call; none of what is no call."""
    found = _CALL.fullmatch(content)
    try:
        return msgspec.json.decode(b"[%b]" % found[1]) if found else []
    except msgspec.DecodeError:
        return []


def safe_json(value: Any) -> bytes:
    """JSON that stays data inside of a <script>."""
    text = json_bytes(value)
    for sign, escaped in _UNSAFE.items():
        text = text.replace(sign, escaped)
    return text
