"""``skyeye COMMAND``."""

import getpass
import os
import sys

import pytest

from skyeye_det.commands.launch import COMMANDS, main


def test_help_lists_every_command_with_its_first_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["skyeye", "--help"])
    main()
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == list(COMMANDS)
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize("name", ["check-dataset", "check_dataset"])
def test_a_command_takes_the_rest_of_the_line(monkeypatch, capsys, name: str) -> None:
    monkeypatch.setattr(sys, "argv", ["skyeye", name, "--xbd-root", "nowhere"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert "nowhere" in capsys.readouterr().err


def test_an_unknown_command_is_refused_in_a_sentence(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["skyeye", "fly"])
    with pytest.raises(SystemExit, match="2"):
        main()
    error = capsys.readouterr().err
    assert error.startswith("error: skyeye: expected one of")
    assert error.count("\n") == 1


def test_a_user_without_a_passwd_entry_gets_a_name(monkeypatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)

    def lacking(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", lacking)
    monkeypatch.setattr(sys, "argv", ["skyeye", "check_dataset", "--xbd-root", "nowhere"])
    with pytest.raises(SystemExit, match="2"):
        main()
    assert getpass.getuser() == f"uid{os.getuid()}"
