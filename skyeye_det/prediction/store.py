"""The prediction store: what models saw, one file a window, from which every decision is made.

A file is a compressed ``.npz`` without pickles, written whole, so a window is there or it is not: the unit of
resuming, of tuning and of a new decision. ``store.json`` says which models saw which images.
"""

import glob
import hashlib
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skyeye_det.errors import InputError
from skyeye_det.files import files_sha256, json_bytes, lock_settings, read_json, whole_file, write_json
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction, Prediction
from skyeye_det.prediction.windows import Window, cut_windows

STORE_VERSION = 12
"""Raised when the code predicts or sees something else by the same config and weights; others are refused."""

SETTINGS_FILE = "store.json"
_KINDS: dict[str, type[Prediction]] = {"instances": InstancePrediction, "pixels": PixelPrediction}
_KIND = "kind"


def file_part(name: object) -> str:
    """A name that files of a folder may bear; ValueError for one that would lead out of it."""
    if not isinstance(name, str) or name != Path(name).name or not name:
        raise ValueError(f"{name!r} is no name of a scene")
    return name


@dataclass(frozen=True)
class KeptImage:
    """An image pair of a store.

    Attributes:
        scene: its name.
        file_name: of the pre image, without folder.
        height: px.
        width: px.
        sha256: of both images.
    """

    scene: str
    file_name: str
    height: int
    width: int
    sha256: str


@dataclass(frozen=True)
class PredictionStore:
    """A folder of predictions.

    Attributes:
        folder: of the files.
        images: all pairs that belong to it, predicted or not.
        window: side of a window in px.
        overlap: px that neighbours share.
        digest: of what the predictions come from but for the images.
    """

    folder: Path
    images: tuple[KeptImage, ...]
    window: int
    overlap: int
    digest: str

    @classmethod
    def create(
        cls,
        folder: Path,
        images: tuple[KeptImage, ...],
        window: int,
        overlap: int,
        origin: Mapping[str, Any],
        unreadable: Collection[str] = (),
    ) -> "PredictionStore":
        """Opens a store for these models and images, a new one or one that an earlier run has begun.

        What was predicted of an image that has changed since, or can no longer be used, is removed.

        Args:
            folder: made where it is not there.
            images: all that can be predicted.
            window: side of a window in px.
            overlap: px that neighbours share.
            origin: JSON values that say what the predictions come from; ``weights`` is for people.
            unreadable: scenes that are given too, and cannot be predicted.

        Raises:
            InputError: it holds predictions of other models, scenes or windows, or of an unknown origin.
        """
        settings = {"version": STORE_VERSION, **origin, "window": window, "overlap": overlap}
        path = folder / SETTINGS_FILE
        lock_settings(path, settings, "--output")
        if "images" not in read_json(path):
            write_json(path, settings | {"images": []}, pretty=True)
        store = cls.read(folder)
        known = store.images
        if gone := {image.scene for image in known} - {image.scene for image in images} - {*unreadable}:
            raise InputError(
                f"{path}: expected predictions of the images that are given, found some of {len(gone)} other"
                f" scenes, such as {min(gone)}; choose another --output, or delete {folder} to begin anew"
            )
        for image in {*known} - {*images}:
            for window_file in folder.glob(f"{glob.escape(image.scene)}@*"):
                window_file.unlink()
        return store.keep_images(images)

    def keep_images(self, images: Sequence[KeptImage]) -> "PredictionStore":
        """The store of these images, now and when it is opened again."""
        path = self.folder / SETTINGS_FILE
        write_json(path, read_json(path) | {"images": [vars(image) for image in images]}, pretty=True)
        return replace(self, images=tuple(images))

    @classmethod
    def read(cls, folder: Path) -> "PredictionStore":
        """Opens a store that is there.

        Raises:
            InputError: no such store, or one of another version.
        """
        path = folder / SETTINGS_FILE
        if not path.is_file():
            raise InputError(
                f"{folder}: expected kept predictions with {SETTINGS_FILE}, found none; predict first"
            )
        found = read_json(path)
        version = found.get("version") if isinstance(found, dict) else None
        if version != STORE_VERSION:
            raise InputError(
                f"{path}: expected version {STORE_VERSION} of a prediction store, found {version}; predict"
                " again"
            )
        try:
            images = tuple(msgspec.convert(found["images"], list[KeptImage]))
            for image in images:
                file_part(image.scene)
            origin = {key: value for key, value in found.items() if key not in ("weights", "images")}
            digest = hashlib.sha256(json_bytes(origin)).hexdigest()
            return cls(folder, images, int(found["window"]), int(found["overlap"]), digest)
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise InputError(
                f"{path}: expected the settings of a prediction store, found others ({error}); predict again"
            ) from error

    def check_footprints(self, footprints: Path | None) -> None:
        """Raises InputError unless what is kept was predicted for this file of footprints, or for none."""
        kept = read_json(self.folder / SETTINGS_FILE).get("footprints_sha256")
        given = files_sha256([footprints], named=False) if footprints else None
        if kept != given:
            raise InputError(
                f"{self.folder}: expected --footprints as they were when it was predicted, found"
                f" {footprints or 'none'}; name the same file, or predict again"
            )

    def windows(self, image: KeptImage) -> list[Window]:
        """The windows of an image."""
        return cut_windows((image.height, image.width), self.window, self.overlap)

    def path(self, image: KeptImage, window: Window) -> Path:
        """File of one window."""
        return self.folder / f"{image.scene}@{window.name}.npz"

    def seen_path(self, image: KeptImage, window: Window) -> Path:
        """File of what can be seen in a window, see ``prediction.visibility``."""
        return self.path(image, window).with_suffix(".seen")

    def unreadable_path(self, image: KeptImage, window: Window) -> Path:
        """File that is there, and says why, where an image could not be read and nothing is seen so."""
        return self.path(image, window).with_suffix(".unreadable")

    def forget(self, image: KeptImage, window: Window) -> None:
        """Removes what is kept of a window."""
        for place in (self.path, self.seen_path, self.unreadable_path):
            place(image, window).unlink(missing_ok=True)

    def holds(self, image: KeptImage, window: Window) -> bool:
        """Whether a window is predicted already."""
        return self.path(image, window).is_file() and self.seen_path(image, window).is_file()

    def missing(self, image: KeptImage) -> list[Window]:
        """Windows that are not predicted yet."""
        return [window for window in self.windows(image) if not self.holds(image, window)]

    def save(self, image: KeptImage, window: Window, prediction: Prediction) -> None:
        """Keeps what was seen in a window; InputError where it cannot be written."""
        if tuple(prediction.shape) != (window.height, window.width):
            raise ValueError(f"expected a prediction of {window}, found one of {prediction.shape}")
        save_prediction(self.path(image, window), prediction)

    def load(self, image: KeptImage, window: Window) -> Prediction:
        """What was seen in a window; InputError where that cannot be read."""
        path = self.path(image, window)
        prediction = load_prediction(path)
        if prediction.shape != (window.height, window.width):
            raise InputError(
                f"{path}: expected a window of {window.width} x {window.height} px, found "
                f"{prediction.shape[1]} x {prediction.shape[0]}; delete it and predict again"
            )
        return prediction


def save_prediction(path: Path, prediction: Prediction) -> None:
    """Writes a prediction, whole or not at all; InputError where it cannot be written."""
    values: dict[str, Any] = {
        field.name: np.asarray(value)
        for field in fields(prediction)
        if (value := getattr(prediction, field.name)) is not None
    }
    values[_KIND] = np.asarray(next(name for name, cls in _KINDS.items() if isinstance(prediction, cls)))
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **values)


def load_prediction(path: Path) -> Prediction:
    """Reads what ``save_prediction`` wrote.

    Raises:
        InputError: the file is missing or is something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content: dict[str, Any] = dict(arrays)
        kind = _KINDS[str(content.pop(_KIND))]
        height, width = content.pop("shape").tolist()
        prediction = kind(shape=(height, width), **content)
        _check(prediction)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected a kept prediction, found none that can be read ({type(error).__name__});"
            " delete it and predict again"
        ) from error
    return prediction


def _check(prediction: Prediction) -> None:
    """Raises ValueError where arrays do not fit each other: the file may be a stranger's."""
    maps: list[tuple[Any, tuple[int, ...]]] = [(prediction.building_map, prediction.shape)]
    if isinstance(prediction, PixelPrediction):
        maps.append((prediction.damage_map, (4, *prediction.shape)))
    else:
        count = len(prediction.scores)
        side = prediction.masks.shape[-1]
        rows = {
            "boxes": (count, 4),
            "masks": (count, side, side),
            "scores": (count,),
            "damage_probs": (count, 4),
            "is_component": (count,),
            "features": (count, prediction.features.shape[-1]),
        }
        wrong = [name for name, shape in rows.items() if getattr(prediction, name).shape != shape]
        numbers = (prediction.boxes, prediction.scores, prediction.damage_probs)
        if wrong or not all(np.isfinite(values).all() for values in numbers):
            raise ValueError(f"arrays {wrong}")
    for found, shape in maps:
        if found is not None and (found.shape != tuple(shape) or found.dtype != np.uint8):
            raise ValueError(f"a map of shape {found.shape}")
