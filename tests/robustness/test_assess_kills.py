"""Assessments ended by SIGKILL at random moments and taken up again, in one process and on a Dask cluster.

At the end the results are those of a run that nobody disturbed, and what was kept at a kill was not predicted
again. ``SKYEYE_KILLS`` sets the number of kills in one process; a sixth as many clients and workers of a
cluster die, by default none. A worker always dies in ``tests/engine/test_dask_engine.py``.
"""

import itertools
import multiprocessing
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import shapely
from distributed import Client, LocalCluster
from scenes import CORNER, ground, write, write_polygons
from tiny_model import CONFIGS, tiny_overrides

from skyeye_det.commands import assess
from skyeye_det.decision.rule import DecisionRule, write_rule

KILLS = int(os.environ.get("SKYEYE_KILLS", "4"))
FEWER = KILLS // 6
PATIENCE = 300.0  # s for a run on a busy machine
STARTED = multiprocessing.get_context("forkserver")
"""Its processes have imported the model's code when they begin, so that kills meet what they do with it."""

Files = dict[Path, int]


def assessed(words: list[str], said: Path) -> None:
    """In a process of its own."""
    with said.open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    assess.main(words)


def started(words: list[str], *more: str, output: Path) -> multiprocessing.Process:
    words = [*words, "--output", str(output), *more, "--opts", *tiny_overrides()]
    process = STARTED.Process(target=assessed, args=(words, output.with_suffix(".log")))
    process.start()
    return process


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, weights: str) -> list[str]:
    """Words of a command line: 12 windows, and footprints."""
    STARTED.set_forkserver_preload(["skyeye_det.engine.assessment", "test_assess_kills"])
    folder = tmp_path_factory.mktemp("scene")
    pre, post = write(folder / "pre.tif", ground()), write(folder / "post.tif", ground(seed=1))
    left, top = CORNER
    boxes = [shapely.box(left + x, top - 60, left + x + 12, top - 48) for x in range(10, 180, 20)]
    write_rule(folder / "rule.yaml", DecisionRule(score_threshold=0.0, outline="mask"), [])
    words = ["--pre", str(pre), "--post", str(post), "--window", "128", "--overlap", "32"]
    words += ["--footprints", write_polygons(folder / "known.gpkg", *boxes), "--formats", "geojson"]
    words += ["--config-file", str(CONFIGS / "xbd_mrcnn.yaml"), "--weights", weights]
    return [*words, "--decisions", str(folder / "rule.yaml")]


@pytest.fixture(scope="module")
def whole(scene: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """What a run writes that nobody disturbs, and its seconds when all code is loaded."""
    for name in ("first", "whole"):
        output, begun = tmp_path_factory.mktemp("runs") / name, time.monotonic()
        finished(started(scene, output=output), output)
    return output, time.monotonic() - begun


def finished(process: multiprocessing.Process, output: Path) -> None:
    process.join(PATIENCE)
    if process.exitcode is None:
        process.kill()
    assert process.exitcode == 0, output.with_suffix(".log").read_text()[-2000:]


def killed(process: multiprocessing.Process) -> bool:
    """Whether it was still at work."""
    process.kill()
    process.join()
    assert process.exitcode in (-signal.SIGKILL, 0)
    return process.exitcode != 0


def kept(output: Path) -> Files:
    """Windows that are there whole, and when each was written."""
    return {
        path: path.stat().st_mtime_ns
        for path in output.rglob("*.npz")
        if not path.name.startswith(".") and path.with_suffix(".seen").is_file()
    }


def assert_as_undisturbed(output: Path, whole: Path) -> None:
    names = [{str(path.relative_to(folder)) for path in folder.rglob("*")} for folder in (output, whole)]
    assert names[0] == names[1]
    for layer in ("buildings", "not_in_footprints", "not_assessed", "summary_grid"):
        found = [pyogrio.raw.read(folder / "damage.gpkg", layer=layer) for folder in (output, whole)]
        assert len(found[0][2]) or layer == "not_assessed"
        assert found[0][2].tolist() == found[1][2].tolist()
        for one, other in zip(found[0][3], found[1][3], strict=True):
            if one.dtype.kind == "f":  # processes may sum in another order
                np.testing.assert_allclose(one, other, atol=1e-5)
            else:
                np.testing.assert_array_equal(one, other)
    assert (output / "damage.tif").read_bytes() == (whole / "damage.tif").read_bytes()


def disturbed(
    number: int, folder: Path, whole: Path, begin: Callable[..., multiprocessing.Process], seconds: float
) -> Counter[str]:
    """Kills runs at random moments, each of which takes up what the one before has left; where each was."""
    moments, where = random.Random(number), Counter[str]()
    outputs = (folder / f"out-{count}" for count in itertools.count())
    output, before = next(outputs), Files()
    while sum(where.values()) < number:
        process = begin(output=output)
        process.join(moments.uniform(0, seconds))
        was_at_work = killed(process)
        now, results = kept(output), (output / "run.json").exists()
        assert before.items() <= now.items()  # what was kept was not written again
        if was_at_work:
            stage = "writing" if len(now) == len(kept(whole)) else "predicting" if now else "reading"
            where["at its end" if results else stage] += 1
        before = now
        if results:
            assert_as_undisturbed(output, whole)
            output, before = next(outputs), Files()
    finished(begin(output=output), output)
    assert before.items() <= kept(output).items()
    assert_as_undisturbed(output, whole)
    return where


@pytest.mark.slow
def test_a_killed_assessment_goes_on_and_gives_what_an_undisturbed_one_gives(scene, whole, tmp_path) -> None:
    undisturbed, seconds = whole
    where = disturbed(KILLS, tmp_path, undisturbed, partial(started, scene), seconds)
    print(f"{KILLS} kills: {dict(where)}", file=sys.stderr)


@pytest.mark.slow
@pytest.mark.skipif(not FEWER, reason="`make kills`: SKYEYE_KILLS is below 6")
def test_a_killed_client_and_killed_workers_of_a_cluster_lose_nothing(scene, whole, tmp_path) -> None:
    undisturbed, seconds = whole
    options = {"dashboard_address": None, "memory_limit": None, "threads_per_worker": 1, "silence_logs": 50}
    with LocalCluster(n_workers=2, local_directory=str(tmp_path / "dask"), **options) as cluster:
        engine = "--engine", cluster.scheduler_address.replace("tcp://", "dask://")
        begin = partial(started, scene, *engine)
        first = tmp_path / "first"
        finished(begin(output=first), first)  # workers have the model then
        where = disturbed(FEWER, tmp_path, undisturbed, begin, seconds)
        moments = random.Random(FEWER)
        for number in range(FEWER):
            output = tmp_path / f"worker-{number}"
            process = begin(output=output)
            process.join(moments.uniform(0, seconds / 2))  # while it still predicts, mostly
            with Client(cluster, set_as_default=False) as client:
                os.kill(moments.choice(sorted(client.run(os.getpid).values())), signal.SIGKILL)
            before = kept(output)
            where["a worker"] += 1
            finished(process, output)
            assert before.items() <= kept(output).items()
            assert_as_undisturbed(output, undisturbed)
    print(f"{sum(where.values())} kills on a cluster: {dict(where)}", file=sys.stderr)
