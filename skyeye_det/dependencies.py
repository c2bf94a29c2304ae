"""Says in one sentence what is missing before a step that needs torch and detectron2, or Dask, begins."""

import sys
from importlib.util import find_spec

from skyeye_det.errors import MissingDependencyError

DETECTRON2_MODULES = ("torch", "torchvision", "detectron2", "fvcore")
"""What building, training and running the model imports, whatever its config says."""


DASK_MODULES = ("dask", "distributed")
"""What `--engine dask` imports."""


def require_detectron2(step: str = "this step") -> None:
    """Checks that torch and detectron2 are installed, without importing them; to be called before that.

    Args:
        step: what needs them, as the subject of a sentence, such as ``"training"``.

    Raises:
        MissingDependencyError: at least one of ``DETECTRON2_MODULES`` is not installed in this interpreter.
    """
    missing = [module for module in DETECTRON2_MODULES if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"{step} needs {', '.join(missing)}, not installed for {sys.executable}: run `make env` in the "
            "checkout and use .venv/bin/python, or, beside your own torch and detectron2, "
            '`pip install -e ".[train]"` (docs/guide.md).'
        )


def require_dask(step: str) -> None:
    """Checks that Dask is installed, without importing it; arguments and errors of ``require_detectron2``."""
    missing = [module for module in DASK_MODULES if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"{step} needs {', '.join(missing)}, not installed for {sys.executable}: run "
            '`pip install "skyeye_det[dask]"`, or `pip install -e ".[dask]"` in the checkout.'
        )
