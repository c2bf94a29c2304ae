"""Exit codes and what a command shows."""

import subprocess
import sys

import pytest

from skyeye_det.errors import InputError, MissingDependencyError, run_command, shown


def exit_code(command) -> int:
    with pytest.raises(SystemExit) as leaving:
        run_command(command)
    return leaving.value.code


def failing(error: BaseException):
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (1, 1)])
def test_exit_code_is_what_the_command_returns(returned, code, capsys):
    assert exit_code(lambda: returned) == code
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("kind", [InputError, MissingDependencyError])
def test_wrong_input_is_one_line_on_stderr_without_a_traceback(kind, capsys):
    assert exit_code(failing(kind("labels/x.json: expected a number, found 'a'"))) == 2
    shown = capsys.readouterr()
    assert shown.err == "error: labels/x.json: expected a number, found 'a'\n"
    assert shown.out == ""


def test_a_file_that_the_system_refuses_is_named_without_a_traceback(capsys):
    assert exit_code(lambda: open("x" * 300).close()) == 2  # noqa: PTH123
    told = capsys.readouterr().err
    assert told.startswith("error: xxx")
    assert told.endswith("File name too long\n")


def test_interruption_is_130(capsys):
    assert exit_code(failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_faults_of_the_program_keep_their_traceback():
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


@pytest.mark.parametrize(
    ("body", "code"), [("return 1", 1), ("raise InputError('a.json: is missing')", 2), ("1 / 0", 1)]
)
def test_shell_sees_the_code(body, code):
    program = f"from skyeye_det.errors import *\ndef main():\n    {body}\nrun_command(main)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("Traceback" in done.stderr) == ("/" in body)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (None, "None"),
        ([1, 2], "a list of 2"),
        ({}, "a dict of 0"),
        ("x" * 10**6, "'" + 56 * "x" + "..."),
        (10**100, "1" + 56 * "0" + "..."),
    ],
)
def test_what_was_found_is_shown_in_sixty_characters(value, text):
    assert shown(value) == text
