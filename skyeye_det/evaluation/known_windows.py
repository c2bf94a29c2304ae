"""Kept predictions beside the truth of their labels, to tune or judge a rule on."""

from collections.abc import Sequence
from pathlib import Path

from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.decision.tuning.tiles import KnownWindow, save_truth
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import tile_of
from skyeye_det.files import files_sha256, lock_settings
from skyeye_det.prediction.store import PredictionStore


def known_windows(store: PredictionStore, scenes: Sequence[SceneFiles], folder: Path) -> list[KnownWindow]:
    """The windows of labelled scenes, whose truth is written where it is not there yet.

    Args:
        store: with the predictions of all of them.
        scenes: labelled pairs.
        folder: of the truth, which may be used again for the same labels.

    Returns:
        Windows sorted by scene; of an image of one window its name is the scene's.

    Raises:
        InputError: the store lacks a scene or a window, labels cannot be read, are of another size than the
            images, or are others than the folder's.
    """
    kept = {image.scene: image for image in store.images}
    labels = {"labels_sha256": files_sha256(path for files in scenes for path in files.paths)}
    lock_settings(folder / "truth.json", labels, "*.npz", "--work")
    found = []
    for files in sorted(scenes, key=lambda files: files.name):
        image = kept.get(files.name)
        if image is None or store.missing(image):
            raise InputError(
                f"{store.folder}: expected predictions of {files.name}, found none; predict all splits"
            )
        windows = store.windows(image)
        paths = [folder / store.path(image, window).name for window in windows]
        if not all(path.is_file() for path in paths):
            (localization, damage), _ = tile_of(files).read()
            if localization.shape != (image.height, image.width):
                raise InputError(
                    f"{files.name}: expected labels for a tile of {image.width} x {image.height} px as its"
                    f" images have, found {localization.shape[1]} x {localization.shape[0]} px; check with"
                    " tools/check_dataset.py"
                )
            for window, path in zip(windows, paths, strict=True):
                save_truth(path, (window.of(localization), window.of(damage)))
        for window, path in zip(windows, paths, strict=True):
            name = files.name if len(windows) == 1 else path.stem
            found.append(KnownWindow(name, store.path(image, window), path))
    return found
