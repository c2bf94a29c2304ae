"""One kind of error for everything a user can put right, and how a command shows it."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

_LONGEST = 900
_WRITE_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def printable(text: str) -> str:
    """Text on one line that UTF-8 can hold: what no terminal shows stands escaped."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in text)


def shown(value: object, length: int = 60) -> str:
    """A value that was found, cut to ``length`` characters; of a list or an object kind and size alone."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__} of {len(value)}"
    text = repr(value[:length] if isinstance(value, str) else value)
    return text if len(text) <= length else text[: length - 3] + "..."


class InputError(Exception):
    """A fault of the input, in one sentence: file, uid, expected, found, and what mends it.

    Its text is one line of bounded length whatever names and values the input holds.
    """

    def __str__(self) -> str:
        line = printable(super().__str__())
        return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 3 :]}"


class CodedError(InputError):
    """One that people meet in a page, which has its own sentence for it in their language.

    Attributes:
        code: of the sentence.
        values: in it, by name.
    """

    def __init__(self, message: str, code: str, **values: object) -> None:
        super().__init__(message)
        self.code, self.values = code, values


class UnreadableError(InputError):
    """A part of an image cannot be read."""


class BusyFolderError(InputError):
    """Another run is at a folder."""


class MissingDependencyError(InputError):
    """A package that the wanted step needs is not installed."""


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a command line's work and leaves the interpreter with its exit code.

    Args:
        command: the work; returns its exit code, ``None`` for 0.

    Exit codes: 0 done, 1 done with findings (as the command documents), 2 wrong input, 130 interrupted,
    141 whoever read the output has gone, 143 terminated; the last three leave no half-written file.
    """
    signal.signal(signal.SIGTERM, _terminated)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a path need not be Unicode
    try:
        code = command() or 0
        if sys.stdout:  # None where the caller has closed it
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the interpreter's own last flush must not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 141
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except OSError as error:
        if error.filename is not None:  # such as a name too long to be looked for
            print(f"error: {InputError(f'{error.filename}: {error.strerror}')}", file=sys.stderr)
        elif error.errno in _WRITE_FAULTS:
            # Files are written under whole_file, which tells of its own faults: this is the output's.
            print(f"error: standard output cannot be written ({error.strerror or error})", file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        else:
            raise
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
