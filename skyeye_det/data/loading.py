"""Loaders of pairs for training and evaluation."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetFromList,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from skyeye_det.data.catalog import register_datasets
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.sampler import DamageBalancedSampler, damage_repeat_factors
from skyeye_det.errors import InputError


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
    loader = build_detection_train_loader(
        PairDataset(tiles, PairMapper(cfg, True), seed),
        mapper=None,
        sampler=sampler,
        total_batch_size=cfg.SOLVER.IMS_PER_BATCH,
        aspect_ratio_grouping=False,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    loader.worker_init_fn = partial(_begin_worker, loader.worker_init_fn)
    return loader


def build_pair_test_loader(cfg: CfgNode, name: str) -> DataLoader:
    """Builds a loader of the whole tiles of one data set, one at a time, split over the GPUs.

    Raises:
        InputError: the data set cannot be read or has no tile.
    """
    loader = build_detection_test_loader(
        _dataset_dicts([name]), mapper=PairMapper(cfg, False), num_workers=cfg.DATALOADER.NUM_WORKERS
    )
    loader.worker_init_fn = partial(_begin_worker, loader.worker_init_fn)
    return loader


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
