import builtins
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from detectron2.utils.events import EventStorage
from tiny_model import tiny_config

from skyeye_det.engine import wandb_writer
from skyeye_det.engine.wandb_writer import WandbWriter
from skyeye_det.errors import InputError, MissingDependencyError


def log_run(output: Path, first: int = 0) -> None:
    """Two iterations with losses, then a score and a picture."""
    writer = WandbWriter(tiny_config(OUTPUT_DIR=output, WANDB__ENABLED=True, SOLVER__BASE_LR=0.00017))
    with EventStorage(first) as storage:
        for _ in range(2):
            storage.put_scalars(total_loss=1.25, loss_damage=0.5)
            writer.write()
            storage.step()
        storage.put_scalar("xview2/score", 0.625, smoothing_hint=False)
        storage.put_image("predictions/scene", np.full((3, 20, 30), 200, np.uint8))
        writer.write()
    writer.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("wandb_run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB__SERVICE_WAIT", "300")  # seconds; a busy machine needs more than wandb's 30
        patch.setenv("NETRC", str(output / "none"))
        patch.delenv("WANDB_MODE", raising=False)
        patch.delenv("WANDB_API_KEY", raising=False)
        log_run(output)
    return output


def test_run_without_key_is_offline_and_holds_all_that_was_logged(run: Path) -> None:
    (folder,) = run.glob("wandb/offline-run-*")
    (record,) = folder.glob("run-*.wandb")
    deadline = time.monotonic() + 60
    while b"0.625" not in record.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.1)  # wandb's own process writes the file, and may be behind
    content = record.read_bytes()
    for logged in (b"total_loss", b"loss_damage", b"xview2/score", b"0.625", b"BASE_LR", b"0.00017"):
        assert logged in content
    assert len(list(folder.glob("files/media/images/predictions/*.png"))) == 1


def test_writer_says_where_the_run_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with caplog.at_level(logging.INFO, "skyeye_det"):
        log_run(tmp_path)
    (folder,) = tmp_path.glob("wandb/offline-run-*")
    assert str(folder) in caplog.text
    assert "wandb sync" in caplog.text


def test_resumed_training_goes_on_in_the_same_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []

    class Run:
        dir = "folder/files"

        def define_metric(self, name: str, step_metric: str) -> None:
            assert (name, step_metric) == ("*", "iteration")

        def log(self, row: dict[str, Any]) -> None:
            rows.append(row)

        def finish(self) -> None:
            pass

    def init(**given: Any) -> Run:
        started.append(given)
        return Run()

    monkeypatch.setattr("wandb.init", init)
    log_run(tmp_path, first=10)
    log_run(tmp_path, first=11)
    assert started[0]["id"] == started[1]["id"]
    assert all(given["resume"] == "allow" for given in started)
    # Iterations 11 and 12 are logged again after the kill.
    assert [row["iteration"] for row in rows] == [10, 11, 12, 11, 12, 13]


def test_key_is_found_in_environment_or_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = "https://wandb.example.org"
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not wandb_writer._has_key(place)
    (tmp_path / "netrc").write_text("machine wandb.example.org login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    assert wandb_writer._has_key(place)
    assert not wandb_writer._has_key("https://other.example.org")
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    assert wandb_writer._has_key("https://other.example.org")


def test_off_by_default() -> None:
    assert tiny_config().WANDB.ENABLED is False


def test_missing_wandb_is_told_with_its_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without_wandb(name: str, *rest: Any) -> Any:
        if name == "wandb":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_wandb)
    with pytest.raises(MissingDependencyError, match="pip install wandb"):
        WandbWriter(tiny_config(OUTPUT_DIR=tmp_path))


def test_run_that_cannot_start_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def init(**given: Any) -> None:
        raise wandb.Error("no answer\nfrom the server")

    monkeypatch.setattr("wandb.init", init)
    with pytest.raises(
        InputError, match=r"cannot start a run \(no answer from the server\); set WANDB_MODE=offline"
    ):
        WandbWriter(tiny_config(OUTPUT_DIR=tmp_path))
