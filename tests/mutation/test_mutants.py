"""A few hundred mutants, and that the suite sees what it is there to see."""

import os
import shutil
import signal
from pathlib import Path

import mutant_pool
import pytest
from mutant_pool import MutantWorker, run_mutants
from mutants import mutant
from one_mutant import run_mutant
from sandbox import Sandbox, make_base
from steps import STEPS, Shown
from verdicts import DONE, FAILED, REFUSED, outcome_table

from skyeye_det.errors import InputError

COUNT = 300
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="measures memory by Linux's /proc"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mutants") / "base"
    make_base(folder)
    return folder


def test_every_mutant_is_done_mended_or_refused_with_a_sentence(base: Path, tmp_path: Path) -> None:
    verdicts = list(run_mutants(range(COUNT), 0, base, tmp_path, jobs=2))
    failed = [str(verdict) for verdict in verdicts if verdict.outcome == FAILED]
    assert not failed, "\n".join([*failed, "again: python tests/mutation/run_mutants.py --only N"])
    assert len(verdicts) == COUNT
    assert len({verdict.outcome for verdict in verdicts}) == 3
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_undamaged_input_passes_every_step(base: Path) -> None:
    for name, step in STEPS.items():
        shown, faults = step(Sandbox(base))
        assert faults == ("has-holes" in shown), name
        shutil.rmtree(Sandbox(base).output, ignore_errors=True)


def test_mutant_is_the_same_for_the_same_number(base: Path, tmp_path: Path) -> None:
    outcomes = [run_mutant(mutant(5, number), base, tmp_path / "x").text for number in (3, 3)]
    assert outcomes[0] == outcomes[1]
    assert mutant(5, 3).kind is mutant(5, 3).kind


def _raises(box: Sandbox) -> Shown:
    raise ValueError("unexpected")


def _writes_beside(box: Sandbox) -> Shown:
    (box.root / "new").write_text("x")
    return "", 0


def _writes_far_away(box: Sandbox) -> Shown:
    Path(box.folder.parent, "far").write_text("x")
    return "", 0


def _leaves_partial(box: Sandbox) -> Shown:
    box.output.mkdir(exist_ok=True)
    (box.output / ".x.partial").write_text("x")
    return "", 0


def _controls_a_terminal(box: Sandbox) -> Shown:
    return "\x1b[2J", 0


def _names_nothing(box: Sandbox) -> Shown:
    raise InputError("something is wrong")


def _cannot_be_printed(box: Sandbox) -> Shown:
    return "\udcff", 0


def _takes_memory(box: Sandbox) -> Shown:
    return str(len(bytes(1) * (3 << 30))), 0


FAULTY = {
    _raises: "ValueError at",
    _writes_beside: "outside the output folder",
    _writes_far_away: "outside the output folder",
    _leaves_partial: "half-written",
    _controls_a_terminal: "a table with",
    _names_nothing: "names no file",
    _cannot_be_printed: "cannot be printed",
    _takes_memory: "MemoryError",
}


@pytest.mark.parametrize("step", FAULTY, ids=lambda step: step.__name__.strip("_"))
def test_faulty_step_is_found_out(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step) -> None:
    chosen = mutant(0, 0)
    monkeypatch.setitem(STEPS, chosen.step, step)
    verdict = run_mutant(chosen, base, tmp_path / "x")
    assert verdict.outcome == FAILED
    assert FAULTY[step] in verdict.text
    assert FAILED in outcome_table([verdict])


def test_worker_that_dies_or_stops_has_failed_and_is_replaced(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutant_pool, "_LONGEST", 1.0)
    worker = MutantWorker(base, tmp_path / "job")
    try:
        os.kill(worker._process.pid, signal.SIGKILL)
        assert "died with exit code -9" in worker.run(mutant(0, 1)).text
        os.kill(worker._process.pid, signal.SIGSTOP)
        assert "still " in worker.run(mutant(0, 1)).text
        monkeypatch.setattr(mutant_pool, "_LONGEST", 60.0)
        assert worker.run(mutant(0, 1)).outcome in (DONE, REFUSED)
    finally:
        worker.stop()
