"""Weights & Biases as one of detectron2's event writers."""

import logging
import netrc
import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from detectron2.config import CfgNode
from detectron2.utils.events import EventWriter, get_event_storage

from skyeye_det.errors import InputError, MissingDependencyError
from skyeye_det.files import write_bytes

_STEP = "iteration"


class WandbWriter(EventWriter):
    """Logs losses, scores, config and the pictures of the event storage to one W&B run.

    Without an API key (``WANDB_API_KEY`` or ``wandb login``) the run is written to ``OUTPUT_DIR/wandb`` and
    can be sent later with ``wandb sync``; ``WANDB_MODE`` overrides. A resumed training goes on in the same
    run. The axis of every chart is the iteration.

    Args:
        cfg: reads OUTPUT_DIR; logged whole. The project is that of the environment's WANDB_PROJECT.

    Raises:
        MissingDependencyError: wandb is not installed.
        InputError: the run cannot be started.
    """

    def __init__(self, cfg: CfgNode):
        try:
            import wandb
        except ImportError as error:
            raise MissingDependencyError(
                "WANDB.ENABLED True needs wandb: pip install wandb, or append WANDB.ENABLED False"
            ) from error
        self._wandb = wandb
        has_key = _has_key(wandb.Settings().base_url)
        mode = os.environ.get("WANDB_MODE") or ("online" if has_key else "offline")
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "skyeye_det"),
                dir=cfg.OUTPUT_DIR,
                config=yaml.safe_load(cfg.dump()),
                mode=mode,  # type: ignore[arg-type]
                id=_run_id(Path(cfg.OUTPUT_DIR, "wandb_run_id")),
                resume="allow",
            )
        except (wandb.Error, OSError) as error:
            raise InputError(
                f"Weights & Biases: cannot start a run ({' '.join(str(error).split())}); set "
                "WANDB_MODE=offline or append WANDB.ENABLED False"
            ) from error
        # wandb's own step may not go back, as a resumed run's does to its last checkpoint.
        self._run.define_metric("*", step_metric=_STEP)
        if mode == "offline":
            logging.getLogger("skyeye_det").info(
                "Weights & Biases: offline, the run lies in %s; `wandb sync` sends it",
                Path(self._run.dir).parent,
            )
        self._last_iteration = -1

    def write(self) -> None:
        """Logs what came since the last call."""
        storage = get_event_storage()
        by_iteration: dict[int, dict[str, Any]] = {}
        newest = self._last_iteration
        # Losses are smoothed by the median over 20 iterations, as in the terminal.
        for name, (value, iteration) in storage.latest_with_smoothing_hint(20).items():
            if iteration > self._last_iteration:
                by_iteration.setdefault(iteration, {})[name] = value
                newest = max(newest, iteration)
        # detectron2 has no public way to its pictures; its TensorBoard writer clears them, so it comes
        # after this one.
        for name, image, iteration in storage._vis_data:
            by_iteration.setdefault(iteration, {})[name] = self._wandb.Image(image.transpose(1, 2, 0))
        for iteration in sorted(by_iteration):
            self._run.log({**by_iteration[iteration], _STEP: iteration})
        self._last_iteration = newest

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def _has_key(base_url: str) -> bool:
    """Whether this user has an API key, in the environment or where ``wandb login`` writes it."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc(Path(os.environ.get("NETRC", "~/.netrc")).expanduser())
        return known.authenticators(urlsplit(base_url).hostname or "") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _run_id(path: Path) -> str:
    """The run's id, kept beside the checkpoints so that a resumed training finds it."""
    if not path.is_file():
        write_bytes(path, secrets.token_hex(4).encode())
    return path.read_text().strip()
