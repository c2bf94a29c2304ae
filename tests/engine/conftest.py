"""Checkpoints of tiny models with random weights, which no test writes to; and a folder of pairs."""

import shutil
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


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Before in metres; after in degrees, moved by 2 px, with a hole and a cloud."""
    folder = tmp_path_factory.mktemp("pair")
    before = ground()
    after = np.roll(before, 2, axis=2)
    after[:, 200:, :80] = 0
    after[:, :60, 300:] = 255
    degrees, place = in_degrees(after, Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1]))
    pre = write(folder / "pre.tif", before)
    return pre, write(folder / "post.tif", degrees, CRS.from_epsg(4326), place)


@pytest.fixture(scope="session")
def rule(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rule") / "rule.yaml"
    write_rule(path, DecisionRule(score_threshold=0.0, outline="mask"), [])
    return path


@pytest.fixture(scope="session")
def whole(
    pair: tuple[Path, Path], rule: Path, weights: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What ``assess_runs.run`` writes of the pair; left as it is."""
    from assess_runs import run

    output = tmp_path_factory.mktemp("whole")
    run(pair, output, weights, rule)
    return output


@pytest.fixture
def assessed(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, to go on from."""
    return shutil.copytree(whole, tmp_path / "assessed")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, scene in enumerate(SCENES):
        write_pair(tmp_path / "images", scene, seed)
    return tmp_path / "images"
