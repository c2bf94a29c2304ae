"""The model of a config and detectron2's stock Mask R-CNN beside it, with equal weights. Needs torch."""

import torch
from detectron2.config import CfgNode
from detectron2.modeling import (
    FPN,
    GeneralizedRCNN,
    build_backbone,
    build_proposal_generator,
    build_roi_heads,
)
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import nn

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError

_PACKAGED = "packaged://"
_SEED = 3


def with_detections(cfg: CfgNode, count: int | None) -> CfgNode:
    """The config changed so that every tile gives ``count`` detections, or as it is where that is None.

    Nothing is suppressed and no score is too low, so the ``count`` best proposals are the detections of any
    model with any weights: with random ones the thresholds of the config would let through as many as chance
    has it, and another number in each model. A hybrid adds what components of its map they leave uncovered.
    """
    if count is None:
        return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.RPN.NMS_THRESH = cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST = 1.0
    cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST = 0.0
    cfg.MODEL.RPN.PRE_NMS_TOPK_TEST = max(cfg.MODEL.RPN.PRE_NMS_TOPK_TEST, count)
    cfg.MODEL.RPN.POST_NMS_TOPK_TEST = max(cfg.MODEL.RPN.POST_NMS_TOPK_TEST, count)
    cfg.TEST.DETECTIONS_PER_IMAGE = count
    cfg.freeze()
    return cfg


def weighted_model(cfg: CfgNode, weights: str) -> nn.Module:
    """The model of a config on its device, in training mode.

    Args:
        cfg: of ``load_config``.
        weights: checkpoint of training; where it is empty, the backbone's packaged weights are loaded if the
            config names some, and all others are random.

    Raises:
        InputError: as ``build_pair_model`` and ``SkyeyeCheckpointer``.
    """
    torch.manual_seed(_SEED)
    model = build_pair_model(cfg)
    if weights:
        SkyeyeCheckpointer(model).load_whole_model(weights)
    elif cfg.MODEL.WEIGHTS.startswith(_PACKAGED):
        SkyeyeCheckpointer(model).load(cfg.MODEL.WEIGHTS)
    return model


def stock_model(cfg: CfgNode, ours: nn.Module) -> tuple[GeneralizedRCNN, bool]:
    """GeneralizedRCNN with StandardROIHeads over the plain FPN of the same network, for one image.

    Backbone, widths, anchors, numbers of proposals and thresholds are the config's; it differs from ours by
    what SkyEye adds.

    Args:
        cfg: of ``ours``.
        ours: the model whose weights it takes over, by name.

    Returns:
        (the model on ``ours``' device in training mode, whether each of its weights came from ``ours``).

    Raises:
        InputError: ``ours`` is no model of proposals and ROI heads.
    """
    if not (hasattr(ours, "roi_heads") and hasattr(ours, "proposal_generator")):
        raise InputError(
            f"--configs: expected models with ROI heads, found {cfg.MODEL.META_ARCHITECTURE}; semantic ones "
            "are given by --peer"
        )
    plain = cfg.clone()
    plain.defrost()
    plain.MODEL.PROPOSAL_GENERATOR.NAME = "RPN"
    plain.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    plain.MODEL.ROI_MASK_HEAD.NAME = "MaskRCNNConvUpsampleHead"
    plain.MODEL.PIXEL_MEAN, plain.MODEL.PIXEL_STD = cfg.MODEL.PIXEL_MEAN[:3], cfg.MODEL.PIXEL_STD[:3]
    backbone = FPN(
        bottom_up=build_backbone(cfg).bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )
    model = GeneralizedRCNN(
        backbone=backbone,
        proposal_generator=build_proposal_generator(plain, backbone.output_shape()),
        roi_heads=build_roi_heads(plain, backbone.output_shape()),
        pixel_mean=plain.MODEL.PIXEL_MEAN,
        pixel_std=plain.MODEL.PIXEL_STD,
        input_format=cfg.INPUT.FORMAT,
    ).to(cfg.MODEL.DEVICE)
    whole = _take_weights(model, ours)
    return (model.to(memory_format=torch.channels_last) if cfg.MODEL.DEVICE == "cpu" else model), whole


def _take_weights(model: nn.Module, source: nn.Module) -> bool:
    own, theirs = model.state_dict(), source.state_dict()
    taken = {
        key: theirs[key] for key, value in own.items() if key in theirs and theirs[key].shape == value.shape
    }
    model.load_state_dict(taken, strict=False)
    return len(taken) == len(own)
