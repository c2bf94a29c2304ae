"""Names and files of an xView2 submission.

A tile is two PNGs, localization 0/1 and damage 0..4. Anonymous tiles (``test_00000``) carry the names that
the official scorer wants, ``test_localization_00000_prediction.png`` and
``test_damage_00000_prediction.png``; scenes with a name carry it, ``<scene>_localization_prediction.png``; a
numbered submission gives such scenes a running number, and ``numbering.csv`` says which is which.
"""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.pairs import anonymous_id
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes, read_json, write_bytes
from skyeye_det.xview2.png import encode_class_png

NUMBERING_FILE = "numbering.csv"
LOCALIZATION, DAMAGE = "localization", "damage"

PARTS_FOLDER, JOINED_FILE = "instances", "instances.json"
"""COCO results that ``tools/infer.py`` leaves beside the PNGs: one file a scene, and one of all."""

SETTINGS_FILE = "inference.json"
"""What the results of a folder come from."""

LEAST_SCORE = "least_painted_score"
"""Its key: score from which instances are painted, 0 where the model's buildings are all painted."""

_ANONYMOUS_FILE = re.compile(
    r"(?P<prefix>test|hold)_(?P<kind>localization|damage)_(?P<number>\d{5})_prediction\.png"
)
_NAMED_FILE = re.compile(r"(?P<scene>.+)_(?P<kind>localization|damage)_prediction\.png")
_COLUMNS = ["tile", "scene"]


def least_painted_score(folder: Path) -> float:
    """Score from which the instances of a folder were painted, 0..1; the default rule's where it is not told.

    A rule may have left out small buildings and whole tiles besides.

    Raises:
        InputError: the folder's settings are none of ``tools/infer.py``.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return DecisionRule.score_threshold
    found = read_json(path)
    score = found.get(LEAST_SCORE, DecisionRule.score_threshold) if isinstance(found, dict) else None
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise InputError(
            f"{path}: expected settings of tools/infer.py with {LEAST_SCORE} 0..1, found other; give"
            " --score-threshold, or run tools/infer.py again"
        )
    return float(score)


def submission_names(scene: str) -> tuple[str, str]:
    """File names (localization, damage) of a scene's predictions.

    Args:
        scene: ``<event>_<8 digits>`` or any other name; ``test_00000`` / ``hold_00000`` for an anonymous
            tile.
    """
    anonymous = anonymous_id(scene)
    if anonymous is not None:
        prefix, number = anonymous
        return (
            f"{prefix}_{LOCALIZATION}_{number}_prediction.png",
            f"{prefix}_{DAMAGE}_{number}_prediction.png",
        )
    return f"{scene}_{LOCALIZATION}_prediction.png", f"{scene}_{DAMAGE}_prediction.png"


def scene_of_file(name: str) -> tuple[str, str] | None:
    """(scene, ``localization`` or ``damage``) of a prediction's file name, None for another file's."""
    if (match := _ANONYMOUS_FILE.fullmatch(name)) is not None:
        return f"{match['prefix']}_{match['number']}", match["kind"]
    if (match := _NAMED_FILE.fullmatch(name)) is not None:
        return match["scene"], match["kind"]
    return None


def number_scenes(scenes: Iterable[str], prefix: str = "test") -> dict[str, str]:
    """Anonymous names for a submission in the official scorer's order.

    Args:
        scenes: names; the numbers follow their sorted order.
        prefix: ``test`` or ``hold``.

    Returns:
        scene -> ``test_00000``, ``test_00001``, ...

    Raises:
        InputError: a scene is anonymous already.
    """
    ordered = sorted(set(scenes))
    for scene in ordered:
        if anonymous_id(scene) is not None:
            raise InputError(f"{scene}: has a competition number already; leave out --numbered")
    return {scene: f"{prefix}_{number:05d}" for number, scene in enumerate(ordered)}


def write_numbering(output: Path, numbering: Mapping[str, str]) -> Path:
    """Writes ``numbering.csv`` (tile, scene) beside the PNGs.

    Args:
        output: the submission's folder.
        numbering: scene -> anonymous name, as :func:`number_scenes` gives it.

    Returns:
        Path of the table.
    """
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((name, scene) for scene, name in sorted(numbering.items(), key=lambda item: item[1]))
    path = Path(output) / NUMBERING_FILE
    write_bytes(path, table.getvalue().encode())
    return path


def read_numbering(folder: Path) -> dict[str, str]:
    """Reads scene -> anonymous name of a numbered submission; empty where there is no ``numbering.csv``.

    Raises:
        InputError: the table is unreadable, or has other columns, a bad tile name or a scene twice.
    """
    path = Path(folder) / NUMBERING_FILE
    if not path.exists():
        return {}
    try:
        rows = list(csv.reader(io.StringIO(plain_bytes(path).decode())))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not rows or rows[0] != _COLUMNS:
        raise InputError(
            f"{path}: expected the columns {','.join(_COLUMNS)}, found {','.join(rows[0]) if rows else ''}"
        )
    numbering: dict[str, str] = {}
    tiles: set[str] = set()
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(_COLUMNS) or anonymous_id(row[0]) is None:
            raise InputError(f"{path}: expected test_00000,<scene> in line {line}, found {','.join(row)}")
        if row[1] in numbering or row[0] in tiles:
            raise InputError(
                f"{path}: expected every tile and scene once, found {','.join(row)} again in line {line}"
            )
        numbering[row[1]] = row[0]
        tiles.add(row[0])
    return numbering


def write_submission_pngs(
    output: Path, scene: str, localization: np.ndarray, damage: np.ndarray
) -> tuple[Path, Path]:
    """Writes both PNGs of a tile; each is whole or absent, and the same images give the same bytes.

    Args:
        output: the submission's folder; made where missing.
        scene: name that decides the file names, as in :func:`submission_names`.
        localization: uint8 (h, w), 0/1.
        damage: uint8 (h, w), 0..4.

    Returns:
        Paths of the localization and the damage PNG.

    Raises:
        InputError: the folder cannot be written.
        ValueError: shapes that differ, another dtype, values out of range.
    """
    names = submission_names(scene)
    paths = Path(output) / names[0], Path(output) / names[1]
    write_tile(paths[0], paths[1], localization, damage)
    return paths


def write_tile(
    localization_path: Path, damage_path: Path, localization: np.ndarray, damage: np.ndarray
) -> None:
    """Writes both PNGs of a tile to two given paths, as the container entry wants.

    Images and errors are those of :func:`write_submission_pngs`.
    """
    if localization.shape != damage.shape:
        raise ValueError(f"expected images of one shape, found {localization.shape} and {damage.shape}")
    contents = encode_class_png(localization), encode_class_png(damage)
    if localization.max() > 1 or damage.max() > NUM_DAMAGE_CLASSES:
        raise ValueError(
            f"expected localization 0..1 and damage 0..{NUM_DAMAGE_CLASSES},"
            f" found up to {localization.max()} and {damage.max()}"
        )
    write_bytes(localization_path, contents[0])
    write_bytes(damage_path, contents[1])
