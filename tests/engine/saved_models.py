"""Models of random weights for the tests of inference, saved as checkpoints."""

from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from tiny_model import CONFIGS, tiny_overrides

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.model_files import ensemble
from skyeye_det.engine.models import Models
from skyeye_det.engine.setup import build_pair_model

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
SEMANTIC = str(CONFIGS / "semantic" / "unet_lite0.yaml")
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.BACKBONE.NAME", "tu-test_efficientnet"]
SMALL += ["MODEL.BACKBONE.FREEZE_AT", "0", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"]
SMALL += ["DATALOADER.NUM_WORKERS", "0"]


def saved(cfg: CfgNode, seed: int, folder: Path) -> str:
    torch.manual_seed(seed)
    SkyeyeCheckpointer(build_pair_model(cfg), str(folder)).save(f"model_{seed}")
    return str(folder / f"model_{seed}.pth")


def models(*weights: str, views: tuple[str, ...] = (), precision: str = "fp32", **changes) -> Models:
    return Models(ensemble([CONFIG], weights, views), tiny_overrides(**changes), precision)


def noise(side: int = 64) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (6, side, side), np.uint8)
