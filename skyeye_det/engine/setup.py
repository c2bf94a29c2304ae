"""The one place with side effects: config from file and command line, device, logger, seed, registration."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

# Importing them registers backbones, ROI heads and meta-architecture with detectron2, as its registries want it.
import skyeye_det.modeling.backbones
import skyeye_det.modeling.pair_rcnn
import skyeye_det.modeling.roi_heads  # noqa: F401
import torch
import yaml
from detectron2.config import CfgNode, get_cfg
from detectron2.engine import default_setup
from skyeye_det.config import add_skyeye_config
from skyeye_det.data.catalog import register_datasets
from skyeye_det.errors import InputError


def load_config(config_file: str | Path, overrides: Sequence[str] = ()) -> CfgNode:
    """Reads a config, safely, and chooses the device.

    Args:
        config_file: a YAML file of ``configs/`` or the ``config.yaml`` that training writes beside its checkpoints.
        overrides: ``KEY VALUE ...`` of the command line. ``MODEL.DEVICE`` among them is obeyed; without it the config's
            ``cuda`` becomes ``cpu`` where there is no GPU.

    Returns:
        The frozen config.

    Raises:
        InputError: file, key or value are not what they should be.
    """
    cfg = get_cfg()
    add_skyeye_config(cfg)
    if not Path(config_file).is_file():
        raise InputError(f"config {config_file}: no such file; configs/ holds those that come with SkyEye")
    try:
        cfg.merge_from_file(str(config_file), allow_unsafe=False)
        cfg.merge_from_list(list(overrides))
    except (KeyError, ValueError, AssertionError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise InputError(f"config {config_file} with {list(overrides)}: {_one_line(error)}") from error
    if cfg.MODEL.DEVICE == "cuda" and "MODEL.DEVICE" not in overrides and not torch.cuda.is_available():
        cfg.MODEL.DEVICE = "cpu"
    _check(cfg)
    cfg.freeze()
    return cfg


def set_up(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Logger, seed, output folder with ``config.yaml``, and the data sets of the config, once a process."""
    register_datasets([*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST])
    default_setup(cfg, args)
    logging.getLogger("skyeye_det").info("Device: %s", cfg.MODEL.DEVICE)


def _check(cfg: CfgNode) -> None:
    if len(cfg.MODEL.PIXEL_MEAN) != 6 or len(cfg.MODEL.PIXEL_STD) != 6:
        raise InputError(
            f"MODEL.PIXEL_MEAN and MODEL.PIXEL_STD: expected 6 numbers (pre, then post), found "
            f"{len(cfg.MODEL.PIXEL_MEAN)} and {len(cfg.MODEL.PIXEL_STD)}"
        )
    if cfg.VIS_PERIOD:
        raise InputError(
            "VIS_PERIOD: expected 0, since detectron2 draws images of 3 channels; use tools/visualize.py"
        )
    if cfg.SOLVER.AMP.ENABLED and not cfg.MODEL.DEVICE.startswith("cuda"):
        raise InputError(
            f"SOLVER.AMP.ENABLED: expected a CUDA device, found {cfg.MODEL.DEVICE}; append SOLVER.AMP.ENABLED False"
        )


def _one_line(error: Exception) -> str:
    text = str(error.args[0]) if error.args else type(error).__name__
    return " ".join(text.split())
