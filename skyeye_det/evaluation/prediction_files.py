"""Which PNG in a folder of predictions belongs to which tile."""

from collections.abc import Mapping
from pathlib import Path

from skyeye_det.data.pairs import anonymous_id
from skyeye_det.errors import InputError
from skyeye_det.evaluation.truth import TrueTile
from skyeye_det.xview2.submission import (
    LOCALIZATION,
    NUMBERING_FILE,
    read_numbering,
    scene_of_file,
    submission_names,
)

_SHOWN = 3


def match_predictions(predictions: Path, tiles: list[TrueTile]) -> dict[str, tuple[Path, Path]]:
    """Finds both predictions of every tile.

    A tile with an anonymous name is matched to ``test_localization_00000_prediction.png``; one with a
    scene's name to ``<scene>_localization_prediction.png``, or to the number that ``numbering.csv`` gives it.

    Args:
        predictions: folder of both PNGs of every tile.
        tiles: what is to be scored.

    Returns:
        scene -> (localization, damage), all of them there.

    Raises:
        InputError: no such folder, missing files, or a scene under two names.
    """
    if not predictions.is_dir():
        raise InputError(f"{predictions}: expected a folder of predictions, found none; check the path")
    present = {path.name for path in predictions.iterdir()}
    numbering = read_numbering(predictions)
    files: dict[str, tuple[Path, Path]] = {}
    missing: list[str] = []
    for tile in tiles:
        names = _names(predictions, tile.scene, numbering, present)
        missing += [name for name in names if name not in present]
        files[tile.scene] = predictions / names[0], predictions / names[1]
    if missing:
        raise InputError(_missing_sentence(predictions, missing, tiles, present))
    return files


def _names(predictions: Path, scene: str, numbering: Mapping[str, str], present: set[str]) -> tuple[str, str]:
    own = submission_names(scene)
    if scene not in numbering:
        return own
    numbered = submission_names(numbering[scene])
    if present.issuperset(own) and present.issuperset(numbered):
        raise InputError(
            f"{predictions}: scene {scene} is there twice, as {own[0]} and, by {NUMBERING_FILE},"
            f" as {numbered[0]}; remove what the other run left"
        )
    return numbered


def _missing_sentence(predictions: Path, missing: list[str], tiles: list[TrueTile], present: set[str]) -> str:
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    sentence = (
        f"{predictions}: expected a localization and a damage PNG for each of {len(tiles)} tiles,"
        f" {len(missing)} files are missing: {', '.join(missing[:_SHOWN])}{more}"
    )
    if any(name.startswith(("test_localization_", "hold_localization_")) for name in present) and any(
        anonymous_id(tile.scene) is None for tile in tiles
    ):
        return f"{sentence}; numbered predictions of named scenes need their {NUMBERING_FILE} beside them"
    return f"{sentence}; run tools/infer.py on them, or choose what to score with --splits"


def count_others(predictions: Path, files: Mapping[str, tuple[Path, Path]]) -> int:
    """Number of localization predictions that no target asked for."""
    asked = {localization.name for localization, _ in files.values()}
    present = (scene_of_file(path.name) for path in predictions.iterdir() if path.name not in asked)
    return sum(known is not None and known[1] == LOCALIZATION for known in present)
