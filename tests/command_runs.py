"""Commands run in this process as their scripts run them: exit code, and what they print."""

import io
import signal
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import NamedTuple

import pytest

from skyeye_det.errors import run_command


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(name: str, *arguments: object) -> Ran:
    command = import_module(f"skyeye_det.commands.{name}")
    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as leaving:
            run_command(lambda: command.main([str(argument) for argument in arguments]))
    finally:
        signal.signal(signal.SIGTERM, before)
    return Ran(leaving.value.code, out.getvalue(), err.getvalue())
