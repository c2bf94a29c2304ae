"""Kept predictions beside the truth of their labels, to tune or judge a rule on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.decision.tuning.tiles import KnownWindow, save_truth
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import Truth, tile_of
from skyeye_det.files import files_sha256, lock_settings
from skyeye_det.prediction.store import KeptImage, PredictionStore


@dataclass(frozen=True)
class KnownTile:
    """A whole tile to tune or judge a rule on.

    Attributes:
        store: with its predictions.
        image: of the store.
        files: its labelled pair.
    """

    store: PredictionStore
    image: KeptImage
    files: SceneFiles

    def truth(self) -> Truth:
        """What its labels say; InputError where they cannot be read, or are of another size."""
        truth = tile_of(self.files).read()
        height, width = truth[0][0].shape
        if (height, width) != (self.image.height, self.image.width):
            raise InputError(
                f"{self.files.name}: expected labels for a tile of {self.image.width} x {self.image.height}"
                f" px as its images have, found {width} x {height} px; check with tools/check_dataset.py"
            )
        return truth


def known_tiles(store: PredictionStore, scenes: Sequence[SceneFiles]) -> list[KnownTile]:
    """Labelled scenes with their predictions, sorted by scene; InputError where the store lacks one."""
    kept = {image.scene: image for image in store.images}
    found = []
    for files in sorted(scenes, key=lambda files: files.name):
        image = kept.get(files.name)
        if image is None or store.missing(image):
            raise InputError(
                f"{store.folder}: expected predictions of {files.name}, found none; predict all splits"
            )
        found.append(KnownTile(store, image, files))
    return found


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
    labels = {"labels_sha256": files_sha256(path for files in scenes for path in files.paths)}
    lock_settings(folder / "truth.json", labels, "--work")
    found = []
    for tile in known_tiles(store, scenes):
        windows = store.windows(tile.image)
        paths = [folder / store.path(tile.image, window).name for window in windows]
        if not all(path.is_file() for path in paths):
            (localization, damage), _ = tile.truth()
            for window, path in zip(windows, paths, strict=True):
                save_truth(path, (window.of(localization), window.of(damage)))
        for window, path in zip(windows, paths, strict=True):
            name = tile.files.name if len(windows) == 1 else path.stem
            found.append(KnownWindow(name, store.path(tile.image, window), path))
    return found
