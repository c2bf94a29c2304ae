"""Checkpoints of tiny models with random weights, which no test writes to; and a folder of pairs."""

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from noise_pairs import SCENES, write_pair
from rasterio.crs import CRS
from scenes import CORNER, ground, in_degrees, write

from skyeye_det.decision.rule import DecisionRule, write_rule


@pytest.fixture(scope="session")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of two hybrids."""
    from saved_models import saved
    from tiny_model import tiny_config

    folder = tmp_path_factory.mktemp("two")
    return [saved(tiny_config(), seed, folder) for seed in (0, 1)]


@pytest.fixture(scope="session")
def semantic(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of a semantic model."""
    from saved_models import SEMANTIC, SMALL, saved

    from skyeye_det.engine.setup import load_config

    return saved(load_config(SEMANTIC, SMALL), 2, tmp_path_factory.mktemp("semantic"))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Before in metres; after in degrees, moved by 2 px, with a hole and a cloud."""
    before = ground()
    after = np.roll(before, 2, axis=2)
    after[:, 200:, :80] = 0
    after[:, :60, 300:] = 255
    degrees, place = in_degrees(after, Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]))
    pre = write(tmp_path / "pre.tif", before)
    return pre, write(tmp_path / "post.tif", degrees, CRS.from_epsg(4326), place)


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    write_rule(tmp_path / "rule.yaml", DecisionRule(score_threshold=0.0, outline="mask"), [])
    return tmp_path / "rule.yaml"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, scene in enumerate(SCENES):
        write_pair(tmp_path / "images", scene, seed)
    return tmp_path / "images"
