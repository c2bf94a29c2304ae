"""Progress that reads well in a file."""

import sys

import pytest

from skyeye_det import progress as module
from skyeye_det.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Its last number is the time."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[-1])
    return now


def test_a_quick_step_says_nothing(clock, capsys) -> None:
    assert list(progress("abc", 3, "check", "pair")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_a_long_step_says_a_line_each_ten_seconds_and_one_at_its_end(clock, capsys) -> None:
    for _ in progress(range(9), 9, "check", "pair"):
        clock.append(clock[-1] + 4)
    assert capsys.readouterr().err.splitlines() == [
        "check: 3 of 9 pairs, 12 s",
        "check: 6 of 9 pairs, 24 s",
        "check: 9 of 9 pairs, 36 s",
    ]


def test_items_are_passed_on_one_by_one() -> None:
    endless = iter(int, 1)
    shown = progress(endless, 10**9, "check", "pair")
    assert [next(shown), next(shown)] == [0, 0]


def test_items_pass_where_the_caller_has_closed_the_output(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert list(progress(range(3), 3, "count", "item")) == [0, 1, 2]
