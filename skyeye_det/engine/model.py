"""The public face: a trained model that takes two arrays and gives buildings."""

import os
from collections.abc import Sequence

import numpy as np

from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.rule import DecisionRule, read_rule
from skyeye_det.engine.inference import buildings_of
from skyeye_det.engine.models import Models, open_models
from skyeye_det.errors import InputError, shown
from skyeye_det.prediction.windows import OVERLAP, WINDOW
from skyeye_det.released import DEFAULT, PURPOSES

Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


class Model:
    """A trained model, or several together, ready to see image pairs.

    Args:
        models: with their files.
        rule: to decide by.
    """

    def __init__(self, models: Models, rule: DecisionRule):
        self._models = models.load()
        self.rule = rule

    def __call__(
        self, pre: np.ndarray, post: np.ndarray, window: int = WINDOW, overlap: int = OVERLAP
    ) -> Buildings:
        """Finds the buildings of a pair and classifies their damage.

        Args:
            pre: uint8 (H, W, 3), RGB, before the disaster.
            post: uint8 (H, W, 3), RGB, the same ground after it.
            window: side in px of the windows that a larger image is cut into.
            overlap: px that neighbouring windows share.

        Returns:
            The buildings, in px of the images.

        Raises:
            InputError: arrays of another shape or dtype, or of two sizes.
        """
        pre, post = np.asarray(pre), np.asarray(post)
        for name, image in (("pre", pre), ("post", post)):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
                raise InputError(
                    f"{name}: expected an image uint8 (H, W, 3), found {image.dtype} {image.shape}"
                )
        if pre.shape != post.shape:
            raise InputError(
                f"post: expected the size of pre, {pre.shape[1]} x {pre.shape[0]} px, found"
                f" {post.shape[1]} x {post.shape[0]}; cut both images to the same ground"
            )
        order = 1 if self._models.cfg.INPUT.FORMAT == "RGB" else -1
        planes = [image[..., ::order].transpose(2, 0, 1) for image in (pre, post)]
        return buildings_of(self._models, np.concatenate(planes), self.rule, window, overlap)


def load_model(
    name: str = DEFAULT,
    *,
    config: Files = (),
    weights: Files = (),
    decisions: str | os.PathLike[str] | None = None,
    purpose: str = "assessment",
    tta: Files = (),
    precision: str = "fp32",
    device: str | None = None,
) -> Model:
    """Loads a released model, or one of your own.

    Args:
        name: of a released model, see ``skyeye models``; without effect where ``weights`` are given.
        config: a YAML file, or the name of one that comes with SkyEye; several for an ensemble.
        weights: the checkpoint that training wrote; as many as configs, or several for one config.
        decisions: rule, YAML of ``tools/tune_postprocess.py``; None: the released one for ``purpose``, or the
            one that the config names.
        purpose: of ``released.PURPOSES``; ``assessment`` keeps the numbers of buildings by grade right,
            ``score`` favours rare grades as the xView2 competition does.
        tta: views, such as ``flips`` or ``d4@1.0,1.25``, of all models or one each.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu``, ``cuda`` or ``cuda:N``; None: the GPU where there is one.

    Raises:
        InputError: a file is missing or not what it should be.
    """
    if purpose not in PURPOSES:
        raise InputError(f"purpose: expected one of {', '.join(PURPOSES)}, found {shown(purpose)}")
    configs, checkpoints, views = (
        [str(given)] if isinstance(given, str | os.PathLike) else list(map(str, given))
        for given in (config, weights, tta)
    )
    overrides = ["MODEL.DEVICE", device] if device else []
    models = open_models(
        name,
        config_files=configs,
        weights=checkpoints,
        views=views,
        overrides=overrides,
        precision=precision,
    )
    return Model(models, models.rule(purpose) if decisions is None else read_rule(decisions))
