"""SkyEye: damage of every building from satellite images taken before and after a disaster.

```python
import skyeye_det
model = skyeye_det.load(config="xbd_mrcnn.yaml", weights="model.pth")
buildings = model(pre, post)  # uint8 (H, W, 3) each -> Buildings
```
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"

if TYPE_CHECKING:
    from skyeye_det.decision.buildings import Buildings
    from skyeye_det.engine.model import Model
    from skyeye_det.scene.records import Records

__all__ = ["Buildings", "Model", "__version__", "assess", "load"]


def load(*name: str, **arguments: Any) -> "Model":
    """Loads a released model or one of your own; see ``skyeye_det.engine.model.load_model``."""
    from skyeye_det.dependencies import require_detectron2

    require_detectron2("a model")
    from skyeye_det.engine.model import load_model

    return load_model(*name, **arguments)


def assess(**options: Any) -> "Records | None":
    """Assesses a scene as ``skyeye assess`` does.

    Args:
        options: of ``skyeye_det.scene.request.AssessmentOptions``: ``pre``, ``post`` and ``output`` at least.

    Returns:
        The records of its buildings; None where windows are left to other shards.
    """
    from skyeye_det.dependencies import require_detectron2
    from skyeye_det.scene.request import AssessmentOptions, open_request

    asked = AssessmentOptions(**options)
    request = open_request(asked)
    require_detectron2("an assessment")
    from skyeye_det.engine.assessment import run_assessment

    return run_assessment(asked, request)


def __getattr__(name: str) -> Any:
    """``Buildings`` without importing torch, ``Model`` with it, each when it is asked for."""
    if name == "Buildings":
        from skyeye_det.decision.buildings import Buildings

        return Buildings
    if name == "Model":
        from skyeye_det.engine.model import Model

        return Model
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
