"""The single buildings that were predicted: instances of ``tools/infer.py``, or components of class images.

Instances stand in ``instances/<scene>.json``, one file a scene, or all in ``instances.json``. The first are
read tile by tile; the second is held whole. Both come from strangers, and every value used is checked.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError, shown
from skyeye_det.evaluation.run_lengths import RunLengthError, mask_areas
from skyeye_det.files import read_json
from skyeye_det.xview2.submission import (
    JOINED_FILE,
    LOCALIZATION,
    PARTS_FOLDER,
    read_numbering,
    scene_of_file,
)

Results = list[dict[str, Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FoundInstances:
    """Instances of one tile, in the order of their file.

    Attributes:
        masks: N COCO run lengths, checked.
        areas: int64 (N,), px.
        scores: float64 (N,), 0..1.
        damage: int64 (N,), 0..3.
    """

    masks: Results
    areas: Ints
    scores: NDArray[np.float64]
    damage: Ints


@dataclass(frozen=True, eq=False)
class FoundComponents:
    """Buildings of a pair of class images: the 8-connected components of the localization.

    Attributes:
        labels: int32 (h, w), 0 for background, else 1 + index of the component.
        areas: int64 (N,), px.
        damage: int64 (N,): the grade, 0..3, that most of its pixels have, the lesser of two as frequent; -1
            where none has any.
    """

    labels: NDArray[np.int32]
    areas: Ints
    damage: Ints

    @classmethod
    def of(cls, localization: NDArray[np.uint8], damage: NDArray[np.uint8]) -> "FoundComponents":
        """Components of uint8 (h, w) images; ``localization`` above 0 is building, ``damage`` 0..4."""
        building = (localization > 0).astype(np.uint8)
        count, labels = cv2.connectedComponents(building, connectivity=8, ltype=cv2.CV_32S)
        values = NUM_DAMAGE_CLASSES + 1
        places = np.flatnonzero(building)
        codes = labels.reshape(-1)[places] * np.int64(values) + damage.reshape(-1)[places]
        votes = np.bincount(codes, minlength=count * values).reshape(count, values)[1:]
        grades = np.where(votes[:, 1:].any(axis=1), votes[:, 1:].argmax(axis=1), IGNORE_DAMAGE)
        return cls(labels, votes.sum(axis=1), grades)


@dataclass(frozen=True)
class InstanceSource:
    """Where the instances of a folder stand; nothing of the part files has been read.

    Attributes:
        folder: of the predictions.
        joined: scene -> results of ``instances.json``; None where there are part files.
    """

    folder: Path
    joined: dict[str, Results] | None

    def of_scene(self, scene: str) -> tuple[Path, Results | None]:
        """The file that the scene's results come from, and the results if they have been read."""
        if self.joined is None:
            return self.folder / PARTS_FOLDER / f"{scene}.json", None
        return self.folder / JOINED_FILE, self.joined.get(scene, [])


def find_instances(predictions: Path, scenes: Collection[str]) -> InstanceSource | None:
    """Looks for the instances of a folder of predictions.

    Args:
        predictions: the folder.
        scenes: that are going to be scored; those of other tiles are left alone.

    Returns:
        Where they are; None where the folder has only class images.

    Raises:
        InputError: part files for some of the scenes only; results of a scene that is neither to be scored
            nor has its PNG here; an ``instances.json`` that is no list of results with their scenes.
    """
    parts = {path.stem for path in (predictions / PARTS_FOLDER).glob("[!.]*.json")}
    path = predictions / JOINED_FILE
    if path.exists():
        joined = results_by_scene(path)
        source, parts = InstanceSource(predictions, joined), set(joined)
    elif parts:
        path = predictions / PARTS_FOLDER
        if missing := sorted(set(scenes) - parts):
            raise InputError(
                f"{path}: expected {missing[0]}.json, and {len(missing)} in all, found none;"
                " run tools/infer.py again to complete them"
            )
        source = InstanceSource(predictions, None)
    else:
        return None
    if strangers := sorted(parts - set(scenes) - _predicted_scenes(predictions)):
        raise InputError(
            f"{path}: expected results of the tiles in this folder, found scene {shown(strangers[0])},"
            f" one of {len(strangers)} without truth and PNG; remove what another run left"
        )
    return source


def read_instances(path: Path, results: Results | None, scene: str, shape: tuple[int, int]) -> FoundInstances:
    """Checks the instances of one scene.

    Args:
        path: file they stand in.
        results: what was read from it before; None to read it.
        scene: name that each result must bear.
        shape: (h, w) of the tile, px.

    Raises:
        InputError: no such file, or a value that is not what it should be.
    """
    found = read_json(path) if results is None else results
    if not isinstance(found, list) or not all(isinstance(result, dict) for result in found):
        raise InputError(f"{path}: expected a list of results, found another structure")
    for index, result in enumerate(found):
        _check(path, index, result, scene)
    try:
        areas = mask_areas([result.get("segmentation") for result in found], shape)
    except RunLengthError as fault:
        raise InputError(
            f"{path}: expected a mask of {shape[1]} x {shape[0]} px for"
            f" {_name(found[fault.index], fault.index)}, found {fault}"
        ) from fault
    return FoundInstances(
        masks=[{"size": list(shape), "counts": result["segmentation"]["counts"]} for result in found],
        areas=areas,
        scores=np.array([result["score"] for result in found], np.float64),
        damage=np.array([result["damage"] for result in found], np.int64),
    )


def _check(path: Path, index: int, result: dict[str, Any], scene: str) -> None:
    score, damage = result.get("score"), result.get("damage")
    expected = None
    if result.get("scene") != scene:
        expected, found = f"scene {scene}", result.get("scene")
    elif not _is_share(score):
        expected, found = "a score 0..1", score
    elif type(damage) is not int or not 0 <= damage < NUM_DAMAGE_CLASSES:
        expected, found = f"damage 0..{NUM_DAMAGE_CLASSES - 1}", damage
    if expected:
        raise InputError(f"{path}: expected {expected} for {_name(result, index)}, found {shown(found)}")


def _is_share(value: Any) -> bool:
    """A number 0..1; NaN is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _name(result: dict[str, Any], index: int) -> str:
    """How a result is named in a sentence."""
    uid = result.get("uid")
    if isinstance(uid, str) and uid and uid.isprintable():
        return f"instance {uid:.60}"
    return f"instance {index + 1} of the file"


def results_by_scene(path: Path) -> dict[str, Results]:
    """Results of ``instances.json`` by scene; their other values are not looked at.

    Raises:
        InputError: the file is no list of results with their scenes.
    """
    results = read_json(path)
    if not isinstance(results, list):
        raise InputError(f"{path}: expected a list of results, found another structure")
    found: dict[str, Results] = {}
    for index, result in enumerate(results):
        scene = result.get("scene") if isinstance(result, dict) else None
        if not isinstance(scene, str):
            raise InputError(f"{path}: expected a result with its scene in place {index + 1}, found none")
        found.setdefault(scene, []).append(result)
    return found


def _predicted_scenes(predictions: Path) -> set[str]:
    """Scenes that have a localization PNG in the folder, under their own name or a number."""
    known = (scene_of_file(path.name) for path in predictions.iterdir())
    names = {name[0] for name in known if name is not None and name[1] == LOCALIZATION}
    return names | {scene for scene, number in read_numbering(predictions).items() if number in names}
