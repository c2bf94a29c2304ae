"""Training on pairs with detectron2's engine."""

import argparse
import logging
import re
import weakref
from collections import OrderedDict
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultTrainer, hooks
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators
from detectron2.solver import build_optimizer
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from detectron2.utils.events import EventWriter, get_event_storage
from torch import nn
from torch.utils.data import DataLoader

from skyeye_det.data.loading import build_pair_test_loader, build_pair_train_loader
from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.checkpoint import BEST_CHECKPOINT, SkyeyeCheckpointer
from skyeye_det.engine.checkpoint_hooks import BestCheckpointer, MeanCheckpointer
from skyeye_det.engine.evaluators import BuildingEvaluator, DecidingModel, XView2Evaluator
from skyeye_det.engine.faults import faults_reported
from skyeye_det.engine.pictures import PictureEvaluator
from skyeye_det.engine.setup import build_pair_model, check_training, load_config, set_up, settings_put_back
from skyeye_det.engine.wandb_writer import WandbWriter
from skyeye_det.errors import InputError
from skyeye_det.files import sole_writer

SCORE = "xview2/score"
"""The metric by which the best checkpoint is kept."""


class PairTrainer(DefaultTrainer):
    """DefaultTrainer with the pair loaders, safe checkpoints, the xView2 score and exact resuming.

    A run that was killed and resumed sees the samples and random numbers that an uninterrupted run would have
    seen, from its last checkpoint on: both follow from the seed and the iteration. ``SEED`` -1 draws a seed,
    which the checkpoints remember.
    """

    def __init__(self, cfg: CfgNode):
        self._seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
        super().__init__(_runnable(cfg, self._seed))
        if cfg.SOLVER.AMP.ENABLED:
            self._use_bfloat16()

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """See ``build_pair_model``."""
        return build_pair_model(cfg)

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """``SOLVER.OPTIMIZER``: detectron2's SGD, or AdamW with the same parameter groups and clipping."""
        if cfg.SOLVER.OPTIMIZER == "SGD":
            return build_optimizer(cfg, model)
        groups = get_default_optimizer_params(
            model,
            base_lr=cfg.SOLVER.BASE_LR,
            weight_decay_norm=cfg.SOLVER.WEIGHT_DECAY_NORM,
            bias_lr_factor=cfg.SOLVER.BIAS_LR_FACTOR,
            weight_decay_bias=cfg.SOLVER.WEIGHT_DECAY_BIAS,
        )
        optimizer = maybe_add_gradient_clipping(cfg, torch.optim.AdamW)
        return optimizer(groups, lr=cfg.SOLVER.BASE_LR, weight_decay=cfg.SOLVER.WEIGHT_DECAY)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> DataLoader:
        """The endless loader of augmented pairs."""
        return build_pair_train_loader(cfg, cfg.DATASETS.TRAIN)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> DataLoader:
        """The loader of whole tiles."""
        return build_pair_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluators:
        """The official score, mask AP, and pictures of the first four tiles."""
        tiles = DatasetCatalog.get(dataset_name)
        return DatasetEvaluators(
            [
                XView2Evaluator(tiles),
                BuildingEvaluator(tiles),
                PictureEvaluator(tiles[:4], cfg.INPUT.FORMAT),
            ]
        )

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: list[DatasetEvaluator] | None = None
    ) -> OrderedDict:
        """DefaultTrainer's, on the buildings that ``TEST.DECISIONS`` makes of what the model predicts."""
        return super().test(cfg, DecidingModel(model, read_rule(cfg.TEST.DECISIONS)), evaluators)

    def _use_bfloat16(self) -> None:
        """Mixed precision in bfloat16, which does not overflow as float16 does, where the device can."""
        model = self._trainer.model
        if self.cfg.MODEL.DEVICE != "cpu":
            if torch.cuda.is_bf16_supported():
                self._trainer.precision = torch.bfloat16
            return
        # Around forward alone, as torch asks for it, and in training alone, as on a GPU.
        forward = model.forward

        def mixed(*inputs: Any) -> Any:
            with torch.autocast("cpu", torch.bfloat16, enabled=model.training):
                return forward(*inputs)

        model.forward = mixed

    def build_hooks(self) -> list[hooks.HookBase | None]:
        """DefaultTrainer's hooks; after evaluation come the best checkpoint, the periodic one and the mean.

        A checkpoint thus knows the best score up to its own iteration, and a resumed run does not overwrite
        it.
        """
        # DefaultTrainer makes a checkpointer of its own and then asks for the hooks that use it.
        self.checkpointer = SkyeyeCheckpointer(
            self._trainer.model, self.cfg.OUTPUT_DIR, trainer=weakref.proxy(self)
        )
        standard = super().build_hooks()
        if not comm.is_main_process():
            return standard
        saving = [hook for hook in standard if isinstance(hook, hooks.PeriodicCheckpointer)]
        writing = [hook for hook in standard if isinstance(hook, hooks.PeriodicWriter)]
        others = [hook for hook in standard if hook not in saving + writing]
        # detectron2 names the metrics after the data set where there are several: the first decides.
        metric = SCORE if len(self.cfg.DATASETS.TEST) == 1 else f"{(*self.cfg.DATASETS.TEST, '')[0]}/{SCORE}"
        best = BestCheckpointer(
            self.cfg.TEST.EVAL_PERIOD, self.checkpointer, metric, file_prefix=BEST_CHECKPOINT
        )
        evaluated = [best] if self.cfg.TEST.EVAL_PERIOD > 0 and self.cfg.DATASETS.TEST else []
        return [*others, *evaluated, *saving, MeanCheckpointer(self.cfg.OUTPUT_DIR), *writing]

    def build_writers(self) -> list[EventWriter]:
        """Weights & Biases where it is on, terminal with ETA, metrics.json, TensorBoard.

        TensorBoard's writer clears the pictures of the event storage, so it comes last.
        """
        wandb = [WandbWriter(self.cfg)] if self.cfg.WANDB.ENABLED else []
        return [*wandb, *super().build_writers()]

    def resume_or_load(self, resume: bool = True) -> None:
        """See DefaultTrainer; a resumed run also goes on in the order of samples."""
        begins = not (resume and self.checkpointer.has_checkpoint())
        super().resume_or_load(resume)
        if begins and (map_weights := self.cfg.MODEL.DAMAGE_HEAD.EVIDENCE_WEIGHTS):
            self.checkpointer.load_damage_map(map_weights)
        if self.start_iter:
            cfg = _runnable(self.cfg, self._seed)
            self._trainer.reset_data_loader(
                lambda: build_pair_train_loader(cfg, cfg.DATASETS.TRAIN, self.start_iter)
            )

    def state_dict(self) -> dict[str, Any]:
        """DefaultTrainer's state and the seed; at the end, the last iteration is the one that was done."""
        return super().state_dict() | {"iteration": min(self.iter, self.max_iter - 1), "seed": self._seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` gave."""
        super().load_state_dict(state_dict)
        self._seed = state_dict.get("seed", self._seed)

    def run_step(self) -> None:
        """One iteration.

        Raises:
            InputError: a loss or prediction became NaN or infinite; names the losses.
        """
        # Proposals are sampled at random: the same draw at this iteration whether or not the run was resumed.
        # The loader draws too when its iterator is made, which for a resumed run is now.
        _ = self._trainer._data_loader_iter
        draw = np.random.SeedSequence((self._seed, self.iter, comm.get_rank()))
        torch.manual_seed(int(draw.generate_state(1)[0]))
        try:
            super().run_step()
        except FloatingPointError as error:
            # numpy writes np.float64(1.5)
            reason = re.sub(r"np\.float\d+\(([^)]*)\)", r"\1", " ".join(str(error).split()))
            latest = {k: round(v, 4) for k, (v, _) in get_event_storage().latest().items() if "loss" in k}
            raise InputError(
                f"training stopped at iteration {self.iter}: {reason}; losses before it: {latest}; "
                "lower SOLVER.BASE_LR and go on with --resume"
            ) from error


def train(args: argparse.Namespace) -> OrderedDict | None:
    """Trains or, with ``args.eval_only``, evaluates; runs in each process of detectron2's ``launch``.

    Args:
        args: of ``detectron2.engine.default_argument_parser``.

    Returns:
        Results of the last evaluation, on the main process.

    Raises:
        InputError: config, data, weights or memory are not what they should be, another run is at
            OUTPUT_DIR or has left checkpoints there, or the losses became NaN.
    """
    cfg = load_config(args.config_file, args.opts)
    if not args.eval_only:
        check_training(cfg, comm.get_world_size(), args.resume)
    claimed = sole_writer(cfg.OUTPUT_DIR) if comm.is_main_process() else nullcontext()
    with claimed, faults_reported():
        if not (args.eval_only or args.resume):
            _require_new(cfg.OUTPUT_DIR)
        with settings_put_back(cfg.OUTPUT_DIR, always=args.eval_only):
            set_up(cfg, args)
            if args.eval_only:
                return _evaluate(cfg, args.resume)
            trainer = PairTrainer(cfg)
            trainer.resume_or_load(resume=args.resume)
        logging.getLogger("skyeye_det").info("Training from iteration %d", trainer.start_iter)
        trainer.train()
        return getattr(trainer, "_last_eval_results", None)


def _require_new(folder: str) -> None:
    """Refuses to mix the checkpoints of two trainings."""
    if any(Path(folder).glob("model_*.pth")):
        raise InputError(
            f"OUTPUT_DIR {folder}: expected no earlier training, found its checkpoints; go on with it by"
            " --resume, or choose another OUTPUT_DIR"
        )


def _evaluate(cfg: CfgNode, resume: bool) -> OrderedDict:
    model = PairTrainer.build_model(cfg)
    checkpointer = SkyeyeCheckpointer(model, cfg.OUTPUT_DIR)
    last = checkpointer.get_checkpoint_file() if resume and checkpointer.has_checkpoint() else ""
    checkpointer.load_whole_model(last or cfg.MODEL.WEIGHTS)
    return PairTrainer.test(cfg, model)


def _runnable(cfg: CfgNode, seed: int) -> CfgNode:
    """The config with a drawn seed, and without what detectron2 runs on CUDA alone."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.SEED = seed
    cfg.SOLVER.AMP.ENABLED &= cfg.MODEL.DEVICE != "cpu"
    cfg.freeze()
    return cfg
