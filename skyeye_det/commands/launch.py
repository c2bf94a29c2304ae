"""``skyeye <command>``, and the same commands by the names of ``tools/``."""

import getpass
import logging
import os
import sys
from importlib import import_module
from pathlib import Path

from skyeye_det.errors import InputError, run_command

COMMANDS = tuple(
    sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem != "launch")
)


def run(name: str) -> None:
    """Runs a command on the rest of the command line, and leaves the interpreter with its exit code.

    Args:
        name: of ``COMMANDS``.
    """
    _name_user()
    _silence_warnings()
    run_command(lambda: import_module(f"skyeye_det.commands.{name}").main(sys.argv[1:]))


def main() -> None:
    """Runs the command that the first argument names; dashes and underscores are the same."""
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print("usage: skyeye COMMAND ...\n\n" + "\n".join(f"  {_summary(name)}" for name in COMMANDS))
        return
    name = sys.argv[1].replace("-", "_")
    if name not in COMMANDS:
        run_command(lambda: _refuse(name))
    sys.argv[:2] = [f"skyeye {name}"]
    run(name)


def _name_user() -> None:
    """Containers run as users without an entry in passwd, whom torch asks for a name."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = f"uid{os.getuid()}"


def _silence_warnings() -> None:
    """Keeps warnings that concern programmers off the terminal; training notes them in its log file."""
    os.environ.setdefault("TORCH_LOGS", "-torch.fx")  # timm's way of tracing is deprecated, torch says
    logging.captureWarnings(True)
    logger = logging.getLogger("py.warnings")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


def _refuse(name: str) -> None:
    raise InputError(f"skyeye: expected one of {', '.join(COMMANDS)}, found {name}; see skyeye --help")


def _summary(name: str) -> str:
    """A command and the first line of its help, read without importing it."""
    first = Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8").partition("\n")[0]
    return f"{name:22}{first.removeprefix('r').strip(chr(34))}"
