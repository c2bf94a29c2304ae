"""What every test runs under: no network, few threads, and a part that does without torch.

Files that import torch or detectron2, directly or through skyeye_det, get the marker ``torch`` by themselves.
``pytest --without-torch`` leaves them out and makes importing torch an error, so what it runs is proved to be
torch-free.
"""

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from import_graph import HEAVY, heavy_imports

# Before anything imports numpy, torch, matplotlib or wandb, which read these once.
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))
os.environ["MPLBACKEND"] = "Agg"
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("WANDB_API_KEY", None)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--without-torch", action="store_true", help="run only what needs neither torch nor detectron2"
    )


def _without_torch(config: pytest.Config) -> bool:
    return (
        config.getoption("--without-torch") or find_spec("torch") is None or find_spec("detectron2") is None
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--without-torch"):
        sys.modules.update(dict.fromkeys(HEAVY))  # None: importing it raises ModuleNotFoundError


def pytest_report_header(config: pytest.Config) -> str | None:
    if _without_torch(config):
        asked = config.getoption("--without-torch")
        return f"torch-free part only: {'as asked' if asked else 'torch and detectron2 are not installed'}"
    return None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    if collection_path.suffix != ".py" or not _without_torch(config):
        return None
    return True if heavy_imports(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if heavy_imports(item.path):
            item.add_marker(pytest.mark.torch)
    if _without_torch(config):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("torch")])
        items[:] = [item for item in items if not item.get_closest_marker("torch")]


@pytest.fixture(scope="session")
def xbd_root() -> Path:
    """Root of real xBD data with train/ and val/, from ``SKYEYE_XBD_ROOT``."""
    value = os.environ.get("SKYEYE_XBD_ROOT")
    if not value:
        pytest.skip("SKYEYE_XBD_ROOT is not set: no real xBD data to test with")
    root = Path(value)
    if not (root / "train" / "labels").is_dir():
        pytest.fail(f"SKYEYE_XBD_ROOT={root}: expected train/labels in it")
    return root


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What wandb writes, and a dataset root of the user's, stay out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_DIR", str(tmp_path_factory.mktemp("wandb")))
        patch.delenv("DETECTRON2_DATASETS", raising=False)
        yield


SIDE = 128
SUBTYPES = ("no-damage", "minor-damage", "major-damage", "destroyed", "un-classified")
PAIRS = {"train": ((0, 1, 2, 3), (0, 4, 3), ()), "val": ((0, 1, 2, 3, 4), ())}
"""Split -> grades of the buildings of each scene."""


def _square(number: int) -> tuple[int, int, int, int]:
    x, y = 8 + 40 * (number % 3), 8 + 40 * (number // 3)
    return x, y, x + 24, y + 20


def _write_scene(folder: Path, name: str, grades: Sequence[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for time in ("pre", "post"):
        image = rng.integers(90, 130, (SIDE, SIDE, 3), dtype=np.uint8)
        features = []
        for number, grade in enumerate(grades):
            x0, y0, x1, y1 = _square(number)
            tone, roof = 220 if time == "pre" else 220 - 50 * grade, image[y0 : y1 + 1, x0 : x1 + 1]
            roof[:] = rng.integers(tone - 2, tone + 3, roof.shape)
            properties = {"feature_type": "building", "uid": f"{name}-{number}"}
            if time == "post":
                properties["subtype"] = SUBTYPES[grade]
            ring = f"POLYGON (({x0} {y0}, {x1} {y0}, {x1} {y1}, {x0} {y1}, {x0} {y0}))"
            features.append({"properties": properties, "wkt": ring})
        for kind in ("images", "labels"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / "images" / f"{name}_{time}_disaster.png"), image)
        metadata = {"disaster": "test-flood", "disaster_type": "flooding", "width": SIDE, "height": SIDE}
        label = {"features": {"xy": features, "lng_lat": []}, "metadata": metadata}
        (folder / "labels" / f"{name}_{time}_disaster.json").write_text(json.dumps(label))


@pytest.fixture(scope="session")
def tiny_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder for ``DETECTRON2_DATASETS``; its ``tiny_train`` and ``tiny_val`` are registered."""
    from skyeye_det.data.catalog import register_xbd_split
    from skyeye_det.data.coco import convert_split

    datasets = tmp_path_factory.mktemp("datasets")
    root = datasets / "tiny"
    for split, scenes in PAIRS.items():
        for number, grades in enumerate(scenes):
            _write_scene(root / split, f"test-flood_{number:08d}", grades, number)
        convert_split(root, split, root / "annotations")
        register_xbd_split(f"tiny_{split}", image_root=root)
    return datasets


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Checkpoint of a tiny hybrid with random weights, which no test writes to."""
    import torch
    from tiny_model import tiny_config

    from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
    from skyeye_det.engine.setup import build_pair_model

    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    SkyeyeCheckpointer(build_pair_model(tiny_config()), str(folder)).save("model_final")
    return str(folder / "model_final.pth")


@pytest.fixture(autouse=True)
def _loggers_of_this_test() -> Iterator[None]:
    """detectron2 makes its handlers once a process, on the standard output of the test that comes first."""
    yield
    module = sys.modules.get("detectron2.utils.logger")
    if module is not None:
        module.setup_logger.cache_clear()
    for name in ("detectron2", "fvcore", "skyeye_det"):
        logger = logging.getLogger(name)
        logger.propagate = True
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
