"""One kind of error for everything a user can put right, and how a command shows it."""

import sys
from collections.abc import Callable


class InputError(Exception):
    """A fault of the input, told in one sentence: file, uid, expected, found, and what mends it."""


class MissingDependencyError(InputError):
    """A package that the wanted step needs is not installed."""


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a command line's work and leaves the interpreter with its exit code.

    Args:
        command: the work; returns its exit code, ``None`` for 0.

    Exit codes: 0 done, 1 done with findings (as the command documents), 2 wrong input, 130 interrupted.
    """
    try:
        code = command() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
