import json
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

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
            image[y0 : y1 + 1, x0 : x1 + 1] = 220 if time == "pre" else 220 - 50 * grade
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
