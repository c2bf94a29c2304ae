"""Numbers on a command line, as ``type`` of argparse."""

from argparse import ArgumentTypeError


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    return _from(1, text)


def whole(text: str) -> int:
    """A whole number of 0 or more."""
    return _from(0, text)


def _from(least: int, text: str) -> int:
    if (value := int(text)) < least:
        raise ArgumentTypeError(f"expected {least} or more, found {value}")
    return value
