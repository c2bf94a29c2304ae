"""The default config with a model small enough for tests, and inputs for it."""

from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Boxes, Instances

from skyeye_det.data.instances import pixel_targets
from skyeye_det.engine.setup import load_config

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "",
    "MODEL.TIMM.NAME": "test_efficientnet",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 60,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 40,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 60,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 30,
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 16,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 1,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 8,
    "MODEL.DAMAGE_HEAD.NUM_CONV": 1,
    "MODEL.DAMAGE_HEAD.CONV_DIM": 8,
    "MODEL.DAMAGE_HEAD.FC_DIM": 16,
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
    "INPUT.PAIR.CROP_SIZE": 64,
    "SOLVER.IMS_PER_BATCH": 2,
    "DATALOADER.NUM_WORKERS": 0,
    "TEST.DECISIONS": "",
    "SEED": 1,
}


def tiny_overrides(**changes: Any) -> list[str]:
    """``KEY VALUE`` pairs; a change's key is written with ``__`` for each dot."""
    merged = TINY | {key.replace("__", "."): value for key, value in changes.items()}
    return [str(item) for pair in merged.items() for item in pair]


def tiny_config(**changes: Any) -> CfgNode:
    return load_config(CONFIGS / "xbd_mrcnn.yaml", tiny_overrides(**changes))


def training_input(damage: list[int], side: int = 64, seed: int = 0) -> dict[str, Any]:
    """One pair of noise with a 14 px building for each entry of ``damage``."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (6, side, side), generator=generator, dtype=torch.uint8)
    masks = torch.zeros(len(damage), side, side, dtype=torch.bool)
    boxes = torch.zeros(len(damage), 4)
    for number in range(len(damage)):
        x, y = 4 + 20 * (number % 3), 4 + 20 * (number // 3)
        masks[number, y : y + 14, x : x + 14] = True
        boxes[number] = torch.tensor([x, y, x + 14, y + 14])
    instances = Instances((side, side))
    instances.gt_boxes = Boxes(boxes)
    instances.gt_classes = torch.zeros(len(damage), dtype=torch.int64)
    instances.gt_masks = BitMasks(masks)
    instances.gt_damage = torch.tensor(damage, dtype=torch.int64)
    sem_seg, seams = pixel_targets(instances)
    pixels = {"sem_seg": sem_seg, "seams": seams}
    return {"image": image, "instances": instances, "height": side, "width": side, "image_id": 1, **pixels}
