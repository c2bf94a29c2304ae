"""What the models of the benchmark look at: the same pairs for all of them. Needs torch."""

from typing import Any

from detectron2.config import CfgNode
from skyeye_det.benchmark.model_settings import Task

from skyeye_det.data.catalog import load_xbd_json
from skyeye_det.data.dataset_mapper import PairMapper
from skyeye_det.data.loading import PairDataset

Inputs = list[dict[str, Any]]
"""What a model is called with."""

_SEED = 0


def whole_tiles(cfg: CfgNode, task: Task) -> Inputs:
    """Inputs of inference, in the order of the annotations."""
    mapper = PairMapper(cfg, is_train=False)
    return [mapper(tile) for tile in load_xbd_json(task.annotations, task.root)]


def training_batch(cfg: CfgNode, task: Task) -> Inputs:
    """One batch of ``SOLVER.IMS_PER_BATCH`` augmented crops; a tile that comes again is cropped anew."""
    samples = PairDataset(load_xbd_json(task.annotations, task.root), PairMapper(cfg, is_train=True), _SEED)
    return [samples[number] for number in range(cfg.SOLVER.IMS_PER_BATCH)]


def pre_images(inputs: Inputs) -> Inputs:
    """The same for a model of one image."""
    kept = ("height", "width", "instances")
    return [{"image": each["image"][:3]} | {key: each[key] for key in kept if key in each} for each in inputs]
