"""Models with their weights: one, or several whose predictions are merged, from windows to predictions."""

import ctypes
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch import nn

from skyeye_det.decision.rule import DecisionRule, read_rule
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.model_files import ModelFiles, ensemble
from skyeye_det.engine.precision import autocast
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.files import files_sha256
from skyeye_det.modeling.folding import fold_batch_norms
from skyeye_det.modeling.pair_rcnn import PairRCNN
from skyeye_det.prediction.footprints import Footprints, mean_damage
from skyeye_det.prediction.merging import merge_predictions, pooled_damage
from skyeye_det.prediction.prediction import (
    InstancePrediction,
    PixelPrediction,
    Prediction,
    prediction_from_output,
)
from skyeye_det.prediction.views import View, parse_views, predict_views
from skyeye_det.released import ReleasedModel, released_model

_LARGEST_BATCH = 4
_PIXEL_BYTES = 3 << 10  # of a GPU: twice what a window of 1,024 px with 1,000 detections took, docs/speed.md


class Models:
    """One model or several, with weights, ready to see windows; what several find is merged.

    Args:
        files: of each model.
        overrides: ``KEY VALUE ...`` of the configs.
        precision: one of ``precision.PRECISIONS``. bf16 takes 0.6 of the time where the processor computes in
            it, see docs/speed.md.
        released: whose rules count; None: those that the configs name.

    Attributes:
        networks: of each model; none before they are loaded.
        full_windows: looks so far in which a network found as many instances as ``TEST.DETECTIONS_PER_IMAGE``
            allows.

    Raises:
        InputError: a config or its weights are missing or not what they should be, the models expect
            different channel orders, or there are no such views or precision.
    """

    def __init__(
        self,
        files: Sequence[ModelFiles],
        overrides: Sequence[str] = (),
        precision: str = "fp32",
        released: ReleasedModel | None = None,
    ):
        self._released = released
        self.files, self._overrides, self._precision = tuple(files), tuple(overrides), precision
        self.configs = [load_config(each.config_file, overrides) for each in files]
        formats = {cfg.INPUT.FORMAT for cfg in self.configs}
        if len(formats) > 1:
            raise InputError(
                f"INPUT.FORMAT: expected one channel order in an ensemble, found {sorted(formats)}; "
                "infer with each model by itself"
            )
        self._views = [parse_views(each.views) for each in files]
        self._autocast = autocast(precision, torch.device(self.configs[0].MODEL.DEVICE))
        self.networks: list[nn.Module] = []
        self.full_windows = 0

    def __reduce__(self) -> tuple[Any, ...]:
        """Other processes get files and settings, no weights: they build networks on their own devices."""
        return Models, (
            [each.absolute() for each in self.files],
            self._overrides,
            self._precision,
            self._released,
        )

    @property
    def cfg(self) -> CfgNode:
        """Config of the first, by which images are read."""
        return self.configs[0]

    def rule(self, purpose: str) -> DecisionRule:
        """The released rule for one of ``released.PURPOSES``, or the one that the configs name for all.

        Raises:
            InputError: they name different ones, or one that cannot be read.
        """
        if self._released is not None:
            return read_rule(self._released.rule(purpose))
        rules = {cfg.TEST.DECISIONS: read_rule(cfg.TEST.DECISIONS) for cfg in self.configs}
        if len(set(rules.values())) > 1:
            raise InputError(
                "--decisions: expected a rule for these models together, found one for each:"
                f" {', '.join(rules)}; name one of configs/decisions, or tune one with"
                " tools/tune_postprocess.py"
            )
        return next(iter(rules.values()))

    def origin(self) -> dict[str, Any]:
        """What predictions come from, as JSON values; ``weights`` is for people: the files may move."""
        weights = [each.weights for each in self.files]
        hashes = [
            files_sha256([Path(path)], named=False) if Path(path).is_file() else None for path in weights
        ]
        return {
            "weights": weights,
            "weights_sha256": hashes,
            "config": [_decisive(cfg) for cfg in self.configs],
            "views": [each.views for each in self.files],
            "precision": self._precision,
        }

    def load(self) -> "Models":
        """Builds the networks and reads their weights, once; InputError where these do not fit."""
        if not self.networks:
            self.networks = [_network(*each) for each in zip(self.configs, self.files, strict=True)]
        return self

    def batch_size(self, pixels: int) -> int:
        """How many windows of so many pixels are best predicted at once: on a GPU what its memory holds."""
        device = torch.device(self.cfg.MODEL.DEVICE)
        if device.type != "cuda":
            return 1
        free, _ = torch.cuda.mem_get_info(device)
        return max(1, min(_LARGEST_BATCH, free // (pixels * _PIXEL_BYTES)))

    def predict(self, image: np.ndarray) -> Prediction:
        """Predicts one window.

        Args:
            image: uint8 (6, h, w), pre-disaster channels first, in the order of ``INPUT.FORMAT``.
        """
        return self.predict_batch([image])[0]

    @torch.inference_mode()
    def predict_batch(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predicts windows of one size at once; each image as for ``predict``."""
        self.load()
        with self._autocast():
            found = [
                predict_views(partial(self._seen, network, cfg), images, views)
                for network, cfg, views in zip(self.networks, self.configs, self._views, strict=True)
            ]
        _return_memory()
        return [merge_predictions(each) for each in zip(*found, strict=True)]

    def _seen(self, network: nn.Module, cfg: CfgNode, images: list[np.ndarray]) -> list[Prediction]:
        """One look of one network."""
        return [self._counted(each, cfg) for each in predict_windows(network, images)]

    def _counted(self, seen: Prediction, cfg: CfgNode) -> Prediction:
        """The same, counted where it has as many instances as it may."""
        if isinstance(seen, InstancePrediction):
            self.full_windows += np.count_nonzero(~seen.is_component) >= cfg.TEST.DETECTIONS_PER_IMAGE
        return seen

    def classify(self, image: np.ndarray, footprints: Footprints) -> InstancePrediction:
        """Classifies the damage of known buildings in one window; arguments as for ``predict``.

        Raises:
            InputError: a model of instances with views, in which its footprints would have to be turned too.
        """
        return self._classified(image, footprints, finds=False)[1]

    def predict_and_classify(
        self, image: np.ndarray, footprints: Footprints
    ) -> tuple[Prediction, InstancePrediction]:
        """What ``predict`` and ``classify`` give, by one look instead of two."""
        found, known = self._classified(image, footprints, finds=True)
        return merge_predictions(found), known

    @torch.inference_mode()
    def _classified(
        self, image: np.ndarray, footprints: Footprints, finds: bool
    ) -> tuple[list[Prediction], InstancePrediction]:
        self.load()
        found: list[Prediction] = []
        probs = []
        with self._autocast():
            for network, cfg, views, files in zip(
                self.networks, self.configs, self._views, self.files, strict=True
            ):
                if isinstance(network, PairRCNN):
                    if views != (View(),):
                        raise InputError(
                            f"--tta: expected none with --footprints, found {files.views}; leave it out"
                        )
                    images, features = network.look([as_input(image)])
                    (known,) = network.classify(features, [_as_instances(footprints, image)])
                    probs.append(known.pred_damage_probs.float().cpu().numpy())
                    if finds:
                        (output,) = network.find(images, features)
                        found.append(self._counted(prediction_from_output(output), cfg))
                else:
                    (seen,) = predict_views(partial(predict_windows, network), [image], views)
                    assert isinstance(seen, PixelPrediction)
                    probs.append(mean_damage(seen.damage_map, footprints.crops))
                    found.append(seen)
        _return_memory()
        return found, footprints.prediction(pooled_damage(probs))


def open_models(
    name: str,
    *,
    config_files: Sequence[str] = (),
    weights: Sequence[str] = (),
    views: Sequence[str] = (),
    overrides: Sequence[str] = (),
    precision: str = "fp32",
) -> Models:
    """The models of these files or, where none are given, the released one of a name, in its own views.

    Raises:
        InputError: see ``ensemble``, ``released_model`` and ``Models``.
    """
    if config_files or weights:
        return Models(ensemble(config_files, weights, views), overrides, precision)
    released = released_model(name)
    files = ensemble(released.config_files, released.weights, views or released.card.views)
    return Models(files, overrides, precision, released)


def predict_windows(network: nn.Module, images: Sequence[np.ndarray]) -> list[Prediction]:
    """What a network sees in each uint8 (6, h, w) of one size."""
    return [prediction_from_output(output) for output in network([as_input(each) for each in images])]


def _return_memory() -> None:
    """Gives freed memory back to the system: the pieces that windows leave add up to half a gigabyte."""
    with suppress(AttributeError, OSError):  # of glibc alone
        ctypes.CDLL(None).malloc_trim(0)


def _network(cfg: CfgNode, files: ModelFiles) -> nn.Module:
    network = build_pair_model(cfg).eval()
    SkyeyeCheckpointer(network).load_whole_model(files.weights)
    fold_batch_norms(network)
    return network


def as_input(image: np.ndarray) -> dict[str, Any]:
    """A network's input dict for uint8 (6, h, w)."""
    tensor = torch.from_numpy(np.ascontiguousarray(image))
    return {"image": tensor, "height": image.shape[1], "width": image.shape[2]}


def _as_instances(footprints: Footprints, image: np.ndarray) -> Instances:
    given = Instances((image.shape[1], image.shape[2]))
    given.pred_boxes = Boxes(torch.from_numpy(footprints.boxes))
    given.pred_masks = torch.from_numpy(footprints.masks).float().div(255)[:, None]
    return given


def _decisive(cfg: CfgNode) -> dict[str, Any]:
    """The keys on which it depends what a trained model finds, as JSON values."""
    model = json.loads(json.dumps(cfg.MODEL))
    del model["DEVICE"], model["WEIGHTS"], model["DAMAGE_HEAD"]["EVIDENCE_WEIGHTS"]  # what it began with
    limit = {"DETECTIONS_PER_IMAGE": cfg.TEST.DETECTIONS_PER_IMAGE}
    return {"MODEL": model, "INPUT": {"FORMAT": cfg.INPUT.FORMAT}, "TEST": limit}
