"""``buildings.npz``: the model's own answers for the buildings of an assessment, which adapting begins at."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.errors import CodedError
from skyeye_det.files import json_bytes, whole_file
from skyeye_det.scene.records import Records

ANSWERS = "buildings.npz"

_MEND = "run `skyeye assess` anew, to another --output where people have reviewed this one"


@dataclass(frozen=True, eq=False)
class OwnAnswers:
    """What a model says of the N buildings of a layer, in the order in which their rows were written.

    Attributes:
        ids: of the buildings.
        probs: (N, 4) float32, calibrated; NaN of what is not assessed.
        damage: (N,) int8, -1..3; -1: not assessed.
        features: (N, D) float16; D is 0 where the model keeps none.
        model_sha256: of its weights.
    """

    ids: list[str]
    probs: np.ndarray
    damage: np.ndarray
    features: np.ndarray
    model_sha256: list[str | None]

    def __len__(self) -> int:
        return len(self.ids)


def write_own_answers(path: Path, records: Records, model_sha256: Sequence[str | None]) -> None:
    """Keeps the answers of records that are not adapted; whole, 530 bytes a building with 256 features."""
    assessed, count = records.is_assessed, len(records)
    features = np.zeros((count, 0), np.float16) if records.features is None else records.features
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(
            file,
            texts=_text(
                {"ids": records.columns["building_id"].astype(str), "model_sha256": list(model_sha256)}
            ),
            probs=np.where(assessed[:, None], records.probabilities, np.nan).astype(np.float32),
            damage=np.where(assessed, records.columns["damage"], IGNORE_DAMAGE).astype(np.int8),
            features=np.nan_to_num(features.astype(np.float16)),
        )


def read_own_answers(path: Path) -> OwnAnswers:
    """Reads and checks them.

    Raises:
        InputError: they are not there, or arrays do not fit each other.
    """
    if not path.is_file():
        raise CodedError(
            f"{path}: expected the model's own answers, which `skyeye assess` keeps, found no such file;"
            f" {_MEND}",
            code="no_own_answers",
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            texts = msgspec.json.decode(arrays["texts"].tobytes(), type=_Texts)
            found = OwnAnswers(
                texts.ids, arrays["probs"], arrays["damage"], arrays["features"], texts.model_sha256
            )
        _check(found)
    except Exception as error:  # of a stranger's archive: zipfile and its decompressors raise many
        raise CodedError(
            f"{path}: expected the model's own answers, found none that can be read"
            f" ({type(error).__name__}); {_MEND}",
            code="no_own_answers",
        ) from error
    return found


class _Texts(msgspec.Struct):
    ids: list[str]
    model_sha256: list[str | None]


def _text(content: Any) -> np.ndarray:
    return np.frombuffer(json_bytes(content), np.uint8)


def _check(found: OwnAnswers) -> None:
    """Raises ValueError: the file may be a stranger's."""
    count = len(found)
    for values, shape, kind in (
        (found.probs, (count, NUM_DAMAGE_CLASSES), np.float32),
        (found.damage, (count,), np.int8),
        (found.features, (count, found.features.shape[-1]), np.float16),
    ):
        if values.shape != shape or values.dtype != kind:
            raise ValueError("arrays of other shapes")
    graded = found.damage != IGNORE_DAMAGE
    probs = found.probs[graded].astype(np.float64)
    if not (np.isin(found.damage[graded], np.arange(NUM_DAMAGE_CLASSES)).all() and (probs >= 0).all()):
        raise ValueError("grades or probabilities that are none")
    if not (np.allclose(probs.sum(axis=1), 1, atol=1e-2) and np.isnan(found.probs[~graded]).all()):
        raise ValueError("probabilities that do not sum to 1")
    if not np.isfinite(found.features).all():
        raise ValueError("features that are no numbers")
