"""Models with their weights, ready to look at pairs: one, or several whose predictions are merged."""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from torch import nn

from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model
from skyeye_det.errors import InputError
from skyeye_det.modeling.backbones import folded_network
from skyeye_det.prediction.merging import Prediction, merge_predictions
from skyeye_det.prediction.model_output import prediction_from_output
from skyeye_det.prediction.views import parse_views, predict_views

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

PRECISIONS = ("fp32", *_TYPES)
"""float32; or mixed with bfloat16 or float16, as ``torch.autocast`` does it."""


def autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager]:
    """What makes the context in which a model of float32 weights computes in another precision.

    Args:
        precision: one of ``PRECISIONS``.
        device: of the model.

    Raises:
        InputError: no such precision, or float16 on a CPU, which computes it slowly and out of range.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision}")
    if precision == "fp32":
        return nullcontext
    if precision == "fp16" and device.type == "cpu":
        raise InputError("precision fp16: expected a CUDA device, found cpu; take bf16")
    return partial(torch.autocast, device.type, _TYPES[precision])


@dataclass(frozen=True)
class ModelFiles:
    """A trained model on disk, and how it looks at a tile.

    Attributes:
        config_file: its YAML.
        weights: its checkpoint.
        views: test-time augmentation, see ``views.parse_views``.
    """

    config_file: str
    weights: str
    views: str = "none"


def ensemble(
    config_files: Sequence[str], weights: Sequence[str], views: Sequence[str] = ()
) -> list[ModelFiles]:
    """Puts configs, checkpoints and views together: one config and one choice of views for all, or one each.

    Without views every model sees the tile as it is.

    Raises:
        InputError: neither as many configs or views as checkpoints nor a single one.
    """
    count = len(weights)
    views = views or [ModelFiles.views]
    for option, given in (("--config-file", config_files), ("--tta", views)):
        if len(given) not in (1, count):
            raise InputError(
                f"{option}: expected one, or one for each of {count} --weights, found {len(given)}"
            )
    every = [[*given] * (1 if len(given) == count else count) for given in (config_files, views)]
    return [ModelFiles(*each) for each in zip(every[0], weights, every[1], strict=True)]


class PairPredictor:
    """One model or several, with weights, ready to look at pairs.

    Args:
        models: config of ``load_config`` and checkpoint of each; see ``SkyeyeCheckpointer`` for what is
            accepted. What several find is merged.
        views: how each looks at a tile, see ``views.parse_views``; empty: all as it is.
        precision: one of ``PRECISIONS``. bf16 takes 0.6 of the time where the processor computes in it, see
            docs/speed.md.

    Raises:
        InputError: weights are missing, no checkpoint, or of another model; the models expect different
            channel orders; there are no such views; or the device has no such precision.
    """

    def __init__(
        self,
        models: Sequence[tuple[CfgNode, str]],
        views: Sequence[str] = (),
        precision: str = "fp32",
    ):
        formats = {cfg.INPUT.FORMAT for cfg, _ in models}
        if len(formats) > 1:
            raise InputError(
                f"INPUT.FORMAT: expected one channel order in an ensemble, found {sorted(formats)}; "
                "infer with each model by itself"
            )
        self.views = [parse_views(text) for text in views or ["none"] * len(models)]
        self.autocast = autocast(precision, torch.device(models[0][0].MODEL.DEVICE))
        self.models = [build_pair_model(cfg).eval() for cfg, _ in models]
        for model, (_, weights) in zip(self.models, models, strict=True):
            SkyeyeCheckpointer(model).load_whole_model(weights)
            fold_batch_norm(model)

    @property
    def has_scores(self) -> bool:
        """Whether its predictions have scored instances: a semantic model's regions are all painted."""
        return any(isinstance(model, GeneralizedRCNN) for model in self.models)

    @torch.inference_mode()
    def __call__(self, pair: dict[str, Any]) -> Prediction:
        """Predicts one pair; ``pair`` as ``PairMapper`` gives it, with ``image`` uint8 (6, H, W)."""
        with self.autocast():
            found = [
                predict_views(partial(_predict, model), pair, views)
                for model, views in zip(self.models, self.views, strict=True)
            ]
        return merge_predictions(found)


def fold_batch_norm(model: nn.Module) -> None:
    """Spares the backbone its BatchNorms, a fifth of the time on a CPU, where they can be folded.

    Args:
        model: in evaluation mode, changed in place; a model without ROI heads stays as it is.
    """
    if not isinstance(model, GeneralizedRCNN):
        return
    ramp = torch.linspace(-2, 2, 64, device=model.device)
    sample = torch.zeros(1, len(model.pixel_mean), 64, 64, device=model.device) + ramp
    try:
        model.backbone = folded_network(model.backbone, sample)
    except InputError as error:  # the same results, without the gain
        logging.getLogger(__name__).info("%s", error)


def _predict(model: nn.Module, pair: dict[str, Any]) -> Prediction:
    return prediction_from_output(model([pair])[0])
