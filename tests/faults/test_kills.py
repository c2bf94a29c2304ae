"""A few of the kills of ``run_kills.py``."""

import sys
from pathlib import Path

import pytest
from fault_inputs import commands, make_root
from kill_runs import kill_runs

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


def test_killed_commands_leave_whole_or_no_output_and_run_again(tmp_path: Path) -> None:
    reports = list(kill_runs(commands(*make_root(tmp_path, 200)), 4, seed=1, scratch=tmp_path))
    assert [report.fault for report in reports] == [None] * 4
    assert {(report.command, report.signal) for report in reports} == {
        (command, sent) for command in ("convert", "score") for sent in ("SIGKILL", "SIGTERM")
    }
