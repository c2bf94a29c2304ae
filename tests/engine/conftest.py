"""Checkpoints of tiny models with random weights, which no test writes to; and a folder of pairs."""

from pathlib import Path

import pytest
from noise_pairs import SCENES, write_pair

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
def rule(tmp_path: Path) -> Path:
    write_rule(tmp_path / "rule.yaml", DecisionRule(score_threshold=0.0, outline="mask"), [])
    return tmp_path / "rule.yaml"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, scene in enumerate(SCENES):
        write_pair(tmp_path / "images", scene, seed)
    return tmp_path / "images"
