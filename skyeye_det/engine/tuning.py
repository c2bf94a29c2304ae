"""Predictions to tune a rule on: of labelled tiles, by models that may each see one part of them alone."""

from collections.abc import Sequence
from pathlib import Path

from skyeye_det.data.pairs import ImagePair
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.engine.inference import keep_predictions
from skyeye_det.engine.model_files import ModelFiles
from skyeye_det.engine.models import Models
from skyeye_det.errors import InputError
from skyeye_det.files import sole_writer
from skyeye_det.prediction.store import PredictionStore


def keep_labelled(
    files: Sequence[ModelFiles], overrides: Sequence[str], scenes: Sequence[SceneFiles], folder: Path
) -> PredictionStore:
    """Predicts labelled scenes, or takes up what an earlier run predicted.

    Args:
        files: one model, or several whose predictions are merged.
        overrides: ``KEY VALUE ...`` of their configs.
        scenes: sorted by name.
        folder: of the store.

    Raises:
        InputError: config, weights or images are not what they should be, or the folder is of something else.
    """
    pairs = [ImagePair(each.name, each.pre_image, each.post_image) for each in scenes]
    with sole_writer(folder):
        store, unreadable = keep_predictions(Models(files, overrides), pairs, folder)
    for reason in unreadable.values():
        raise InputError(f"{reason}; a score needs every tile")
    return store


def models_by_fold(files: Sequence[ModelFiles], splits: Sequence[str]) -> list[list[ModelFiles]]:
    """For each split the models that have not seen it in training.

    Args:
        files: a model for each split, in their order; of an ensemble several times as many, model by model.
        splits: of the tiles.

    Raises:
        InputError: their numbers do not fit, kinds are mixed, or one checkpoint serves two splits.
    """
    folds = len(splits)
    if len(files) % folds or len(set(splits)) != folds:
        raise InputError(
            "--out-of-fold: expected a checkpoint for each split (of an ensemble several times as many, "
            f"model by model), found {len(files)} and {', '.join(splits)}"
        )
    kinds = [(each.config_file, each.views) for each in files]
    if any(len(set(kinds[start : start + folds])) > 1 for start in range(0, len(kinds), folds)):
        raise InputError(
            f"--out-of-fold: expected {folds} checkpoints of one config and one --tta, a split each, then"
            f" those of the next model, found them mixed: {', '.join(name for name, _ in kinds)}"
        )
    served = {(Path(each.weights).resolve(), number % folds) for number, each in enumerate(files)}
    if len({path for path, _ in served}) != len(served):
        raise InputError(
            "--out-of-fold: expected a checkpoint of its own for each split, which it has not seen, found"
            " one for two of them in --weights"
        )
    return [list(files[number::folds]) for number in range(folds)]
