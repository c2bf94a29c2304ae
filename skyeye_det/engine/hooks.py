"""Training hooks that survive a kill."""

from typing import Any

from detectron2.engine import hooks


class BestCheckpointer(hooks.BestCheckpointer):
    """detectron2's hook, with the best score so far in the checkpoint: a resumed run does not forget it."""

    def after_train(self) -> None:
        """Looks at the last evaluation, and notes its score in the last checkpoint, written before it."""
        super().after_train()
        if self.trainer.iter == self.trainer.max_iter:
            self._checkpointer.save("model_final", iteration=self.trainer.max_iter - 1)

    def state_dict(self) -> dict[str, Any]:
        """Best score and its iteration."""
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up best score and iteration."""
        self.best_metric, self.best_iter = state_dict["best_metric"], state_dict["best_iter"]
