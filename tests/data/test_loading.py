"""Loaders: one sequence of samples whatever the number of workers, and from any iteration."""

import gc
import os
import shutil
import time
from collections import Counter
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from pair_tiles import pair_config, write_root

from skyeye_det.data import loading
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.loading import (
    DamageBalancedSampler,
    PairDataset,
    build_pair_test_loader,
    build_pair_train_loader,
    damage_repeat_factors,
)
from skyeye_det.engine.faults import faults_reported
from skyeye_det.errors import InputError


@pytest.fixture(autouse=True)
def _root(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_root(tmp_path / "xbd", "train")
    yield
    for name in {"xbd_train", "xbd_val"} & set(DatasetCatalog):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def _batches(cfg, count, start=0):
    return list(islice(build_pair_train_loader(cfg, ["xbd_train"], start), count))


def _train_loader(cfg):
    return build_pair_train_loader(cfg, ["xbd_train"])


def _test_loader(cfg):
    return build_pair_test_loader(cfg, "xbd_train")


def _assert_same(found, expected):
    assert len(found) == len(expected)
    for batch, other in zip(found, expected, strict=True):
        assert [sample["scene"] for sample in batch] == [sample["scene"] for sample in other]
        for sample, same in zip(batch, other, strict=True):
            assert torch.equal(sample["image"], same["image"])
            mine, theirs = sample["instances"], same["instances"]
            assert torch.equal(mine.gt_boxes.tensor, theirs.gt_boxes.tensor)
            assert torch.equal(mine.gt_masks.tensor, theirs.gt_masks.tensor)
            assert torch.equal(mine.gt_damage, theirs.gt_damage)


def test_batches_have_the_size_asked_for_and_tiles_without_buildings():
    cfg = pair_config()
    cfg.SOLVER.IMS_PER_BATCH = 4
    batches = _batches(cfg, 3)
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert all(sample["image"].shape == (6, 48, 48) for batch in batches for sample in batch)
    assert all("test-flood_00000000" in {sample["scene"] for sample in batch} for batch in batches)


def test_the_number_of_workers_changes_nothing():
    cfg = pair_config()
    expected = _batches(cfg, 7)
    cfg.DATALOADER.NUM_WORKERS = 2
    _assert_same(_batches(cfg, 7), expected)


def test_a_resumed_run_sees_what_the_whole_run_sees():
    cfg = pair_config()
    cfg.DATALOADER.REPEAT_THRESHOLD = 0.9
    _assert_same(_batches(cfg, 4, start=5), _batches(cfg, 9)[5:])


def test_a_tile_is_augmented_anew_at_each_draw():
    batches = _batches(pair_config(), 20)
    images = [s["image"] for batch in batches for s in batch if s["scene"] == "test-flood_00000003"]
    assert len(images) == 10
    assert not any(torch.equal(images[0], image) for image in images[1:])


def test_sampling_leaves_the_global_generator_alone():
    dataset = PairDataset(loading._dataset_dicts(["xbd_train"]), PairMapper(pair_config(), True), seed=1)
    np.random.seed(11)  # noqa: NPY002 - the state that must not change
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(11)  # noqa: NPY002
    dataset[2]
    assert np.random.rand() == expected  # noqa: NPY002


@pytest.mark.parametrize("build", [_train_loader, _test_loader])
def test_workers_leave_shared_memory_and_the_cores_to_each_other(build, monkeypatch):
    def tell(mapper, tile):
        return {"pid": os.getpid(), "frozen": gc.get_freeze_count(), "threads": cv2.getNumThreads()}

    monkeypatch.setattr(PairMapper, "__call__", tell)
    cfg = pair_config()
    cfg.DATALOADER.NUM_WORKERS = 1
    ((told, *_),) = islice(build(cfg), 1)
    assert told["pid"] != os.getpid()
    assert told["frozen"] > 10_000
    assert told["threads"] == 1
    assert gc.get_freeze_count() == 0


@pytest.mark.parametrize(("build", "batch"), [(_train_loader, 1), (_test_loader, 6 * 64 * 64)])
def test_batches_that_shared_memory_does_not_hold_are_refused(build, batch, monkeypatch, tmp_path):
    cfg = pair_config()
    cfg.DATALOADER.NUM_WORKERS = 2
    assert build(cfg).timeout > 0
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(loading.shutil, "disk_usage", lambda path: disk._replace(free=5 * batch - 1))
    with pytest.raises(
        InputError, match=r"NUM_WORKERS 2: expected [\d.]+ MB of free shared memory .* --shm-size"
    ):
        build(cfg)
    cfg.DATALOADER.NUM_WORKERS = 0
    assert build(cfg).timeout == 0


def test_loading_that_gives_nothing_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr(loading, "_BATCH_TIMEOUT", 0.5)
    monkeypatch.setattr(PairMapper, "__call__", lambda mapper, tile: time.sleep(30))
    cfg = pair_config()
    cfg.DATALOADER.NUM_WORKERS = 1
    with (
        pytest.raises(InputError, match=r"gave nothing for 0\.5 s: .*DATALOADER\.NUM_WORKERS 0"),
        faults_reported(),
    ):
        next(iter(_test_loader(cfg)))


def test_evaluation_gives_every_tile_once_and_whole():
    batches = list(build_pair_test_loader(pair_config(), "xbd_train"))
    assert [[sample["scene"] for sample in batch] for batch in batches] == [
        [f"test-flood_{number:08d}"] for number in range(4)
    ]
    assert all(batch[0]["image"].shape == (6, 64, 64) for batch in batches)


def test_no_data_set_and_a_missing_one_are_refused():
    with pytest.raises(InputError, match=r"DATASETS\.TRAIN"):
        build_pair_train_loader(pair_config(), [])
    with pytest.raises(InputError, match="convert_xbd_to_coco"):
        build_pair_test_loader(pair_config(), "xbd_val")


def _tiles(*damages):
    return [{"annotations": [{"damage": damage} for damage in tile]} for tile in damages]


def _take(count, factors=(1.0,) * 7, **arguments):
    return list(islice(DamageBalancedSampler(torch.tensor(factors), **({"seed": 1} | arguments)), count))


def test_factors_are_those_of_hand():
    # Grade 0 in 5 of 10 tiles, grade 2 in 2, grade 3 in 1; threshold 0.4.
    tiles = _tiles([0], [0, 0, -1], [0, 2], [0, 3, 2], [0], [], [-1], [], [], [])
    factors = damage_repeat_factors(tiles, 0.4)
    assert factors.tolist() == pytest.approx([1, 1, 2**0.5, 2, 1, 1, 1, 1, 1, 1])


def test_a_set_without_any_building_is_drawn_evenly():
    assert damage_repeat_factors(_tiles([], [], [-1]), 0.5).tolist() == [1, 1, 1]


def test_tiles_come_in_proportion_to_their_factors():
    factors = (1.0, 1.0, 1.5, 3.25)
    counts = Counter(number % 4 for number in _take(27_000, factors))
    for tile, factor in enumerate(factors):
        assert counts[tile] == pytest.approx(27_000 * factor / 6.75, rel=0.03)


def test_each_pass_holds_every_tile_once_without_repeats():
    indices = [number % 7 for number in _take(70)]
    assert all(sorted(indices[start : start + 7]) == list(range(7)) for start in range(0, 70, 7))
    assert len({tuple(indices[start : start + 7]) for start in range(0, 70, 7)}) > 5


def test_numbers_carry_their_position():
    assert [number // 7 for number in _take(40)] == list(range(40))
    assert [number // 7 for number in _take(5, start=33)] == [33, 34, 35, 36, 37]


@pytest.mark.parametrize("start", [1, 7, 101])
def test_a_resumed_order_goes_on_where_it_stopped(start):
    factors = (1.0, 1.3, 2.6, 1.0, 1.9)
    assert _take(60, factors, start=start) == _take(60 + start, factors)[start:]


def test_processes_share_one_order():
    whole = _take(60, (1.0, 2.5, 1.2))
    shares = [_take(20, (1.0, 2.5, 1.2), rank=rank, world_size=3) for rank in range(3)]
    assert [number for turn in zip(*shares, strict=True) for number in turn] == whole
    later = [_take(18, (1.0, 2.5, 1.2), rank=rank, world_size=3, start=6) for rank in range(3)]
    assert [number for turn in zip(*later, strict=True) for number in turn] == whole[6:]


def test_the_seed_decides_the_order():
    assert _take(50) == _take(50)
    assert _take(50) != _take(50, seed=2)
