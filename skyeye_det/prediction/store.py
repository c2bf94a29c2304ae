"""Predictions and truth of tiles as files to tune on: one ``.npz`` a tile, written whole, without pickles."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.errors import InputError
from skyeye_det.files import claim_results, whole_file
from skyeye_det.prediction.instance_prediction import TilePrediction
from skyeye_det.prediction.merging import Prediction
from skyeye_det.prediction.pixel_prediction import PixelPrediction

Truth = tuple[np.ndarray, np.ndarray]
"""localization 0/1 and damage 0..4, uint8 (h, w)"""

SETTINGS_FILE = "tiles.json"
_KINDS: dict[str, type[Prediction]] = {kind.__name__: kind for kind in (TilePrediction, PixelPrediction)}
_KIND, _TRUTH, _PREFIX = "kind", "truth", "prediction."
_LOCALIZATION_BIT = 8
"""Of a pixel of ``truth``; the bits below hold the damage."""


@dataclass(frozen=True, eq=False)
class KeptTile:
    """A tile to tune on.

    Attributes:
        prediction: before any decision.
        truth: localization 0/1 and damage 0..4, uint8 (h, w).
    """

    prediction: Prediction
    truth: Truth


def tile_path(folder: Path, scene: str) -> Path:
    """File of a scene."""
    return folder / f"{scene}.npz"


def save_tile(path: Path, tile: KeptTile) -> None:
    """Writes a tile, whole or not at all.

    Raises:
        InputError: it cannot be written, or truth and prediction differ in size.
        ValueError: the prediction was decided by a rule already.
    """
    if tile.prediction.rule is not None:
        raise ValueError(f"expected a prediction before any decision, found one by {tile.prediction.rule}")
    localization, damage = tile.truth
    shape = tuple(tile.prediction.shape)
    if localization.shape != shape or damage.shape != shape:
        raise InputError(
            f"{path.stem}: expected labels for a tile of {shape[1]} x {shape[0]} px as its images have, "
            f"found {localization.shape[1]} x {localization.shape[0]} px; check with tools/check_dataset.py"
        )
    values: dict[str, Any] = {
        _KIND: np.asarray(type(tile.prediction).__name__),
        _TRUTH: ((localization > 0) * np.uint8(_LOCALIZATION_BIT)) | damage.astype(np.uint8),
    }
    for field in fields(tile.prediction):
        if (value := getattr(tile.prediction, field.name)) is not None:
            values[_PREFIX + field.name] = np.asarray(value)
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, **values)


def load_tile(path: Path) -> KeptTile:
    """Reads a tile.

    Raises:
        InputError: the file is missing or none of ``save_tile``.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = dict(arrays)
        kind = _KINDS[str(content.pop(_KIND))]
        truth = content.pop(_TRUTH)
        values: dict[str, Any] = {name.removeprefix(_PREFIX): value for name, value in content.items()}
        values["shape"] = tuple(values["shape"].tolist())
        prediction = kind(**values)
        if truth.shape != prediction.shape:
            raise ValueError(f"truth of shape {truth.shape}")
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected a tile that tools/tune_postprocess.py kept, found none that can be read"
            f" ({type(error).__name__}); delete it and run again"
        ) from error
    return KeptTile(prediction, (truth // _LOCALIZATION_BIT, truth % _LOCALIZATION_BIT))


def claim_folder(folder: Path, settings: Mapping[str, Any]) -> None:
    """Notes what the tiles of a folder come from; refuses to go on with those of something else.

    Args:
        folder: made where it is not there.
        settings: JSON values; ``weights`` is told in the message and not compared.

    Raises:
        InputError: the folder holds tiles of other settings, or of nobody knows which.
    """
    claim_results(folder / SETTINGS_FILE, settings, "*.npz", "--work")
