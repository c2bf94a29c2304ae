"""The rows that need torch, at a tiny size."""

from pathlib import Path

import numpy as np

from skyeye_det.benchmark.loader import loader_row
from skyeye_det.benchmark.rasterizing import dense_tile, pasted, rasterizing_row
from skyeye_det.benchmark.settings import Settings
from skyeye_det.postprocessing.rasterize import rasterize_instances


def tiny(output: Path) -> Settings:
    return Settings(output, pairs=20, repeats=1, instances=50, crop=64, sample_size=128)


def test_the_peer_paints_the_same_pixels() -> None:
    tile = dense_tile(60)
    for ours, theirs in zip(rasterize_instances(*tile, (1024, 1024)), pasted(*tile), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.any()


def test_rasterizing_is_held_against_detectron2(tmp_path: Path) -> None:
    row = rasterizing_row(tiny(tmp_path))
    assert row.checks == {"identical pixels at threshold 0.5": True}
    assert row.bar == 1 / 30
    assert row.memory_mib is not None
    assert 3 < row.memory_mib < 16


def test_the_loader_runs_with_its_workers_and_tells_their_memory(tmp_path: Path) -> None:
    row = loader_row(tiny(tmp_path))
    assert row.memory_mib is not None
    assert row.figures["samples a second of 2 workers"] > 0
    assert row.figures["MB of the pickled tiles that workers share"] > 0
    assert row.bar == 1.5
