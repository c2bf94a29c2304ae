"""What a child of the model's benchmark measures of one config. Needs torch."""

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from skyeye_det.benchmark.measure import MIB
from skyeye_det.benchmark.model_inputs import Inputs, pre_images, training_batch, whole_tiles
from skyeye_det.benchmark.model_options import optioned, precision
from skyeye_det.benchmark.model_rows import FOLDED, OURS, PASTED, PEER, POST, STOCK
from skyeye_det.benchmark.model_runs import PairRun, StockRun, TrainingRun
from skyeye_det.benchmark.model_settings import Task
from skyeye_det.benchmark.model_stock import stock_model, weighted_model, with_detections

from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.faults import one_line
from skyeye_det.engine.pair_predictor import fold_batch_norm
from skyeye_det.engine.setup import load_config
from skyeye_det.errors import InputError

_WARM_UPS = {"cpu": 1, "cuda": 5}
"""Runs that do not count: caches, and on CUDA the choice of kernels."""

_NOT_IN_TRAINING = ("compile", "fuse-bn", "fp16")


def measure_speed(task: Task) -> dict[str, Any]:
    """Times inference, training and options of a config, in turns with what they are held against.

    Returns:
        ``device`` (name, threads, torch's version), and where asked for ``inference``, ``stages``,
        ``training`` and ``options``, as ``model_rows`` reads them.

    Raises:
        InputError: config, weights or pairs are not what they should be.
    """
    cfg = _config(task, task.config)
    told: dict[str, Any] = {"device": _device_name(cfg)}
    if "inference" in task.parts:
        told |= _measure_inference(cfg, task)
    if "training" in task.parts:
        told["training"] = _measure_training(cfg, task)
    if task.options:
        told["options"] = _measure_options(cfg, task)
    return told


def measure_memory(task: Task) -> dict[str, Any]:
    """Peak memory of this process, or of its device, after one pair.

    Returns:
        ``detections``, ``mib`` and ``memory_is``.

    Raises:
        InputError: as ``measure_speed``.
    """
    cfg = with_detections(_config(task, task.config), task.detections)
    tiles = whole_tiles(cfg, task)[:1]
    run = _pair_run(cfg, task.weights, tiles, task)
    fold_batch_norm(run.model)
    run()
    device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda":
        mib, memory_is = torch.cuda.max_memory_allocated(device) / MIB, "torch.cuda.max_memory_allocated"
    else:
        mib, memory_is = _high_water_mib(), "most resident memory of its process (VmHWM)"
    return {"detections": run.detections, "mib": mib, "memory_is": memory_is}


def taken_in_turns(
    works: Mapping[str, Callable[[], None]], repeats: int, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Runs all, one after the other, again and again, so that a slow spell of the machine meets each.

    Args:
        works: by name; each waits for its device.
        repeats: runs of each that count.
        warm_ups: runs of each before them.

    Returns:
        Name -> seconds of each run that counts.
    """
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for number in range(warm_ups + repeats):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number >= warm_ups:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _measure_inference(cfg: CfgNode, task: Task) -> dict[str, Any]:
    cfg = with_detections(cfg, task.detections)
    tiles = whole_tiles(cfg, task)
    ours = _pair_run(cfg, task.weights, tiles, task)
    stock, is_whole = stock_model(cfg, ours.model)
    fold_batch_norm(ours.model)
    folded = copy.deepcopy(stock.eval())
    fold_batch_norm(folded)
    images = pre_images(tiles)
    plain, pasted = (StockRun(stock, images, ours.synchronize, kind) for kind in (False, True))
    works: dict[str, Callable[[], None]] = {
        OURS: ours,
        STOCK: plain,
        PASTED: pasted,
        FOLDED: StockRun(folded, images, ours.synchronize, pasted=False),
    }
    if task.peer:
        peer_cfg = _config(task, task.peer)
        peer = _pair_run(peer_cfg, task.peer_weights, whole_tiles(peer_cfg, task), task)
        fold_batch_norm(peer.model)
        works[PEER] = peer
    seconds = {
        name: [run / len(tiles) for run in runs]
        for name, runs in taken_in_turns(works, task.repeats, _warm_ups(cfg)).items()
    }
    seconds[POST] = ours.post_seconds[-task.repeats :]
    height, width = tiles[0]["image"].shape[1:]
    return {
        "inference": {
            "what": f"{len(tiles)} pair(s) of {height} x {width} px, one at a time",
            "seconds": seconds,
            "detections": {OURS: ours.detections, STOCK: plain.detections},
            "stock_is_ours": is_whole,
            "peer": Path(task.peer).stem,
        },
        "stages": {OURS: ours.stages(), STOCK: plain.stages()},
    }


def _measure_training(cfg: CfgNode, task: Task) -> dict[str, Any]:
    ours = _training_run(cfg, task.weights, task)
    stock, _ = stock_model(cfg, ours.model)
    works: dict[str, Callable[[], None]] = {
        OURS: ours,
        STOCK: TrainingRun(cfg, stock.train(), pre_images(ours.batch), ours.synchronize, ours.precision),
    }
    told = {"what": _batch_text(ours.batch)}
    if task.peer:
        peer = _training_run(_config(task, task.peer), task.peer_weights, task)
        works[PEER], told["peer_what"] = peer, _batch_text(peer.batch)
    return told | {"seconds": taken_in_turns(works, task.repeats, _warm_ups(cfg))}


def _measure_options(cfg: CfgNode, task: Task) -> dict[str, Any]:
    """Each choice against plain float32; one that cannot be had here is told and the others go on."""
    forced = with_detections(cfg, task.detections)
    told = {}
    for choice in task.options:
        try:
            if "inference" in task.parts:
                told[f"inference {choice}"] = _inference_option(forced, task, choice)
            if "training" in task.parts and not set(choice.split("+")) & set(_NOT_IN_TRAINING):
                told[f"training {choice}"] = _training_option(cfg, task, choice)
        except (InputError, RuntimeError) as error:
            told[choice] = {"failed": one_line(error)[:200]}
    return told


def _inference_option(cfg: CfgNode, task: Task, choice: str) -> dict[str, Any]:
    plain = _pair_run(cfg, task.weights, whole_tiles(cfg, task), task)
    model, context = optioned(plain.model, choice, torch.device(cfg.MODEL.DEVICE))
    changed = PairRun(model, plain.inputs, plain.rule, plain.folder, plain.synchronize, context)
    seconds = taken_in_turns({"plain": plain, "changed": changed}, task.repeats, _warm_ups(cfg))
    per_tile = {name: [run / len(plain.inputs) for run in runs] for name, runs in seconds.items()}
    return {
        "seconds": per_tile["changed"],
        "plain": per_tile["plain"],
        "figures": {"detections": changed.detections, "detections, plain": plain.detections},
    }


def _training_option(cfg: CfgNode, task: Task, choice: str) -> dict[str, Any]:
    plain = _training_run(cfg, task.weights, task)
    plain.precision = nullcontext
    device = torch.device(cfg.MODEL.DEVICE)
    model = optioned(plain.model, choice, device)[0].train()
    changed = TrainingRun(cfg, model, plain.batch, plain.synchronize, precision(choice, device))
    seconds = taken_in_turns({"plain": plain, "changed": changed}, task.repeats, _warm_ups(cfg))
    return {"seconds": seconds["changed"], "plain": seconds["plain"], "figures": {}}


def _pair_run(cfg: CfgNode, weights: str, tiles: Inputs, task: Task) -> PairRun:
    return PairRun(
        weighted_model(cfg, weights).eval(),
        tiles,
        read_rule(cfg.TEST.DECISIONS),
        Path(task.folder),
        _synchronizer(cfg),
    )


def _training_run(cfg: CfgNode, weights: str, task: Task) -> TrainingRun:
    device = torch.device(cfg.MODEL.DEVICE)
    return TrainingRun(
        cfg,
        weighted_model(cfg, weights).train(),
        training_batch(cfg, task),
        _synchronizer(cfg),
        precision("bf16" if cfg.SOLVER.AMP.ENABLED else "", device),  # as the trainer has it
    )


def _config(task: Task, path: str) -> CfgNode:
    device = ["MODEL.DEVICE", task.device] if task.device else []
    return load_config(path, [*task.overrides, *device])


def _synchronizer(cfg: CfgNode) -> Callable[[], None]:
    device = torch.device(cfg.MODEL.DEVICE)
    return (lambda: torch.cuda.synchronize(device)) if device.type == "cuda" else (lambda: None)


def _warm_ups(cfg: CfgNode) -> int:
    return _WARM_UPS.get(torch.device(cfg.MODEL.DEVICE).type, 1)


def _device_name(cfg: CfgNode) -> dict[str, Any]:
    device = torch.device(cfg.MODEL.DEVICE)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"name": name, "threads": torch.get_num_threads(), "torch": str(torch.__version__)}


def _batch_text(batch: Inputs) -> str:
    sizes = " and ".join(sorted({" x ".join(map(str, each["image"].shape[1:])) for each in batch}))
    return f"{len(batch)} crops of {sizes} px"


def _high_water_mib() -> float:
    """Not ru_maxrss: that begins with the memory of the process which started this one."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / MIB
    raise InputError("/proc/self/status: expected a line VmHWM, found none; memory is measured on Linux")
