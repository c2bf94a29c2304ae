"""Weights & Biases as one of detectron2's event writers."""

import logging
import os
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode
from detectron2.utils.events import EventWriter, get_event_storage

from skyeye_det.errors import MissingDependencyError
from skyeye_det.files import write_bytes

_RUN_ID = "wandb_run_id"


class WandbWriter(EventWriter):
    """Logs losses, scores, config and the pictures of the event storage to one W&B run.

    Without an API key (``WANDB_API_KEY`` or ``wandb login``) the run is written to ``OUTPUT_DIR/wandb`` and can be
    sent later with ``wandb sync``; ``WANDB_MODE`` overrides. A resumed training goes on in the same run.

    Args:
        cfg: reads WANDB.PROJECT and OUTPUT_DIR; logged whole.

    Raises:
        MissingDependencyError: wandb is not installed.
    """

    def __init__(self, cfg: CfgNode):
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError(
                "WANDB.ENABLED True needs wandb: pip install wandb, or append WANDB.ENABLED False"
            ) from error
        self._wandb = wandb
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        self._run = wandb.init(
            project=cfg.WANDB.PROJECT,
            dir=cfg.OUTPUT_DIR,
            config=yaml.safe_load(cfg.dump()),
            mode=mode,  # type: ignore[arg-type]
            id=_run_id(Path(cfg.OUTPUT_DIR, _RUN_ID), wandb.util.generate_id),
            resume="allow",
        )
        if mode == "offline":
            logging.getLogger("skyeye_det").info(
                "Weights & Biases: no key, so the run lies in %s; `wandb sync` sends it",
                Path(self._run.dir).parent,
            )
        self._last_iteration = -1

    def write(self) -> None:
        """Logs what came since the last call."""
        storage = get_event_storage()
        by_iteration: dict[int, dict[str, Any]] = {}
        newest = self._last_iteration
        for name, (value, iteration) in storage.latest_with_smoothing_hint(20).items():
            if iteration > self._last_iteration:
                by_iteration.setdefault(iteration, {})[name] = value
                newest = max(newest, iteration)
        for name, image, iteration in storage._vis_data:
            picture = self._wandb.Image(image.transpose(1, 2, 0))
            by_iteration.setdefault(iteration, {})[name] = picture
        for iteration in sorted(by_iteration):
            self._run.log(by_iteration[iteration], step=iteration)
        self._last_iteration = newest

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def _run_id(path: Path, generate: Any) -> str:
    if not path.is_file():
        write_bytes(path, generate().encode())
    return path.read_text().strip()
