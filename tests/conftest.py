"""What every test runs under: no network, few threads, and a part that does without torch.

Files that import torch or detectron2, directly or through skyeye_det, get the marker ``torch`` by themselves.
``pytest --without-torch`` leaves them out and makes importing torch an error, so what it runs is proved to be
torch-free.
"""

import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

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
