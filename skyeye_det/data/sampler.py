"""Order of training: rare damage more often, every tile kept, the same from any point of resuming."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from detectron2.data.samplers import RepeatFactorTrainingSampler
from torch.utils.data import Sampler

from skyeye_det.damage import IGNORE_DAMAGE


def damage_repeat_factors(dataset_dicts: list[dict[str, Any]], threshold: float) -> torch.Tensor:
    """Draws of each tile per pass: sqrt(threshold / frequency) of the rarest grade in it, at least 1.

    The frequency of a grade is the share of tiles that hold it (LVIS, Gupta et al. 2019, appendix B.2, with
    grades in place of categories). Tiles without buildings, or with un-classified ones alone, have factor 1.

    Args:
        dataset_dicts: with ``annotations`` that have ``damage``.
        threshold: 0..1; 0 gives 1 for every tile.

    Returns:
        (len(dataset_dicts),) float32.
    """
    grades = [{a["damage"] for a in tile["annotations"]} - {IGNORE_DAMAGE} for tile in dataset_dicts]
    graded = [{"annotations": [{"category_id": grade} for grade in tile]} for tile in grades]
    return RepeatFactorTrainingSampler.repeat_factors_from_category_frequency(graded, threshold)


class DamageBalancedSampler(Sampler[int]):
    """Endless, shuffled order of tiles with repeats; fractions of a repeat are rounded at random in a pass.

    Position p of the order, over all workers and GPUs, is yielded as ``p * size + index of the tile``:
    ``loading.PairDataset`` takes the tile and seeds its augmentation by the position.

    Args:
        repeat_factors: (size,) float, at least 1, from ``damage_repeat_factors``.
        seed: of the order; the same on all GPUs.
        start: samples already consumed by all GPUs together, to resume there.
        rank: of this process.
        world_size: number of processes; each yields every ``world_size``-th position.
    """

    def __init__(
        self, repeat_factors: torch.Tensor, *, seed: int, start: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.repeat_factors, self.seed, self.start = repeat_factors, seed, start
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[int]:
        """Yields ints without end."""
        yield from islice(self._positions(), self.rank, None, self.world_size)

    def _positions(self) -> Iterator[int]:
        """Position * size + index, from ``start`` on."""
        factors = self.repeat_factors.numpy().astype(np.float64)
        size, position = len(factors), 0
        generator = np.random.default_rng(self.seed)
        while True:
            # floor(factor + u) is one more than floor(factor) as often as the fraction says.
            repeats = np.floor(factors + generator.random(size)).astype(np.int64)
            order = generator.permutation(np.repeat(np.arange(size), repeats))
            done = min(max(self.start - position, 0), len(order))
            position += done
            for index in order[done:].tolist():
                yield position * size + index
                position += 1
