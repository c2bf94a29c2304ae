import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from tiny_model import CONFIGS, tiny_overrides

from skyeye_det import files
from skyeye_det.engine import trainer as trainer_module
from skyeye_det.engine.setup import load_config
from skyeye_det.engine.trainer import PairTrainer, train
from skyeye_det.errors import InputError

ROOT = CONFIGS.parent


def overrides(output: Path, **changes: Any) -> list[str]:
    given = {
        "DATASETS__TRAIN": "('tiny_train',)",
        "DATASETS__TEST": "('tiny_val',)",
        "OUTPUT_DIR": output,
        "SOLVER__IMS_PER_BATCH": 1,
        "SOLVER__MAX_ITER": 4,
        "SOLVER__WARMUP_ITERS": 2,
        "SOLVER__CHECKPOINT_PERIOD": 2,
        "TEST__EVAL_PERIOD": 0,
        "TEST__DETECTIONS_PER_IMAGE": 20,
    }
    return tiny_overrides(**(given | changes))


def arguments(
    output: Path, *, resume: bool = False, eval_only: bool = False, **changes: Any
) -> argparse.Namespace:
    return argparse.Namespace(
        config_file=str(CONFIGS / "xbd_mrcnn.yaml"),
        opts=overrides(output, **changes),
        resume=resume,
        eval_only=eval_only,
    )


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["model"]


@pytest.fixture(scope="module")
def trained(tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output of four iterations, evaluated at the end."""
    output = tmp_path_factory.mktemp("trained")
    train(arguments(output, TEST__EVAL_PERIOD=2))
    return output


@pytest.fixture
def interrupted(trained: Path, tmp_path: Path) -> Path:
    """The same run as a kill after its second iteration leaves it."""
    shutil.copy(trained / "model_0000001.pth", tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    return tmp_path


def test_mixed_precision_on_a_cpu_is_bfloat16_in_training_alone(trained: Path, tmp_path: Path) -> None:
    given = arguments(tmp_path, SOLVER__AMP__ENABLED=True)
    mixed = PairTrainer(load_config(given.config_file, given.opts))
    mixed.resume_or_load(resume=False)
    layer = mixed.model.roi_heads.box_head.fc1
    seen: dict[bool, set[torch.dtype]] = {True: set(), False: set()}
    layer.register_forward_hook(lambda module, _, output: seen[module.training].add(output.dtype))
    mixed.train()
    batch = next(iter(mixed.build_test_loader(mixed.cfg, "tiny_val")))
    with torch.inference_mode():
        mixed.model.eval()(batch)
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}
    found, plain = weights(tmp_path / "model_final.pth"), weights(trained / "model_final.pth")
    assert all(tensor.dtype == plain[name].dtype for name, tensor in found.items())
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    assert any(not torch.equal(tensor, plain[name]) for name, tensor in found.items())


def test_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(trained: Path, interrupted: Path) -> None:
    train(arguments(interrupted, resume=True, DATALOADER__NUM_WORKERS=2))  # of one without workers
    expected, found = weights(trained / "model_final.pth"), weights(interrupted / "model_final.pth")
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    begun = weights(trained / "model_0000001.pth")
    assert any(not torch.equal(begun[key], expected[key]) for key in expected)


def test_drawn_seed_is_remembered_by_the_checkpoint(tiny_datasets: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    short = {"SEED": -1, "SOLVER__MAX_ITER": 2, "SOLVER__CHECKPOINT_PERIOD": 1}
    train(arguments(whole, **short))
    parts.mkdir()
    shutil.copy(whole / "model_0000000.pth", parts)
    (parts / "last_checkpoint").write_text("model_0000000.pth")
    train(arguments(parts, resume=True, **short))
    expected, found = weights(whole / "model_final.pth"), weights(parts / "model_final.pth")
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_training_leaves_scores_and_pictures(trained: Path) -> None:
    logged = [json.loads(line) for line in (trained / "metrics.json").read_text().splitlines()]
    metrics = {key: value for entry in logged for key, value in entry.items()}
    assert 0 <= metrics["xview2/score"] <= 1
    assert {"segm/AP50", "segm/recall50", "loss_damage", "total_loss"} <= set(metrics)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained)).Reload()
    assert set(events.Tags()["images"]) == {
        "predictions/test-flood_00000000",
        "predictions/test-flood_00000001",
    }


def test_best_checkpoint_survives_resuming(
    interrupted: Path, tiny_datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.9, 0.7, 0.8, 0.95])
    monkeypatch.setattr(PairTrainer, "test", classmethod(lambda *args: {"xview2": {"score": next(scores)}}))

    def best() -> tuple[float, int]:
        state = torch.load(interrupted / "model_final.pth", weights_only=True)["trainer"]
        hook = state["hooks"]["BestCheckpointer"]
        assert state["iteration"] == state["_trainer"]["iteration"]
        return hook["best_metric"], hook["best_iter"]

    shutil.rmtree(interrupted)
    train(arguments(interrupted, TEST__EVAL_PERIOD=2))
    assert best() == (0.9, 4)
    kept = weights(interrupted / "model_best.pth")
    train(arguments(interrupted, resume=True, SOLVER__MAX_ITER=6, TEST__EVAL_PERIOD=5))
    assert best() == (0.9, 4)
    assert all(
        torch.equal(value, kept[key]) for key, value in weights(interrupted / "model_best.pth").items()
    )
    train(arguments(interrupted, resume=True, SOLVER__MAX_ITER=7, TEST__EVAL_PERIOD=7))
    assert best() == (0.95, 7)


def test_output_folder_of_another_training_is_left_alone(
    tiny_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.0)
    with files.sole_writer(tmp_path), pytest.raises(InputError, match="another run writes to it"):
        train(arguments(tmp_path))
    assert not any(tmp_path.iterdir())


def test_checkpoints_of_two_trainings_are_not_mixed(interrupted: Path) -> None:
    before = sorted(interrupted.iterdir())
    with pytest.raises(InputError, match="expected no earlier training.*--resume, or choose another"):
        train(arguments(interrupted))
    assert sorted(interrupted.iterdir()) == before


def test_eval_only_wants_a_trained_model(tiny_datasets: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a checkpoint, found none"):
        train(arguments(tmp_path, eval_only=True))


def test_nan_stops_training_with_the_losses_printed(
    interrupted: Path, tiny_datasets: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    build = PairTrainer.build_model.__func__

    def broken(cls: type, cfg: Any) -> torch.nn.Module:
        model = build(cls, cfg)
        model.roi_heads.damage_head.class_weights *= float("nan")
        return model

    monkeypatch.setattr(PairTrainer, "build_model", classmethod(broken))
    with pytest.raises(
        InputError, match=r"stopped at iteration [23]: .*'loss_damage': nan.*SOLVER\.BASE_LR"
    ) as told:
        train(arguments(interrupted, resume=True))
    assert "\n" not in str(told.value)
    assert "np.float" not in str(told.value)
    assert "Traceback" not in "".join(capfd.readouterr())
    assert not (interrupted / "model_final.pth").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_missing_image_is_reported_in_a_sentence(
    tiny_datasets: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture,
    workers: int,
) -> None:
    from skyeye_det.data import dataset_mapper

    read = dataset_mapper.read_image

    def without_post(path: str, shape: tuple[int, int]) -> Any:
        return read(path.replace("post_disaster", "none"), shape)

    monkeypatch.setattr(dataset_mapper, "read_image", without_post)
    with pytest.raises(
        InputError, match=r"^.*_none\.png: expected a PNG, JPEG or TIFF image, found no such file"
    ) as told:
        train(arguments(tmp_path, DATALOADER__NUM_WORKERS=workers))
    assert "\n" not in str(told.value)
    assert "Traceback" not in "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate\n2 GiB")]
)
def test_lack_of_memory_is_reported_in_a_sentence(
    tiny_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(PairTrainer, "run_step", Mock(side_effect=error))
    with pytest.raises(InputError, match=r"^out of memory .*SOLVER\.IMS_PER_BATCH"):
        train(arguments(tmp_path))


def test_bug_keeps_its_own_error(
    tiny_datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PairTrainer, "run_step", Mock(side_effect=RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(arguments(tmp_path))


def test_wandb_comes_before_the_writer_that_clears_pictures(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from detectron2.utils.events import TensorboardXWriter

    monkeypatch.setattr(trainer_module, "WandbWriter", lambda cfg: "wandb")

    def writers(enabled: bool) -> list[Any]:
        trainer = PairTrainer.__new__(PairTrainer)
        trainer.cfg = trainer_module.load_config(
            CONFIGS / "xbd_mrcnn.yaml", overrides(trained, WANDB__ENABLED=enabled)
        )
        trainer.max_iter = 4
        return trainer.build_writers()

    assert writers(True)[0] == "wandb"
    assert isinstance(writers(True)[-1], TensorboardXWriter)
    assert "wandb" not in writers(False)


@pytest.mark.slow
def test_killed_training_goes_on_from_its_last_checkpoint(tiny_datasets: Path, tmp_path: Path) -> None:
    changes = {"SOLVER__CHECKPOINT_PERIOD": 3, "DATALOADER__NUM_WORKERS": 1}
    command = [
        sys.executable,
        str(ROOT / "tools/train_net.py"),
        "--resume",
        "--config-file",
        str(CONFIGS / "xbd_mrcnn.yaml"),
    ]
    run = subprocess.Popen(
        [*command, *overrides(tmp_path, SOLVER__MAX_ITER=100000, **changes)],
        cwd=ROOT,
        env=os.environ | {"DETECTRON2_DATASETS": str(tiny_datasets)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 400
        while not (tmp_path / "last_checkpoint").exists():
            assert run.poll() is None, "training ended by itself"
            assert time.monotonic() < deadline, "no checkpoint"
            time.sleep(0.05)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    last = (tmp_path / "last_checkpoint").read_text()
    reached = torch.load(tmp_path / last, weights_only=True)["iteration"]
    assert all("partial" in path.name or weights(path) for path in tmp_path.glob("*.pth"))
    train(arguments(tmp_path, resume=True, SOLVER__MAX_ITER=reached + 2, **changes))
    logged = [json.loads(line) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert logged[-1]["iteration"] >= reached + 1
    assert torch.load(tmp_path / "model_final.pth", weights_only=True)["iteration"] == reached + 1
    assert f"Training from iteration {reached + 1}" in (tmp_path / "log.txt").read_text()
