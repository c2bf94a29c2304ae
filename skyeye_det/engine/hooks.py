"""Training hooks that survive a kill."""

from typing import Any

from detectron2.engine import hooks


class BestCheckpointer(hooks.BestCheckpointer):
    """detectron2's hook, with the best score so far in the checkpoint: a resumed run does not forget it."""

    def state_dict(self) -> dict[str, Any]:
        """Best score and its iteration."""
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes up best score and iteration."""
        self.best_metric, self.best_iter = state_dict["best_metric"], state_dict["best_iter"]
