"""One kind of error for everything a user can put right, and how a command shows it."""

import signal
import sys
from collections.abc import Callable
from types import FrameType


class InputError(Exception):
    """A fault of the input, told in one sentence: file, uid, expected, found, and what mends it."""


class MissingDependencyError(InputError):
    """A package that the wanted step needs is not installed."""


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a command line's work and leaves the interpreter with its exit code.

    Args:
        command: the work; returns its exit code, ``None`` for 0.

    Exit codes: 0 done, 1 done with findings (as the command documents), 2 wrong input, 130 interrupted,
    143 terminated; the last two leave no half-written file.
    """
    signal.signal(signal.SIGTERM, _terminated)
    try:
        code = command() or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def _terminated(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the form of a signal handler
    """Ends by an exception, so that half-written files are removed on the way out."""
    # A second one, sent to hurry, must not break off the cleaning up.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("terminated", file=sys.stderr)
    raise SystemExit(143)
