"""What a folder of predictions holds of each tile: its PNGs, and its single instances if there are any.

Instances stand in ``instances/<scene>.json``, one file a scene, or all in ``instances.json``: they are the
buildings that were painted. In the same form ``candidates/<scene>.json`` or ``candidates.json`` holds those
that the rule left out. Parts are read tile by tile; a joined file is held whole. All come from strangers, and
every value used is checked.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.data.pairs import anonymous_id
from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_json
from skyeye_det.xview2.submission import (
    CANDIDATES_FOLDER,
    LOCALIZATION,
    NUMBERING_FILE,
    PARTS_FOLDER,
    read_numbering,
    scene_of_file,
    submission_names,
)

_SHOWN = 3

_NUMBER = re.compile("[P-o]{0,6}[0-O]")
"""Five bits a character, least first, the last without the sixth; 35 bits are more than any image needs."""

_RUN_LENGTHS = re.compile(f"(?:{_NUMBER.pattern})+")

Results = list[dict[str, Any]]
Ints = NDArray[np.int64]


def match_predictions(predictions: Path, scenes: Collection[str]) -> dict[str, tuple[Path, Path]]:
    """Finds both predictions of every tile.

    A tile with an anonymous name is matched to ``test_localization_00000_prediction.png``; one with a
    scene's name to ``<scene>_localization_prediction.png``, or to the number that ``numbering.csv`` gives it.

    Args:
        predictions: folder of both PNGs of every tile.
        scenes: what is to be scored.

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
    for scene in scenes:
        own, names = submission_names(scene), submission_names(numbering.get(scene, scene))
        if names != own and present.issuperset(own) and present.issuperset(names):
            raise InputError(
                f"{predictions}: scene {scene} is there twice, as {own[0]} and, by {NUMBERING_FILE},"
                f" as {names[0]}; remove what the other run left"
            )
        missing += [name for name in names if name not in present]
        files[scene] = predictions / names[0], predictions / names[1]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        numbered = any(name.startswith(("test_localization_", "hold_localization_")) for name in present)
        cure = "run tools/infer.py on them, or choose what to score with --splits"
        if numbered and any(anonymous_id(scene) is None for scene in scenes):
            cure = f"numbered predictions of named scenes need their {NUMBERING_FILE} beside them"
        raise InputError(
            f"{predictions}: expected a localization and a damage PNG for each of {len(scenes)} tiles,"
            f" {len(missing)} files are missing: {', '.join(missing[:_SHOWN])}{more}; {cure}"
        )
    return files


def count_others(predictions: Path, files: Mapping[str, tuple[Path, Path]]) -> int:
    """Number of localization predictions that no target asked for."""
    asked = {localization.name for localization, _ in files.values()}
    present = (scene_of_file(path.name) for path in predictions.iterdir() if path.name not in asked)
    return sum(known is not None and known[1] == LOCALIZATION for known in present)


@dataclass(frozen=True, eq=False)
class FoundInstances:
    """Instances of one tile, in the order of their file.

    Attributes:
        masks: N COCO run lengths, checked.
        scores: float64 (N,), 0..1.
        damage: int64 (N,), 0..3; -1 where it is not assessed.
    """

    masks: Results
    scores: NDArray[np.float64]
    damage: Ints


@dataclass(frozen=True)
class InstanceFile:
    """Where the instances of one scene stand; ``results`` if the file holds those of all, and was read."""

    path: Path
    scene: str
    results: Results | None = None

    def read(self, shape: tuple[int, int]) -> FoundInstances:
        """Checks the instances of a tile of (h, w) px; InputError where one is not what it should be."""
        found = read_json(self.path) if self.results is None else self.results
        if not isinstance(found, list) or not all(isinstance(result, dict) for result in found):
            raise InputError(f"{self.path}: expected a list of results, found another structure")
        for index, result in enumerate(found):
            self._check(index, result, shape)
        return FoundInstances(
            masks=[{"size": list(shape), "counts": result["segmentation"]["counts"]} for result in found],
            scores=np.array([result["score"] for result in found], np.float64),
            damage=np.array(
                [IGNORE_DAMAGE if result["damage"] is None else result["damage"] for result in found],
                np.int64,
            ),
        )

    def _check(self, index: int, result: dict[str, Any], shape: tuple[int, int]) -> None:
        score, damage, uid = (result.get(key) for key in ("score", "damage", "uid"))
        name = f"instance {index + 1} of the file"
        if isinstance(uid, str) and uid and uid.isprintable():
            name = f"instance {uid:.60}"
        expected, found = "", ""
        if result.get("scene") != self.scene:
            expected, found = f"scene {self.scene}", shown(result.get("scene"))
        elif isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            expected, found = "a score 0..1", shown(score)
        elif "damage" not in result or not _is_grade_or_null(damage):
            expected, found = f"damage 0..{NUM_DAMAGE_CLASSES - 1} or null", shown(damage)
        else:
            try:
                mask_area(result.get("segmentation"), shape)
            except ValueError as fault:
                expected, found = f"a mask of {shape[1]} x {shape[0]} px", str(fault)
            else:
                return
        raise InputError(f"{self.path}: expected {expected} for {name}, found {found}")


class InstanceSource:
    """The instances, or the candidates, of a folder of predictions; no part has been read."""

    def __init__(self, predictions: Path, kind: str = PARTS_FOLDER) -> None:
        """Looks what is there of ``PARTS_FOLDER`` or ``CANDIDATES_FOLDER``.

        Raises:
            InputError: a joined file that is no list of results with their scenes.
        """
        self.path = predictions / f"{kind}.json"
        self._joined = _results_by_scene(self.path) if self.path.exists() else None
        self.scenes = set(self._joined or ())
        if self._joined is None:
            self.path = predictions / kind
            self.scenes = {path.stem for path in self.path.glob("[!.]*.json")}

    @property
    def is_joined(self) -> bool:
        """All scenes in one file, which does not name those without any building."""
        return self._joined is not None

    def of_scene(self, scene: str) -> InstanceFile:
        """The file of a scene; an empty list where a joined file does not name it."""
        if self._joined is None:
            return InstanceFile(self.path / f"{scene}.json", scene)
        return InstanceFile(self.path, scene, self._joined.get(scene, []))

    def check(self, scenes: Collection[str], predicted: Collection[str]) -> None:
        """Raises InputError where there are results of a scene that is neither to be scored nor predicted."""
        if strangers := sorted(self.scenes - set(scenes) - set(predicted)):
            raise InputError(
                f"{self.path}: expected results of the tiles in this folder, found scene"
                f" {shown(strangers[0])}, one of {len(strangers)} without truth and PNG; remove what another"
                " run left"
            )


def find_instances(predictions: Path, scenes: Collection[str]) -> dict[str, list[InstanceFile]] | None:
    """Looks for the instances of a folder of predictions.

    Args:
        predictions: the folder.
        scenes: that are going to be scored; those of other tiles are left alone.

    Returns:
        scene -> the file of what was painted, and that of its candidates if there is one; None where the
        folder has only class images.

    Raises:
        InputError: part files for some of the scenes only; results of a scene that is neither to be scored
            nor has its PNG here; a joined file that is no list of results with their scenes.
    """
    painted, candidates = (InstanceSource(predictions, kind) for kind in (PARTS_FOLDER, CANDIDATES_FOLDER))
    if not painted.is_joined and not painted.scenes:
        return None
    if not painted.is_joined and (missing := sorted(set(scenes) - painted.scenes)):
        raise InputError(
            f"{painted.path}: expected {missing[0]}.json, and {len(missing)} in all, found none;"
            " run tools/infer.py again to complete them"
        )
    known = (scene_of_file(path.name) for path in predictions.iterdir())
    names = {name[0] for name in known if name is not None and name[1] == LOCALIZATION}
    names |= {scene for scene, number in read_numbering(predictions).items() if number in names}
    for source in (painted, candidates):
        source.check(scenes, names)
    return {
        scene: [
            painted.of_scene(scene),
            *([candidates.of_scene(scene)] if scene in candidates.scenes else []),
        ]
        for scene in scenes
    }


def _results_by_scene(path: Path) -> dict[str, Results]:
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


def mask_area(mask: Any, shape: tuple[int, int]) -> int:
    """Checks compressed run lengths and counts their pixels, before C code gets to see them.

    pycocotools reads past the end of a text that breaks off in the middle of a number, and stops early at a
    run of no pixels; so neither is let through.

    Args:
        mask: what was found as ``segmentation``: ``{"size": [h, w], "counts": str}``.
        shape: (h, w) that it must have.

    Returns:
        Area, px.

    Raises:
        ValueError: what was found instead: another structure or size, no run lengths, or not as many pixels
            as the image has.
    """
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        raise ValueError("no compressed run lengths")
    if mask.get("size") != list(shape):
        raise ValueError(f"size {mask.get('size')!r} instead of {list(shape)}"[:80])
    if not _RUN_LENGTHS.fullmatch(mask["counts"]):
        raise ValueError("run lengths that break off, or characters that are none")
    runs: list[int] = []
    for number in _NUMBER.findall(mask["counts"]):
        digits = [ord(character) - ord("0") for character in number]
        run = sum((digit & 31) << 5 * place for place, digit in enumerate(digits))
        if digits[-1] & 16:
            run -= 1 << 5 * len(digits)
        if len(runs) > 2:  # written as the difference to the run before the last
            run += runs[-2]
        if run < 0 or (run == 0 and runs):
            raise ValueError("a run of fewer than 0 pixels" if run < 0 else "a run of no pixels")
        runs.append(run)
    if sum(runs) != shape[0] * shape[1]:
        raise ValueError("runs that do not add up to the image")
    return sum(runs[1::2])


def _is_grade_or_null(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value < NUM_DAMAGE_CLASSES)
