"""``skyeye COMMAND``."""

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
