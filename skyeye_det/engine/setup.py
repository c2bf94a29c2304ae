"""The one place with side effects: config from file and command line, device, logger, seed, registration."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_setup
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from fvcore.common.config import BASE_KEY
from torch import nn

# Importing them registers backbones, ROI heads and meta-architecture with detectron2.
import skyeye_det.modeling.backbones
import skyeye_det.modeling.building_map
import skyeye_det.modeling.footprint_rcnn
import skyeye_det.modeling.hybrid_rcnn
import skyeye_det.modeling.pair_rcnn
import skyeye_det.modeling.roi_heads
import skyeye_det.modeling.semantic_pair  # noqa: F401
from skyeye_det.config import add_skyeye_config
from skyeye_det.data.catalog import register_datasets
from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.faults import one_line
from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_bytes, write_bytes
from skyeye_det.modeling.timm_weights import names_timm_weights, timm_normalization
from skyeye_det.yaml_text import parse_yaml


def load_config(config_file: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """Reads a config, safely, and chooses the device.

    Args:
        config_file: a YAML file of ``configs/`` or the ``config.yaml`` that training writes beside its
            checkpoints.
        overrides: ``KEY VALUE ...`` of the command line. ``MODEL.DEVICE`` among them is obeyed; without it
            the device is the GPU where there is one, else the CPU, whatever the file says: a ``config.yaml``
            names the device of the machine that wrote it.

    Returns:
        The frozen config.

    Raises:
        InputError: file, key or value are not what they should be.
    """
    cfg = get_cfg()
    add_skyeye_config(cfg)
    config_file = find_config(config_file)
    decisions = _checked_decisions(Path(config_file))
    try:
        cfg.merge_from_file(str(config_file), allow_unsafe=False)
        cfg.TEST.DECISIONS = decisions or ""
    except (*_WRONG_CONFIG, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"config {config_file}: {one_line(error)}") from error
    try:
        cfg.merge_from_list(list(overrides))
    except _WRONG_CONFIG as error:
        raise InputError(
            f"config overrides {' '.join(map(str, overrides))}: "
            f"{one_line(error) or 'expected KEY VALUE pairs'}"
        ) from error
    if names_timm_weights(cfg.MODEL.WEIGHTS) and "MODEL.PIXEL_MEAN" not in overrides:
        mean, std = timm_normalization(cfg.MODEL.WEIGHTS)
        order = 1 if cfg.INPUT.FORMAT == "RGB" else -1
        cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD = 2 * mean[::order], 2 * std[::order]
    if "MODEL.DEVICE" not in overrides:
        cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    _check(cfg)
    cfg.freeze()
    return cfg


def find_config(name: str | Path) -> Path:
    """A config: a file, or by its name one that comes with the package, such as ``xbd_mrcnn.yaml``.

    Raises:
        InputError: neither.
    """
    folders = Path(), *(folder / "configs" for folder in (_PACKAGE, _PACKAGE.parent))
    for folder in folders:
        place = str(name).removeprefix("configs/") if folder.name else name
        if os.path.isfile(folder / place):  # noqa: PTH113 - False where a name is too long
            return folder / place
    raise InputError(f"config {name}: no such file; configs/ holds those that come with SkyEye")


def _checked_decisions(config_file: Path, depth: int = 0) -> str | None:
    """Refuses YAML that is no mapping, of which detectron2 would tell in Python's words, and so its bases.

    Returns:
        ``TEST.DECISIONS``, which is a path beside the very file that names it, as its bases are; None where
        none names it.
    """
    try:
        content = parse_yaml(config_file.read_bytes())
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reported = one_line(error)
        raise InputError(f"config {config_file}: expected plain YAML, found other ({reported})") from error
    if not isinstance(content, dict):
        raise InputError(
            f"config {config_file}: expected a YAML mapping of keys, found {type(content).__name__}; configs/"
            " holds examples"
        )
    decisions = None
    bases = content.get(BASE_KEY, [])
    for base in bases if isinstance(bases, list) else [bases]:
        if not isinstance(base, str) or "://" in base or depth >= _MOST_BASES:
            raise InputError(
                f"config {config_file}: expected {BASE_KEY} to name a file on this machine, at most"
                f" {_MOST_BASES} of them in a row, found {shown(str(base))}"
            )
        # As fvcore reads it: beside the file that names it, unless the path is absolute.
        found = config_file.parent / os.path.expanduser(base)  # noqa: PTH111 - leaves an unknown ~user as it is
        if not os.path.isfile(found):  # noqa: PTH113 - False where a name is too long
            raise InputError(f"config {config_file}: {BASE_KEY} {shown(base)}: no such file")
        named = _checked_decisions(found, depth + 1)
        decisions = decisions if named is None else named
    test = content.get("TEST")
    own = test.get("DECISIONS") if isinstance(test, dict) else None
    if own is None:
        return decisions
    return str(config_file.absolute().parent / own) if own and isinstance(own, str) else ""


_PACKAGE = Path(__file__).parent.parent
_MOST_BASES = 8

_RULE = "decisions.yaml"

_WRONG_CONFIG = (AssertionError, AttributeError, KeyError, OSError, TypeError, ValueError)


def build_pair_model(cfg: CfgNode) -> nn.Module:
    """Builds the model on its device, in training mode, with random weights.

    On a CPU its convolutions run channels-last, a fifth faster.

    Raises:
        InputError: the config names a part that does not exist, or values that do not fit each other.
    """
    try:
        model = build_model(cfg)
    except KeyError as error:  # of detectron2's registries
        raise InputError(f"config: {one_line(error)}") from error
    return model.to(memory_format=torch.channels_last) if cfg.MODEL.DEVICE == "cpu" else model


def set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Logger, seed, output folder with ``config.yaml``, and the data sets of the config, once a process.

    The rule that the config names is copied beside ``config.yaml``, which names the copy: both go wherever
    the checkpoints go.

    Raises:
        InputError: a data set or the rule is not there, or the output folder cannot be written.
    """
    read_rule(cfg.TEST.DECISIONS)  # a fault in it shall not end a training at its first evaluation
    written = cfg.clone()
    learned_from = () if getattr(args, "eval_only", False) else cfg.DATASETS.TRAIN
    register_datasets([*learned_from, *cfg.DATASETS.TEST])
    try:
        if cfg.TEST.DECISIONS and comm.is_main_process():
            write_bytes(Path(cfg.OUTPUT_DIR) / _RULE, read_bytes(cfg.TEST.DECISIONS))
            written.defrost()
            written.TEST.DECISIONS = _RULE
        rank = comm.get_rank()
        if args.config_file:  # detectron2 shows the file
            args.config_file = str(find_config(args.config_file))
        logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # asked for the environment
        with _file_only(setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank)):
            default_setup(written, args)
        logger = setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="skyeye_det")
        setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="py.warnings", configure_stdout=False)
    except OSError as error:
        raise InputError(
            f"OUTPUT_DIR {cfg.OUTPUT_DIR}: cannot be written ({error.strerror or error})"
        ) from error
    logger.info("Device: %s; environment and whole config: %s/log.txt", cfg.MODEL.DEVICE, cfg.OUTPUT_DIR)


@contextmanager
def settings_put_back(folder: str, always: bool) -> Iterator[None]:
    """Puts back ``config.yaml`` and the rule of an earlier training in a folder, whose checkpoints stay.

    Args:
        folder: ``OUTPUT_DIR``.
        always: whether also after a block that ends well, as an evaluation does.
    """
    paths = Path(folder) / "config.yaml", Path(folder) / _RULE
    before = {path: path.read_bytes() for path in paths if path.is_file()}
    done = False
    try:
        yield
        done = True
    finally:
        if (always or not done) and comm.is_main_process():
            for path, content in before.items():
                write_bytes(path, content)


@contextmanager
def _file_only(logger: logging.Logger) -> Iterator[None]:
    """Keeps a logger off the terminal: detectron2 begins with 300 lines of settings."""
    handlers = [handler for handler in logger.handlers if getattr(handler, "stream", None) is sys.stdout]
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


def check_training(cfg: CfgNode, processes: int, resume: bool = False) -> None:
    """Refuses what training cannot do on this machine.

    Args:
        cfg: of ``load_config``.
        processes: how many take part, over all machines.
        resume: whether an earlier training goes on.

    Raises:
        InputError: no iteration, several processes without CUDA, a batch that cannot be shared out evenly, an
            optimiser that is not there, or the second step without the first.
    """
    if processes > 1 and not cfg.MODEL.DEVICE.startswith("cuda"):
        raise InputError(
            f"MODEL.DEVICE: expected cuda for training in {processes} processes, found {cfg.MODEL.DEVICE}; "
            "on a CPU leave --num-gpus at 1"
        )
    if cfg.SOLVER.IMS_PER_BATCH < 1 or cfg.SOLVER.IMS_PER_BATCH % processes:
        raise InputError(
            f"SOLVER.IMS_PER_BATCH: expected a multiple of the {processes} process(es), found "
            f"{cfg.SOLVER.IMS_PER_BATCH}"
        )
    if cfg.SOLVER.MAX_ITER < 1:
        raise InputError(f"SOLVER.MAX_ITER: expected 1 or more, found {cfg.SOLVER.MAX_ITER}")
    if cfg.SOLVER.OPTIMIZER not in ("SGD", "AdamW"):
        raise InputError(f"SOLVER.OPTIMIZER: expected SGD or AdamW, found {cfg.SOLVER.OPTIMIZER}")
    if cfg.MODEL.META_ARCHITECTURE == "FootprintRCNN" and not (cfg.MODEL.WEIGHTS or resume):
        raise InputError(
            "MODEL.WEIGHTS: expected a trained hybrid, whose damage head is to go on learning, found none; "
            "append MODEL.WEIGHTS output/run/model_final.pth"
        )


def _check(cfg: CfgNode) -> None:
    if len(cfg.MODEL.PIXEL_MEAN) != 6 or len(cfg.MODEL.PIXEL_STD) != 6:
        raise InputError(
            f"MODEL.PIXEL_MEAN and MODEL.PIXEL_STD: expected 6 numbers (pre, then post), found "
            f"{len(cfg.MODEL.PIXEL_MEAN)} and {len(cfg.MODEL.PIXEL_STD)}"
        )
    if not cfg.MODEL.MASK_ON or cfg.MODEL.ROI_HEADS.NUM_CLASSES != 1:
        raise InputError(
            "MODEL.MASK_ON and MODEL.ROI_HEADS.NUM_CLASSES: expected True and 1 (building), found "
            f"{cfg.MODEL.MASK_ON} and {cfg.MODEL.ROI_HEADS.NUM_CLASSES}"
        )
    if cfg.VIS_PERIOD:
        raise InputError(
            "VIS_PERIOD: expected 0, since detectron2 draws images of 3 channels; evaluation and "
            "tools/visualize.py draw pairs"
        )
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", str(cfg.MODEL.DEVICE)):
        raise InputError(f"MODEL.DEVICE: expected cpu, cuda or cuda:N, found {cfg.MODEL.DEVICE}")
    if cfg.DATALOADER.NUM_WORKERS < 0 or min(cfg.MODEL.PIXEL_STD) <= 0:
        raise InputError(
            "DATALOADER.NUM_WORKERS and MODEL.PIXEL_STD: expected 0 or more and numbers above 0, found "
            f"{cfg.DATALOADER.NUM_WORKERS} and {list(cfg.MODEL.PIXEL_STD)}"
        )
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"MODEL.DEVICE: expected cpu, as PyTorch sees no GPU here, found {cfg.MODEL.DEVICE}; "
            "append MODEL.DEVICE cpu"
        )
