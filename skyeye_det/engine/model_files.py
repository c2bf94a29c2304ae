"""Configs, checkpoints and views that go together: one model, or several as an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass

from skyeye_det.errors import InputError
from skyeye_det.files import absolute_file


@dataclass(frozen=True)
class ModelFiles:
    """A trained model on disk, and the views in which it sees a window.

    Attributes:
        config_file: its YAML.
        weights: its checkpoint.
        views: test-time augmentation, see ``views.parse_views``.
    """

    config_file: str
    weights: str
    views: str = "none"

    def absolute(self) -> "ModelFiles":
        """The same files, named from the root on where they are there."""
        return ModelFiles(absolute_file(self.config_file), absolute_file(self.weights), self.views)


def ensemble(
    config_files: Sequence[str], weights: Sequence[str], views: Sequence[str] = ()
) -> list[ModelFiles]:
    """Puts configs, checkpoints and views together: one config and one choice of views for all, or one each.

    Raises:
        InputError: no checkpoint, or neither as many configs or views as checkpoints nor a single one.
    """
    count = len(weights)
    if not count:
        raise InputError("--weights: expected a checkpoint, found none; name the .pth that training wrote")
    views = views or [ModelFiles.views]
    for option, given in (("--config-file", config_files), ("--tta", views)):
        if len(given) not in (1, count):
            raise InputError(
                f"{option}: expected one, or one for each of {count} --weights, found {len(given)}"
            )
    every = [[*given] * (1 if len(given) == count else count) for given in (config_files, views)]
    return [ModelFiles(*each) for each in zip(every[0], weights, every[1], strict=True)]
