"""Row: training samples of the loader, against decoding the two images of the pair. Needs torch."""

import multiprocessing
import pickle
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from skyeye_det.benchmark.floors import decode_images
from skyeye_det.benchmark.material import SPLIT, linked_root
from skyeye_det.benchmark.measure import MIB, interleaved, memory_of
from skyeye_det.benchmark.rows import Row
from skyeye_det.benchmark.settings import Settings

from skyeye_det.config import add_skyeye_config
from skyeye_det.data.catalog import load_xbd_json, register_xbd_split
from skyeye_det.data.coco import convert_split
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.loading import PairDataset, build_pair_train_loader

BAR = 1.5
MEMORY_BAR_MIB = 32.0
"""A heap's high-water mark still rises towards what the largest samples need; a copy of the data is more."""
_COPIED_BAR_MIB = 8.0
_NAME = f"benchmark_{SPLIT}"
_MOST_TIMED, _MOST_IN_EPOCH = 60, 1000
_IN_BATCH = 2


@dataclass(frozen=True)
class _Epoch:
    """What an epoch of the real loader showed.

    Attributes:
        growth_mib: by how much the own memory of the worst worker grew.
        copied_mib: how much of the memory that it shares with the others the worst worker came to copy.
        samples_a_second: of all workers together.
    """

    growth_mib: float
    copied_mib: float
    samples_a_second: float


def loader_row(settings: Settings) -> Row:
    """Makes training samples one after the other, then runs an epoch of the real loader with its workers."""
    root = settings.output / "loader"
    linked_root(root, settings.images, min(settings.pairs, _MOST_IN_EPOCH))
    annotations = convert_split(root, SPLIT, root / "annotations", workers=settings.workers).path
    cfg = _config(settings)
    tiles = load_xbd_json(annotations, root)
    timed = tiles[:: -(-len(tiles) // _MOST_TIMED)]
    samples = PairDataset(timed, PairMapper(cfg, True), cfg.SEED)
    files = [(Path(tile["file_name"]), Path(tile["post_file_name"])) for tile in timed]

    def make_samples() -> int:
        return sum(len(samples[number]["instances"]) for number in range(len(timed)))

    with _one_thread():
        make_samples()  # brings the files into the page cache
        ours, floor, (kept, _) = interleaved(
            make_samples, lambda: sum(map(decode_images, files)), settings.repeats
        )
    with _registered(annotations, root):
        epoch = _epoch(cfg, len(tiles))
    return Row(
        name="loader",
        what=f"{len(timed)} training samples of {settings.crop} x {settings.crop} px, one process and thread",
        floor_is="only reading and decoding the two PNGs of each, by the same decoder",
        ours=ours,
        floor=floor,
        bar=BAR,
        repeats=settings.repeats,
        memory_mib=epoch.growth_mib,
        memory_bar_mib=MEMORY_BAR_MIB,
        memory_is=(
            f"growth of a worker's own memory (USS, medians) from the second to the last tenth of an epoch of"
            f" {len(tiles)} tiles, the larger of {settings.workers} workers"
        ),
        checks={
            f"under {_COPIED_BAR_MIB:.0f} MiB of shared memory copied": epoch.copied_mib < _COPIED_BAR_MIB
        },
        figures={
            "MiB of shared memory copied": epoch.copied_mib,
            "buildings a tile": sum(len(tile["annotations"]) for tile in timed) / len(timed),
            "buildings a sample": kept / len(timed),
            "ms a sample": 1000 * ours.wall / len(timed),
            "MB of the pickled tiles that workers share": sum(len(pickle.dumps(tile)) for tile in tiles)
            / 1e6,
            f"samples a second of {settings.workers} workers": epoch.samples_a_second,
        },
    )


def _config(settings: Settings) -> CfgNode:
    cfg = get_cfg()
    add_skyeye_config(cfg)
    cfg.SEED, cfg.SOLVER.IMS_PER_BATCH = 0, _IN_BATCH
    cfg.DATALOADER.NUM_WORKERS = settings.workers
    cfg.INPUT.PAIR.CROP_SIZE = settings.crop
    return cfg


def _epoch(cfg: CfgNode, tiles: int) -> _Epoch:
    """Draws as many samples as there are tiles, and looks at the workers' memory at each batch."""
    batches = max(tiles // _IN_BATCH, 10)
    before = {child.pid for child in multiprocessing.active_children()}
    seen: dict[int, list[dict[str, int]]] = {}
    start = 0.0
    for number, _ in enumerate(islice(build_pair_train_loader(cfg, [_NAME]), batches)):
        if number == batches // 10:
            start = time.perf_counter()
        for child in multiprocessing.active_children():
            if child.pid is not None and child.pid not in before:
                seen.setdefault(child.pid, []).append(memory_of(child.pid))
    seconds = time.perf_counter() - start
    tenth = batches // 10
    return _Epoch(
        max(_growth([each["Private"] for each in worker], tenth) for worker in seen.values()),
        max(-_growth([each["Shared"] for each in worker], tenth) for worker in seen.values()),
        _IN_BATCH * (batches - 1 - tenth) / seconds,
    )


def _growth(sizes: list[int], tenth: int) -> float:
    """MiB from the median of the second tenth to that of the last."""
    return (statistics.median(sizes[-tenth:]) - statistics.median(sizes[tenth : 2 * tenth])) / MIB


@contextmanager
def _registered(annotations: Path, root: Path) -> Iterator[None]:
    register_xbd_split(_NAME, annotations, root)
    try:
        yield
    finally:
        DatasetCatalog.remove(_NAME)
        MetadataCatalog.remove(_NAME)


@contextmanager
def _one_thread() -> Iterator[None]:
    """A worker of the loader has one thread of torch, and here one of OpenCV."""
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
