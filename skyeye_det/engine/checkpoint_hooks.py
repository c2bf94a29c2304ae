"""What a training keeps beside its periodic checkpoints: the best one, and the mean of the later ones."""

from pathlib import Path
from typing import Any

import torch
from detectron2.engine import hooks

from skyeye_det.engine.checkpoint import write_checkpoint

_MEAN_FROM = 0.4
"""Share of the iterations after which a checkpoint counts."""


class BestCheckpointer(hooks.BestCheckpointer):
    """detectron2's hook, with the best score so far in the checkpoint: a resumed run does not forget it."""

    def after_train(self) -> None:
        """Sees the last evaluation too, and notes its score in the last checkpoint, written before it."""
        super().after_train()
        if self.trainer.iter == self.trainer.max_iter:
            self._checkpointer.save("model_final", iteration=self.trainer.max_iter - 1)

    def state_dict(self) -> dict[str, Any]:
        """Best score and its iteration."""
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up best score and iteration."""
        self.best_metric, self.best_iter = state_dict["best_metric"], state_dict["best_iter"]


class MeanCheckpointer(hooks.HookBase):
    """Writes ``model_mean.pth`` at the end: the mean of the numbered checkpoints of the last 60 %.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407; of detectors Zhang et al. 2020,
    arXiv:2012.12645), for trainings at a constant rate. It reads files, so a resumed run needs no state.

    Args:
        folder: of the checkpoints.
    """

    def __init__(self, folder: str):
        self._folder = Path(folder)

    def after_train(self) -> None:
        """Reads one checkpoint after the other; writes nothing where the training was cut short."""
        first = _MEAN_FROM * self.trainer.max_iter
        numbered = [
            (int(path.stem.removeprefix("model_")), path) for path in self._folder.glob("model_[0-9]*.pth")
        ]
        later = [path for iteration, path in sorted(numbered) if iteration >= first]
        if self.trainer.iter < self.trainer.max_iter or not later:
            return
        mean: dict[str, torch.Tensor] = {}
        for seen, path in enumerate(later):
            weights = torch.load(path, map_location="cpu", weights_only=True)["model"]
            for name, value in weights.items():
                if seen and value.is_floating_point():
                    mean[name] += (value - mean[name]) / (seen + 1)
                else:
                    mean[name] = value
        write_checkpoint(self._folder / "model_mean.pth", {"model": mean})
