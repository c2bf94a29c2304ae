"""Loaders of pairs for training and evaluation, and the order of training.

In training rare damage comes more often, every tile is kept, and the order is the same from any point of
resuming.
"""

import gc
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.samplers import RepeatFactorTrainingSampler
from detectron2.structures import Instances
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from skyeye_det.damage import IGNORE_DAMAGE
from skyeye_det.data.catalog import register_datasets
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.errors import InputError

_SHARED_MEMORY = Path("/dev/shm")
_BATCH_TIMEOUT = 600
"""Seconds."""


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
    ``PairDataset`` takes the tile and seeds its augmentation by the position.

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


class PairDataset(Dataset):
    """Maps the sampler's numbers to augmented pairs; a number always gives the same one.

    Args:
        dataset_dicts: of ``catalog.load_xbd_json``; kept serialised, in memory that workers share.
        mapper: dataset dict -> model input, drawing from numpy's global generator.
        seed: of the augmentation.
    """

    def __init__(self, dataset_dicts: list[dict[str, Any]], mapper: PairMapper, seed: int) -> None:
        self._tiles, self._mapper, self._seed = DatasetFromList(dataset_dicts, copy=False), mapper, seed

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, number: int) -> dict[str, Any]:
        """Gives tile ``number % len(self)`` with the draws of position ``number // len(self)``."""
        position, index = divmod(number, len(self))
        with _numpy_seeded(self._seed, position):
            return self._mapper(self._tiles[index])


def build_pair_train_loader(
    cfg: CfgNode, dataset_names: Sequence[str], start_iteration: int = 0
) -> DataLoader:
    """Builds the endless training loader.

    The sequence of samples depends on ``cfg.SEED`` and the data alone, not on the number of workers or GPUs;
    a run resumed at ``start_iteration`` sees what an uninterrupted one would. A negative seed draws one.

    Args:
        cfg: reads DATALOADER, SEED, SOLVER.IMS_PER_BATCH (over all GPUs) and INPUT.
        dataset_names: registered here where they are not yet.
        start_iteration: iterations already done.

    Raises:
        InputError: a data set cannot be read or has no tile.
    """
    tiles = _dataset_dicts(dataset_names)
    seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    sampler = DamageBalancedSampler(
        damage_repeat_factors(tiles, cfg.DATALOADER.REPEAT_THRESHOLD),
        seed=seed,
        start=start_iteration * cfg.SOLVER.IMS_PER_BATCH,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    dataset = PairDataset(tiles, PairMapper(cfg, True), seed)
    loader = build_detection_train_loader(
        dataset,
        mapper=None,
        sampler=sampler,
        total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
        aspect_ratio_grouping=False,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    _configure_workers(loader)
    if loader.num_workers:
        by_size = sorted(range(len(tiles)), key=lambda number: len(tiles[number]["annotations"]))
        # Larger than the mean of a batch, and not as rare as the largest.
        sample = sum(map(_bytes, dataset[by_size[3 * len(tiles) // 4]].values()))
        _require_shared_memory(loader, sample * cfg.SOLVER.IMS_PER_BATCH // comm.get_world_size())
    return loader


def build_pair_test_loader(cfg: CfgNode, name: str) -> DataLoader:
    """Builds a loader of the whole tiles of one data set, one at a time, split over the GPUs.

    Raises:
        InputError: the data set cannot be read or has no tile.
    """
    return pair_loader(_dataset_dicts([name]), PairMapper(cfg, False), cfg.DATALOADER.NUM_WORKERS)


def pair_loader(
    tiles: Sequence[dict[str, Any]], mapper: Callable[[dict[str, Any]], dict[str, Any]], workers: int
) -> DataLoader:
    """Loader of one whole tile at a time, in their order.

    Args:
        tiles: with ``height`` and ``width``, one or more.
        mapper: gives a tile its ``image``.
        workers: loading processes.

    Raises:
        InputError: shared memory is too small.
    """
    loader = build_detection_test_loader(list(tiles), mapper=mapper, num_workers=workers)
    _configure_workers(loader)
    if workers:
        _require_shared_memory(loader, max(6 * tile["height"] * tile["width"] for tile in tiles))
    return loader


def _configure_workers(loader: DataLoader) -> None:
    """Sets how loading processes begin, and how long is waited for them."""
    loader.worker_init_fn = partial(_begin_worker, loader.worker_init_fn)
    loader.timeout = _BATCH_TIMEOUT if loader.num_workers else 0


def _require_shared_memory(loader: DataLoader, batch: int) -> None:
    """Raises InputError where shared memory does not hold the batches under way, of ``batch`` bytes each.

    One that does not fit ends the process that wrote it, or is lost without a word.
    """
    needed = batch * (loader.num_workers * (loader.prefetch_factor or 1) + 1)
    free = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else needed
    if needed > free:
        raise InputError(
            f"DATALOADER.NUM_WORKERS {loader.num_workers}: expected {needed / 2**20:.1f} MB of free shared "
            f"memory for the batches under way, found {free / 2**20:.1f} MB in {_SHARED_MEMORY}; give it "
            "more (docker run --shm-size=2g), or set DATALOADER.NUM_WORKERS 0 (tools/infer.py: behind --opts)"
        )


def _bytes(value: Any) -> int:
    """Size of the tensors in a part of a sample."""
    if isinstance(value, Instances):
        return sum(map(_bytes, value.get_fields().values()))
    tensor = getattr(value, "tensor", value)
    return tensor.nbytes if isinstance(tensor, torch.Tensor) else 0


def _begin_worker(before: Callable[[int], None] | None, number: int) -> None:
    """Keeps shared memory shared, and leaves the cores to the other workers."""
    if before is not None:
        before(number)
    # The garbage collector writes to every object it looks at, and a page that is written to is copied.
    gc.freeze()
    # Not 1: that would stop the threads of a pool, which a forked process has not got, and wait for ever.
    cv2.setNumThreads(0)


def _dataset_dicts(names: Sequence[str]) -> list[dict[str, Any]]:
    if not names:
        raise InputError("no data set named; set DATASETS.TRAIN and DATASETS.TEST in the config")
    register_datasets(names)
    return get_detection_dataset_dicts(list(names), filter_empty=False)


@contextmanager
def _numpy_seeded(*seed: int) -> Iterator[None]:
    """Seeds numpy's global generator for a block, and puts back its state afterwards."""
    state = np.random.get_state()  # noqa: NPY002 - detectron2 draws from it
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
