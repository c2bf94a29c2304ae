"""One backbone with shared weights that sees the pre and the post image of a pair.

Shapes: N pairs, H x W px, C channels of the pyramid. Input is (N, 6, H, W), pre-disaster channels first.
Output maps ``p2..p6`` (pre) and ``p2_post..p6_post`` (post) to (N, C, H / stride, W / stride).
"""

import timm
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, FPN, Backbone
from detectron2.modeling.backbone import build_resnet_backbone
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn

from skyeye_det.errors import InputError
from skyeye_det.modeling.encoders import reached

POST_SUFFIX = "_post"
"""Feature ``p2`` is of the pre image, ``p2_post`` of the post image."""

_STRIDES = (4, 8, 16, 32)
_PROBE_SIDE = 64  # px, twice the coarsest stride


class TimmBackbone(Backbone):
    """Any timm network with ``features_only`` as detectron2 backbone; ``res2..res5`` have strides 4..32.

    Args:
        name: timm's name of the network.
        freeze_at: how many of timm's feature stages (the first has stride 2) keep their weights.
        norm: ``"FrozenBN"`` fixes the BatchNorm statistics and weights, ``"BN"`` trains them.

    Raises:
        InputError: timm has no such network, it lacks the strides 4..32, or ``freeze_at`` or ``norm`` is
            unknown.
    """

    def __init__(self, name: str, freeze_at: int = 0, norm: str = "FrozenBN"):
        super().__init__()
        if norm not in ("FrozenBN", "BN"):
            raise InputError(f"MODEL.TIMM.NORM: expected FrozenBN or BN, found {norm!r}")
        if not timm.is_model(name):
            raise InputError(
                f"MODEL.TIMM.NAME: expected a network of timm {timm.__version__}, found {name!r}; "
                "python -c 'import timm; print(timm.list_models())' lists them"
            )
        try:
            network = timm.create_model(name, features_only=True, pretrained=False)
        except (AttributeError, RuntimeError) as error:
            raise InputError(
                f"MODEL.TIMM.NAME: expected a network that timm gives with features_only, found {name!r} "
                f"({error})"
            ) from error
        stages = network.feature_info
        reductions = stages.reduction()
        if not set(_STRIDES) <= set(reductions):
            raise InputError(
                f"MODEL.TIMM.NAME: expected a network with feature strides {_STRIDES}, found {reductions} in "
                f"{name!r}"
            )
        if not 0 <= freeze_at <= len(reductions):
            raise InputError(
                f"MODEL.BACKBONE.FREEZE_AT: expected 0..{len(reductions)}, the stages of {name}, found "
                f"{freeze_at}"
            )
        if freeze_at:
            _freeze_behind(network, freeze_at - 1)
        self.network = freeze_batch_norm_2d(network) if norm == "FrozenBN" else network
        self._indices = [reductions.index(stride) for stride in _STRIDES]
        self._shapes = {
            f"res{level}": ShapeSpec(channels=stages.channels()[index], stride=stride)
            for level, index, stride in zip(range(2, 6), self._indices, _STRIDES, strict=True)
        }

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps (N, 3, H, W) to ``res2..res5``."""
        features = self.network(images)
        return {name: features[index] for name, index in zip(self._shapes, self._indices, strict=True)}

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output."""
        return self._shapes


def _freeze_behind(network: nn.Module, stage: int) -> None:
    """Fixes the parameters that the features of a stage follow from, whatever the layers are called."""
    was_training = network.training
    parameters = list(network.parameters())
    features = network.eval()(torch.zeros(1, 3, _PROBE_SIDE, _PROBE_SIDE))
    for parameter, is_behind in zip(
        parameters, reached(features[stage : stage + 1], parameters), strict=True
    ):
        parameter.requires_grad_(not is_behind)
    network.train(was_training)


class SiameseFPN(FPN):
    """FPN that runs the pre and the post image as one batch through the same weights.

    Its state dict has the keys of a plain FPN, so weights of ordinary detectors load without renaming.
    """

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps (N, 6, H, W) to ``p*`` and ``p*_post``; see the module's docstring."""
        features = super().forward(torch.cat(x.chunk(2, dim=1)))
        pre = {name: both.chunk(2)[0] for name, both in features.items()}
        post = {name + POST_SUFFIX: both.chunk(2)[1] for name, both in features.items()}
        return pre | post

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each output."""
        shapes = super().output_shape()
        return shapes | {name + POST_SUFFIX: shape for name, shape in shapes.items()}


def _build_fpn(cfg: CfgNode, bottom_up: Backbone) -> SiameseFPN:
    return SiameseFPN(
        bottom_up=bottom_up,
        in_features=cfg.MODEL.FPN.IN_FEATURES,
        out_channels=cfg.MODEL.FPN.OUT_CHANNELS,
        norm=cfg.MODEL.FPN.NORM,
        top_block=LastLevelMaxPool(),
        fuse_type=cfg.MODEL.FPN.FUSE_TYPE,
    )


@BACKBONE_REGISTRY.register()
def build_siamese_timm_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> SiameseFPN:
    """SiameseFPN over the timm network ``MODEL.TIMM.NAME``."""
    del input_shape  # six channels a pair, three for the network
    return _build_fpn(
        cfg, TimmBackbone(cfg.MODEL.TIMM.NAME, cfg.MODEL.BACKBONE.FREEZE_AT, cfg.MODEL.TIMM.NORM)
    )


@BACKBONE_REGISTRY.register()
def build_siamese_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> SiameseFPN:
    """SiameseFPN over detectron2's ResNet (``MODEL.RESNETS``)."""
    del input_shape
    return _build_fpn(cfg, build_resnet_backbone(cfg, ShapeSpec(channels=3)))
