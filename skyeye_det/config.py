"""Every config key that SkyEye adds to detectron2's defaults, with its meaning and unit."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode

PAINT_SCORE_THRESHOLD = 0.6
"""Default of ``TEST.PAINT_SCORE_THRESH``: least score of an instance that counts as a building."""


def add_skyeye_config(cfg: "CfgNode") -> None:
    """Adds SkyEye's keys to ``cfg`` in place.

    Images are stacked as six channels, pre-disaster first; ``MODEL.PIXEL_MEAN`` and ``MODEL.PIXEL_STD``
    therefore hold six numbers, in the order of ``INPUT.FORMAT``.
    """
    from detectron2.config import CfgNode

    # --- Backbone: a timm network by name, used by build_siamese_timm_fpn_backbone.
    cfg.MODEL.TIMM = CfgNode()
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    # Feature stages whose weights stay as they are (0: none, 1: all up to stride 2, 2: up to stride 4, ...).
    cfg.MODEL.TIMM.FREEZE_AT = 1
    # "FrozenBN" keeps the BatchNorm statistics of the loaded weights; "BN" learns them, as it must without
    # weights.
    cfg.MODEL.TIMM.NORM = "FrozenBN"

    # --- Damage head: pre and post features of one building -> ordinal damage.
    cfg.MODEL.DAMAGE_HEAD = CfgNode()
    # "concat", "concat_diff" or "attention": see skyeye_det.modeling.fusion.
    cfg.MODEL.DAMAGE_HEAD.FUSION = "concat_diff"
    # "corn", "coral" or "cross_entropy": see skyeye_det.modeling.ordinal.
    cfg.MODEL.DAMAGE_HEAD.ORDINAL = "corn"
    cfg.MODEL.DAMAGE_HEAD.POOLER_RESOLUTION = 7
    cfg.MODEL.DAMAGE_HEAD.POOLER_SAMPLING_RATIO = 2
    # The box is enlarged by this factor around its centre before pooling: debris, water and ash lie beside a
    # building.
    cfg.MODEL.DAMAGE_HEAD.CONTEXT_SCALE = 1.4
    cfg.MODEL.DAMAGE_HEAD.NUM_CONV = 2
    cfg.MODEL.DAMAGE_HEAD.CONV_DIM = 128
    cfg.MODEL.DAMAGE_HEAD.FC_DIM = 256
    # Weight of the loss of a building by its true grade: no-damage, minor, major, destroyed.
    cfg.MODEL.DAMAGE_HEAD.CLASS_WEIGHTS = [1.0, 1.0, 1.0, 1.0]
    cfg.MODEL.DAMAGE_HEAD.LOSS_WEIGHT = 1.0

    # --- Augmentation of a pair (training only).
    cfg.INPUT.PAIR = CfgNode()
    # Side of the square training crop, in px after scaling.
    cfg.INPUT.PAIR.CROP_SIZE = 512
    # Share of crops placed on a building, rare grades first; the others fall anywhere in the tile.
    cfg.INPUT.PAIR.CROP_BUILDING_PROB = 0.8
    # Range of the random scale factor.
    cfg.INPUT.PAIR.SCALE_RANGE = [0.8, 1.25]
    # Strength of brightness, contrast, saturation and noise, drawn for each image apart: 0 (none) to 1.
    cfg.INPUT.PAIR.PHOTOMETRIC = 0.3
    # Largest random shift of the post image against the pre image, in px of the tile, along each axis.
    cfg.INPUT.PAIR.MAX_SHIFT = 3

    # --- Solver: "SGD" (detectron2's default) or "AdamW".
    cfg.SOLVER.OPTIMIZER = "SGD"

    # --- Competition PNGs: a pixel is painted where the instance's score reaches the first, and score times
    # mask probability the second. Chosen on training tiles, for localization F1.
    cfg.TEST.PAINT_SCORE_THRESH = PAINT_SCORE_THRESHOLD
    cfg.TEST.PAINT_PIXEL_THRESH = 0.35

    # --- Weights & Biases.
    cfg.WANDB = CfgNode()
    cfg.WANDB.ENABLED = False
    cfg.WANDB.PROJECT = "skyeye_det"
    # Prediction pictures logged at each evaluation.
    cfg.WANDB.NUM_PICTURES = 4
