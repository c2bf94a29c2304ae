"""Says in one sentence what is missing before a step that needs torch and detectron2 begins."""

import sys
from importlib.util import find_spec

from skyeye_det.errors import MissingDependencyError

DETECTRON2_MODULES = ("torch", "torchvision", "detectron2", "fvcore")
"""What building, training and running the model imports, whatever its config says."""


def require_modules(step: str, modules: tuple[str, ...], remedy: str) -> None:
    """Checks that top-level modules are installed, without importing them.

    Args:
        step: what needs them, as the subject of a sentence, such as ``"training"``.
        modules: names as imported, such as ``"torch"``.
        remedy: what to do, as the end of a sentence.

    Raises:
        MissingDependencyError: at least one is not installed in this interpreter.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingDependencyError(
            f"{step} needs {', '.join(missing)}, not installed for {sys.executable}: {remedy}"
        )


def require_detectron2(step: str = "this step") -> None:
    """Checks that torch and detectron2 are installed; call it before anything imports them.

    Args:
        step: what needs them, as the subject of a sentence.

    Raises:
        MissingDependencyError: at least one of ``DETECTRON2_MODULES`` is not installed.
    """
    remedy = (
        "run `make env` in the checkout and use .venv/bin/python, or, beside your own torch and detectron2, "
        '`pip install -e ".[train]"` (README.md, Install).'
    )
    require_modules(step, DETECTRON2_MODULES, remedy)
