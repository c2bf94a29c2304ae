"""Pieces of work that are timed: a tile through a model, a training iteration. Needs torch."""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import GeneralizedRCNN
from detectron2.utils.events import EventStorage
from skyeye_det.benchmark.model_inputs import Inputs
from skyeye_det.benchmark.model_options import Precision
from skyeye_det.benchmark.model_stages import POSTPROCESSING, StageClock, watched_stages
from torch import nn

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.prediction.model_output import prediction_from_output
from skyeye_det.xview2.submission import write_submission_pngs

_SEED = 5
_TINY_RATE = 1e-8
"""Learning rate: a step costs the same at any, and with this one every iteration is the first."""


class PairRun:
    """Inference on tiles, to the PNGs of the submission; seconds are those of a tile.

    Args:
        model: PairRCNN, HybridRCNN or a semantic model, in evaluation mode.
        inputs: whole tiles.
        rule: decides what is painted.
        folder: where the PNGs go.
        synchronize: waits for the device.
        precision: makes the context in which the model is called.

    Attributes:
        post_seconds: of a tile's post-processing, one entry a run.
        detections: instances a tile in the last run; 0 for a semantic model.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        rule: DecisionRule,
        folder: Path,
        synchronize: Callable[[], None],
        precision: Precision = nullcontext,
    ) -> None:
        self.model, self.inputs, self.rule, self.folder = model, inputs, rule, folder
        self.synchronize, self.precision = synchronize, precision
        self.post_seconds: list[float] = []
        self.detections = 0.0

    def __call__(self) -> None:
        """One run over all tiles."""
        post, found = 0.0, 0
        for pair in self.inputs:
            output = self._output(pair)
            self.synchronize()
            start = time.perf_counter()
            self._write(pair, output)
            post += time.perf_counter() - start
            found += len(output.get("instances", ()))
        self.post_seconds.append(post / len(self.inputs))
        self.detections = found / len(self.inputs)

    def stages(self) -> dict[str, float]:
        """Seconds of each stage of one run; waiting for the device at each costs some of it."""
        clock = StageClock(self.synchronize)
        with watched_stages(self.model, clock):
            for pair in self.inputs:
                output = self._output(pair)
                with clock.stage(POSTPROCESSING):
                    self._write(pair, output)
        return {stage: seconds / len(self.inputs) for stage, seconds in clock.seconds.items()}

    @torch.inference_mode()
    def _output(self, pair: dict[str, Any]) -> dict[str, Any]:
        with self.precision():
            return self.model([pair])[0]

    def _write(self, pair: dict[str, Any], output: Mapping[str, Any]) -> None:
        prediction = prediction_from_output(output)
        write_submission_pngs(self.folder, pair["scene"], *prediction.rasterize(self.rule))


class StockRun:
    """Inference of the stock model on pre images.

    Args:
        model: GeneralizedRCNN in evaluation mode.
        inputs: of ``pre_images``.
        synchronize: waits for the device.
        pasted: paste each mask into an image of the tile's size, as detectron2 does by itself.

    Attributes:
        detections: instances a tile in the last run.
    """

    def __init__(
        self, model: GeneralizedRCNN, inputs: Inputs, synchronize: Callable[[], None], pasted: bool
    ) -> None:
        self.model, self.inputs, self.synchronize, self.pasted = model, inputs, synchronize, pasted
        self.detections = 0.0

    @torch.inference_mode()
    def __call__(self) -> None:
        """One run over all tiles."""
        found = 0
        for image in self.inputs:
            if self.pasted:
                instances = self.model([image])[0]["instances"]
            else:
                instances = self.model.inference([image], do_postprocess=False)[0]
            found += len(instances)
        self.synchronize()
        self.detections = found / len(self.inputs)

    @torch.inference_mode()
    def stages(self) -> dict[str, float]:
        """As ``PairRun.stages``."""
        clock = StageClock(self.synchronize)
        with watched_stages(self.model, clock):
            for image in self.inputs:
                with clock.stage("rest"):
                    self.model.inference([image], do_postprocess=False)
        return {stage: seconds / len(self.inputs) for stage, seconds in clock.seconds.items()}


class TrainingRun:
    """Iterations on one batch: forward, backward, optimiser step.

    Args:
        cfg: reads ``SOLVER``; its learning rate is not used.
        model: in training mode.
        batch: of ``training_batch``, or ``pre_images`` of it.
        synchronize: waits for the device.
        precision: makes the context of the forward pass.
    """

    def __init__(
        self,
        cfg: CfgNode,
        model: nn.Module,
        batch: Inputs,
        synchronize: Callable[[], None],
        precision: Precision = nullcontext,
    ) -> None:
        slow = cfg.clone()
        slow.defrost()
        slow.SOLVER.BASE_LR = _TINY_RATE
        self.model, self.batch = model, batch
        self.synchronize, self.precision = synchronize, precision
        self.optimizer = PairTrainer.build_optimizer(slow, model)

    def __call__(self) -> None:
        """One iteration; the same proposals are sampled in each."""
        torch.manual_seed(_SEED)
        with EventStorage(), self.precision():
            losses = sum(self.model(self.batch).values())
        self.optimizer.zero_grad()
        losses.backward()
        self.optimizer.step()
        self.synchronize()
