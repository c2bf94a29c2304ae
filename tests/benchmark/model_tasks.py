"""Tiny models and made-up pairs for the tests of the model's benchmark."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tiny_model import CONFIGS, tiny_overrides

from skyeye_det.benchmark.model_command import first_task
from skyeye_det.benchmark.model_settings import ModelSettings, Task

HYBRID = {"MODEL__SEM_SEG_HEAD__CONVS_DIM": 32}


def tiny_settings(**changes: Any) -> ModelSettings:
    settings: dict[str, Any] = {
        "configs": (CONFIGS / "xbd_mrcnn_plain.yaml",),
        "tiles": 2,
        "sample_size": 128,
        "detections": 20,
        "repeats": 2,
        "device": "cpu",
        "overrides": tuple(tiny_overrides(MODEL__FPN__OUT_CHANNELS=32, SOLVER__IMS_PER_BATCH=2)),
    }
    return ModelSettings(**(settings | changes))


def tiny_task(folder: Path, **changes: Any) -> Task:
    """A task with pairs that lie in ``folder``."""
    return replace(first_task(tiny_settings(), folder), **changes)


def tiny_peer(folder: Path) -> Path:
    """YAML of a semantic peer."""
    path = folder / "tiny_unet.yaml"
    path.write_text(
        f"_BASE_: {CONFIGS / 'semantic' / 'unet_lite0.yaml'}\n"
        "MODEL:\n  BACKBONE:\n    NAME: tu-test_efficientnet\n"
        "  SEM_SEG_HEAD:\n    CONVS_DIM: 32\nVERSION: 2\n"
    )
    return path
