"""Command lines: their parser, and values as ``type`` of argparse."""

from argparse import ArgumentParser, ArgumentTypeError, RawDescriptionHelpFormatter
from pathlib import Path

_PRODUCTS = ("xbd_", "split_", "instances")
_FOLDERS_OF_DATA = ("images", "labels", "targets")


def command_parser(text: str | None, epilog: str | None = None) -> ArgumentParser:
    """A parser whose help is a command's docstring, line by line."""
    return ArgumentParser(description=text, epilog=epilog, formatter_class=RawDescriptionHelpFormatter)


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return _from(1, text)


def whole(text: str) -> int:
    """A whole number of 0 or more."""
    return _from(0, text)


def named_path(text: str) -> Path:
    """A file or folder; what an unset variable leaves is none, and would mean the current folder."""
    if not text:
        raise ArgumentTypeError("expected a path, found an empty text")
    return Path(text)


def report_file(text: str) -> Path:
    """Where a report is to go: a ``.json`` file, and none of an xBD root's own."""
    path = Path(text)
    if path.suffix != ".json" or path.parent.name in _FOLDERS_OF_DATA or path.name.startswith(_PRODUCTS):
        raise ArgumentTypeError(
            f"expected a name of its own that ends in .json, outside images, labels and targets, found {text}"
        )
    return path


def _from(least: int, text: str) -> int:
    if (value := int(text)) < least:
        raise ArgumentTypeError(f"expected {least} or more, found {value}")
    return value
