"""Training on pairs with detectron2's engine."""

import argparse
import logging
import weakref
from collections import OrderedDict
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.engine import DefaultTrainer, hooks
from detectron2.evaluation import DatasetEvaluators, print_csv_format
from detectron2.solver import build_optimizer
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import EventWriter, get_event_storage
from torch import nn
from torch.utils.data import DataLoader

from skyeye_det.data.loading import build_pair_test_loader, build_pair_train_loader
from skyeye_det.engine.checkpoint import BEST_CHECKPOINT, SkyeyeCheckpointer
from skyeye_det.engine.hooks import BestCheckpointer
from skyeye_det.engine.setup import load_config, set_up
from skyeye_det.engine.wandb_writer import WandbWriter
from skyeye_det.errors import InputError
from skyeye_det.evaluation.evaluators import BuildingEvaluator, XView2Evaluator

SCORE = "xview2/score"
"""The metric by which the best checkpoint is kept."""


class PairTrainer(DefaultTrainer):
    """DefaultTrainer with the pair loaders, safe checkpoints, the xView2 score and exact resuming.

    A run that was killed and resumed sees the samples and random numbers that an uninterrupted run would have seen,
    from its last checkpoint on.
    """

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Builds the model; on a CPU its convolutions run channels-last, a fifth faster."""
        model = super().build_model(cfg)
        return model.to(memory_format=torch.channels_last) if cfg.MODEL.DEVICE == "cpu" else model

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """``SOLVER.OPTIMIZER``: detectron2's SGD, or AdamW with the same parameter groups and clipping."""
        if cfg.SOLVER.OPTIMIZER == "SGD":
            return build_optimizer(cfg, model)
        if cfg.SOLVER.OPTIMIZER != "AdamW":
            raise InputError(f"SOLVER.OPTIMIZER: expected SGD or AdamW, found {cfg.SOLVER.OPTIMIZER}")
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
        """The official score and mask AP."""
        tiles = DatasetCatalog.get(dataset_name)
        return DatasetEvaluators(
            [XView2Evaluator(tiles, cfg.TEST.PAINT_SCORE_THRESH), BuildingEvaluator(tiles)]
        )

    def build_hooks(self) -> list[hooks.HookBase | None]:
        """DefaultTrainer's hooks; the best checkpoint follows evaluation, the periodic one follows both.

        A checkpoint thus knows the best score up to its own iteration, and a resumed run does not overwrite it.
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
        best = BestCheckpointer(
            self.cfg.TEST.EVAL_PERIOD, self.checkpointer, SCORE, file_prefix=BEST_CHECKPOINT
        )
        evaluated = [best] if self.cfg.TEST.EVAL_PERIOD > 0 else []
        return [*others, *evaluated, *saving, *writing]

    def build_writers(self) -> list[EventWriter]:
        """Terminal with ETA, metrics.json, TensorBoard, and Weights & Biases where it is on."""
        wandb = [WandbWriter(self.cfg)] if self.cfg.WANDB.ENABLED else []
        return [*super().build_writers(), *wandb]

    def resume_or_load(self, resume: bool = True) -> None:
        """See DefaultTrainer; a resumed run also goes on in the order of samples."""
        super().resume_or_load(resume)
        if self.start_iter:
            self._trainer.reset_data_loader(
                lambda: build_pair_train_loader(self.cfg, self.cfg.DATASETS.TRAIN, self.start_iter)
            )

    def state_dict(self) -> dict[str, Any]:
        """DefaultTrainer's state and the random state of the main process."""
        return super().state_dict() | {"random": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up what ``state_dict`` gave."""
        super().load_state_dict(state_dict)
        torch.set_rng_state(state_dict["random"])

    def run_step(self) -> None:
        """One iteration.

        Raises:
            InputError: a loss or prediction became NaN or infinite; names the losses.
        """
        try:
            super().run_step()
        except FloatingPointError as error:
            latest = {k: round(v, 4) for k, (v, _) in get_event_storage().latest().items() if "loss" in k}
            raise InputError(
                f"training stopped at iteration {self.iter}: {' '.join(str(error).split())}; last losses {latest}; "
                "lower SOLVER.BASE_LR and go on with --resume"
            ) from error


def train(args: argparse.Namespace) -> OrderedDict | None:
    """Trains or, with ``args.eval_only``, evaluates; runs in each process of detectron2's ``launch``.

    Args:
        args: of ``detectron2.engine.default_argument_parser``.

    Returns:
        Results of the last evaluation, on the main process.
    """
    cfg = load_config(args.config_file, args.opts)
    set_up(cfg, args)
    if args.eval_only:
        model = PairTrainer.build_model(cfg)
        SkyeyeCheckpointer(model, cfg.OUTPUT_DIR).resume_or_load(cfg.MODEL.WEIGHTS, resume=args.resume)
        results = PairTrainer.test(cfg, model)
        if comm.is_main_process():
            print_csv_format(results)
        return results
    if cfg.SEED >= 0:
        seed_all_rng(cfg.SEED + comm.get_rank())
    trainer = PairTrainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    logging.getLogger("skyeye_det").info("Training from iteration %d", trainer.start_iter)
    return trainer.train()
