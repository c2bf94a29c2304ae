"""Every config key that SkyEye adds to detectron2's defaults, with its meaning and unit."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def add_skyeye_config(cfg: "CfgNode") -> None:
    """Adds SkyEye's keys to ``cfg`` in place.

    ``MODEL.BACKBONE.FREEZE_AT`` also counts the feature stages of a timm network whose weights stay as they
    are (0: none, 1: all up to stride 2, 2: up to stride 4, ...).

    Images are stacked as six channels, pre-disaster first; ``MODEL.PIXEL_MEAN`` and ``MODEL.PIXEL_STD``
    therefore hold six numbers, in the order of ``INPUT.FORMAT``.
    """
    from detectron2.config import CfgNode

    # --- Backbone: a timm network by name, used by build_siamese_timm_fpn_backbone.
    cfg.MODEL.TIMM = CfgNode()
    cfg.MODEL.TIMM.NAME = "tf_efficientnet_lite0"
    # "FrozenBN" keeps the BatchNorm statistics of the loaded weights; "BN" learns them, as it must without
    # weights. Of the encoders of semantic models, too.
    cfg.MODEL.TIMM.NORM = "FrozenBN"

    # --- Damage head: pre and post features of one building -> ordinal damage.
    cfg.MODEL.DAMAGE_HEAD = CfgNode()
    # "concat", "concat_diff" or "attention": see skyeye_det.modeling.fusion.
    cfg.MODEL.DAMAGE_HEAD.FUSION = "concat_diff"
    # "corn", "coral" or "cross_entropy": see skyeye_det.modeling.damage_head.
    cfg.MODEL.DAMAGE_HEAD.ORDINAL = "corn"
    cfg.MODEL.DAMAGE_HEAD.POOLER_RESOLUTION = 7
    # The box is enlarged by this factor around its centre before pooling: debris, water and ash lie beside a
    # building.
    cfg.MODEL.DAMAGE_HEAD.CONTEXT_SCALE = 1.4
    # "none", or "correlation", which brings post features onto pre: see skyeye_det.modeling.alignment.
    cfg.MODEL.DAMAGE_HEAD.ALIGNMENT = "none"
    # Read the building's own pixels and its surroundings apart, by its mask.
    cfg.MODEL.DAMAGE_HEAD.MASK_POOLING = False
    # Buildings of a tile attend to each other before they are graded.
    cfg.MODEL.DAMAGE_HEAD.OBJECT_CONTEXT = False
    # The head begins from the mean grade of a building's pixels, see skyeye_det.modeling.damage_map.
    cfg.MODEL.DAMAGE_HEAD.DENSE_EVIDENCE = False
    # Checkpoint of a semantic FPN whose damage half the map begins with; "": it begins with MODEL.WEIGHTS.
    cfg.MODEL.DAMAGE_HEAD.EVIDENCE_WEIGHTS = ""
    cfg.MODEL.DAMAGE_HEAD.NUM_CONV = 2
    cfg.MODEL.DAMAGE_HEAD.CONV_DIM = 128
    cfg.MODEL.DAMAGE_HEAD.FC_DIM = 256
    # Weight of the loss of a building, in semantic models of a pixel, by its true grade: no-damage, minor,
    # major, destroyed.
    cfg.MODEL.DAMAGE_HEAD.CLASS_WEIGHTS = [1.0, 1.0, 1.0, 1.0]

    # --- Losses of pixels, as [target, kind, weight]: targets building, seam and damage, kinds of
    # skyeye_det.modeling.pixel_losses. Read where there is a semantic head.
    cfg.MODEL.SEM_SEG_HEAD.LOSSES = [
        ["building", "bce", 1.0],
        ["building", "dice", 1.0],
        ["seam", "bce", 0.5],
    ]

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

    # --- YAML of tools/tune_postprocess.py with thresholds and decision rule, a path beside the config that
    # names it (on a command line: from where one stands); "" takes the defaults of
    # skyeye_det.decision.rule.
    cfg.TEST.DECISIONS = ""

    # --- Weights & Biases.
    cfg.WANDB = CfgNode()
    cfg.WANDB.ENABLED = False

    # --- Keys of earlier versions, which their configs still have; they change nothing.
    for key in ("MODEL.DAMAGE_HEAD.LOSS_WEIGHT", "WANDB.PROJECT"):
        cfg.register_deprecated_key(key)
