"""``skyeye assess --engine dask``: the same as in one process, whatever dies on the way."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dask
import numpy as np
import pyogrio
import pytest
import shapely
from distributed import Client, LocalCluster
from saved_models import CONFIG
from scenes import CORNER, ground, write, write_polygons
from tiny_model import tiny_overrides

from skyeye_det import dependencies
from skyeye_det.commands import assess
from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.engine import dask_cluster, dask_engine, models, scene_windows
from skyeye_det.errors import InputError, MissingDependencyError

QUIET = {"dashboard_address": None, "memory_limit": None, "threads_per_worker": 1, "silence_logs": 50}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, weights: str) -> list[str]:
    """Words of a command line: six windows, and footprints."""
    folder = tmp_path_factory.mktemp("scene")
    pre, post = write(folder / "pre.tif", ground()), write(folder / "post.tif", ground() + np.uint8(1))
    left, top = CORNER
    boxes = [shapely.box(left + x, top - 60, left + x + 12, top - 48) for x in range(10, 180, 20)]
    write_rule(folder / "rule.yaml", DecisionRule(score_threshold=0.0, outline="mask"), [])
    words = ["--pre", str(pre), "--post", str(post), "--shift", "none", "--window", "192", "--overlap", "64"]
    words += ["--footprints", write_polygons(folder / "known.gpkg", *boxes)]
    return [*words, "--config-file", CONFIG, "--weights", weights, "--decisions", str(folder / "rule.yaml")]


@pytest.fixture(scope="module")
def whole(scene: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process finds."""
    output = tmp_path_factory.mktemp("whole")
    run(scene, output, "local")
    return output


@pytest.fixture
def near(tmp_path: Path) -> Iterator[LocalCluster]:
    """A cluster whose only worker is a thread of this process: it starts at once, and can be patched."""
    cluster = LocalCluster(
        n_workers=1, processes=False, protocol="tcp", local_directory=str(tmp_path / "dask"), **QUIET
    )
    # Closing it may look for a scheduler that has gone.
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}), cluster:
        yield cluster


def run(scene: list[str], output: Path, engine: str, *more: str) -> None:
    assess.main([*scene, "--output", str(output), "--engine", engine, *more, "--opts", *tiny_overrides()])


def address(cluster: LocalCluster) -> str:
    return cluster.scheduler_address.replace("tcp://", "dask://")


def assert_same(one: Path, other: Path) -> None:
    for layer in ("buildings", "not_in_footprints"):
        found = []
        for output in (one, other):
            meta, _, geometry, values = pyogrio.raw.read(output / "damage.gpkg", layer=layer)
            fields = dict(zip(meta["fields"].tolist(), values, strict=True))
            found.append((fields["building_id"].tolist(), fields["run_id"].tolist(), geometry.tolist()))
        assert len(found[0][0]) > 5
        assert found[0] == found[1]


@pytest.mark.slow
def test_processes_give_what_one_process_gives(scene, whole, tmp_path, capsys) -> None:
    run(scene, tmp_path, "dask")
    assert_same(whole, tmp_path)
    for path in sorted(tmp_path.rglob("*.npz"))[::2]:
        path.unlink()  # as after a client that was killed
    run(scene, tmp_path, "local")
    assert "6 windows, 0 of them" in capsys.readouterr().out
    assert_same(whole, tmp_path)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(scene, whole, tmp_path) -> None:
    output, died = tmp_path / "out", tmp_path / "died"

    def let_the_first_die() -> None:
        from skyeye_det.engine import scene_windows

        keep = scene_windows.keep_windows

        def dying(*arguments):
            for task in keep(*arguments):
                yield task
                with suppress(FileExistsError), died.open("x"):  # once, whoever comes first
                    os.kill(os.getpid(), signal.SIGKILL)

        scene_windows.keep_windows = dying

    with LocalCluster(n_workers=2, local_directory=str(tmp_path / "dask"), **QUIET) as cluster:
        with Client(cluster, set_as_default=False) as client:
            client.run(let_the_first_die)
        run(scene, output, address(cluster))
    assert died.exists()
    assert_same(whole, output)


def test_a_fault_of_a_worker_is_told_here(scene, near, tmp_path) -> None:
    broken = tmp_path / "pre.tif"
    broken.write_bytes(Path(scene[1]).read_bytes()[:200_000])
    with pytest.raises(InputError, match=r"pre.tif: expected pixels that can be read.*\(worker tcp://"):
        run(["--pre", str(broken), *scene[2:]], tmp_path / "out", address(near))


def test_models_are_loaded_once_and_kept_windows_are_not_predicted_again(
    scene, whole, near, tmp_path, monkeypatch
) -> None:
    loaded, read = [], []
    network, ahead = models._network, scene_windows._read_ahead
    monkeypatch.setattr(models, "_network", lambda *which: loaded.append(1) or network(*which))
    monkeypatch.setattr(
        scene_windows, "_read_ahead", lambda of, todo, size: read.extend(todo) or ahead(of, todo, size)
    )
    dask_engine._opened_models.cache_clear()
    run(scene, tmp_path, address(near))
    assert (len(loaded), len(read)) == (1, 6)
    assert_same(whole, tmp_path)


def test_a_scheduler_that_goes_is_told_in_a_sentence(scene, near, tmp_path, monkeypatch) -> None:
    closed = threading.Event()

    def last(*_: object):
        near.scheduler.loop.add_callback(near.scheduler.close)
        closed.wait(60)
        yield from ()

    monkeypatch.setattr(scene_windows, "keep_windows", last)
    try:
        with pytest.raises(InputError, match=r"the scheduler is gone; what was predicted is kept"):
            run(scene, tmp_path / "out", address(near))
    finally:
        closed.set()


def test_an_address_where_nobody_listens_is_told_in_a_sentence(scene, tmp_path) -> None:
    with socket.socket() as taken, dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for scheme in ("dask", "dask+tls"):
            with pytest.raises(InputError, match=r"expected a Dask scheduler there, found none"):
                run(scene, tmp_path / "out", f"{scheme}://127.0.0.1:{port}")


def test_other_code_on_a_worker_is_refused(scene, near, tmp_path, monkeypatch) -> None:
    versions = dask_cluster._versions
    found = iter([{}, {}, {"skyeye_det": "0.1"}])
    monkeypatch.setattr(dask_cluster, "_versions", lambda node: versions(node) | next(found))
    with pytest.raises(InputError, match=r"expected skyeye_det [\d.]+ as here, found 0.1 on worker tcp://"):
        run(scene, tmp_path / "out", address(near))
    told = dask_engine.keep_batch
    monkeypatch.setattr(dask_engine, "get_worker", lambda: near)
    monkeypatch.setattr(near, "address", "late", raising=False)
    assert told("0.1", b"", b"", b"").startswith("expected skyeye_det 0.1 as the client's")


@pytest.mark.parametrize(
    "error",
    [ModuleNotFoundError("No module named 'skyeye_det'"), RuntimeError("Error during deserialization of x")],
    ids=["worker", "scheduler"],
)
def test_code_that_cannot_be_loaded_elsewhere_is_told(scene, near, tmp_path, monkeypatch, error) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(dask_engine, "keep_batch", fail)
    with pytest.raises(InputError, match="as here on scheduler and workers, found another or none"):
        run(scene, tmp_path / "out", address(near))


def test_a_cluster_without_workers_is_not_waited_for_for_ever(scene, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dask_engine, "PATIENCE", 0.1)
    monkeypatch.setattr(dask_engine, "_LOOK_EVERY", 0.1)
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp", **QUIET) as cluster,
        pytest.raises(InputError, match=r"expected workers, found none for"),
    ):
        run(scene, tmp_path / "out", address(cluster))


def test_a_folder_of_a_worker_s_own_is_refused(scene, near, tmp_path, monkeypatch) -> None:
    class Elsewhere:
        """Files of another machine."""

        @staticmethod
        def read(folder: Path) -> None:
            raise InputError(f"{folder}: no store")

    monkeypatch.setattr(dask_engine, "PredictionStore", Elsewhere)
    with pytest.raises(InputError, match=r"choose an --output on files that all workers share \(worker tcp"):
        run(scene, tmp_path / "out", address(near))


@pytest.mark.parametrize("engine", ["dusk", "dask://", "dask://host", "tcp://host:1", "dask://host:1/a b"])
def test_an_engine_that_is_none_is_refused(scene, tmp_path, engine: str) -> None:
    with pytest.raises(InputError, match="expected local, dask, dask://HOST:PORT"):
        run(scene, tmp_path / "out", engine)


def test_shards_are_for_runs_without_a_cluster(scene, tmp_path) -> None:
    with pytest.raises(InputError, match="--shard: expected none with --engine dask"):
        run(scene, tmp_path / "out", "dask", "--shard", "1/2")


def test_missing_dask_is_told_with_what_to_install(scene, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dependencies, "DASK_MODULES", ("json", "no_such_module"))
    with pytest.raises(MissingDependencyError, match=r"--engine dask needs no_such_module.*skyeye_det\[dask"):
        run(scene, tmp_path / "out", "dask")


def test_each_worker_gets_a_gpu_of_those_that_are_visible(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for named, found in (("", ["0", "1"]), ("5,3", ["5", "3"]), ("GPU-a,GPU-b", ["GPU-a", "GPU-b"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert dask_cluster.visible_gpus() == found
