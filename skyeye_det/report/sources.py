"""Where pictures come from: an xBD root, a converted COCO file, a folder of images, a folder of results."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.pairs import find_pairs
from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.targets import Parts, parts_from_segmentation
from skyeye_det.data.validation import dropping_fault
from skyeye_det.data.xbd import read_scene
from skyeye_det.errors import InputError
from skyeye_det.evaluation.predictions import InstanceSource
from skyeye_det.report.outlines import (
    DrawnBuilding,
    buildings_from_images,
    buildings_from_parts,
    buildings_from_results,
)
from skyeye_det.xview2.submission import JOINED_FILE, read_class_png, read_numbering, submission_names

Shape = tuple[int, int]
"""(height, width) in px"""

Truth = tuple[list[DrawnBuilding], str]
"""Labelled buildings, and one line on the scene."""


@dataclass(frozen=True)
class SceneSource:
    """One scene: its images, and what reads its labels for an image of a given shape, if there are labels."""

    name: str
    pre: Path
    post: Path
    truth: Callable[[Shape], Truth] | None = None


def scenes_of_xbd(root: Path, split: str) -> dict[str, SceneSource]:
    """Complete pairs of an xBD split, by scene.

    Raises:
        InputError: no such root or split, or no complete pair in it.
    """
    complete, _ = find_scenes(root, split)
    return {
        files.name: SceneSource(files.name, files.pre_image, files.post_image, partial(_truth_of_xbd, files))
        for files in complete
    }


def scenes_of_folder(images: Path) -> dict[str, SceneSource]:
    """Image pairs without labels, by scene; images without their partner are passed over."""
    pairs, _ = find_pairs(Path(images))
    return {pair.name: SceneSource(pair.name, pair.pre, pair.post) for pair in pairs}


def scenes_of_coco(annotations: Path, root: Path | None = None) -> dict[str, SceneSource]:
    """Scenes of a file that ``tools/convert_xbd_to_coco.py`` wrote.

    Args:
        annotations: ``xbd_<split>.json``.
        root: folder that its file names are relative to; the parent of the file's folder where not given.

    Raises:
        InputError: the file is not such a file.
    """
    annotations = Path(annotations)
    root = Path(root) if root is not None else annotations.resolve().parent.parent
    images, annotated = read_xbd_json(annotations)
    buildings: dict[int, list[tuple[Parts, int]]] = defaultdict(list)
    for building in annotated:
        item = parts_from_segmentation(building["segmentation"]), building["damage"]
        buildings[building["image_id"]].append(item)
    return {
        image["scene"]: SceneSource(
            image["scene"],
            root / image["file_name"],
            root / image["post_file_name"],
            partial(_truth_of_coco, image, buildings[image["id"]]),
        )
        for image in images
    }


def _truth_of_xbd(files: SceneFiles, shape: Shape) -> Truth:
    scene, faults = read_scene(files)
    if scene is None:
        raise InputError(f"{files.name}: cannot be drawn; {dropping_fault(faults)}")
    buildings = [(building.parts, building.damage) for building in scene.buildings]
    return buildings_from_parts(buildings, shape), f"{scene.disaster}, {scene.disaster_type}"


def _truth_of_coco(image: dict[str, Any], buildings: list[tuple[Parts, int]], shape: Shape) -> Truth:
    if (image["height"], image["width"]) != shape:
        raise InputError(
            f"{image['file_name']}: expected {image['width']} x {image['height']} px as in the annotations,"
            f" found {shape[1]} x {shape[0]}; put it there or run tools/convert_xbd_to_coco.py again"
        )
    event = [str(image[key]) for key in ("disaster", "disaster_type") if image.get(key)]
    return buildings_from_parts(buildings, shape), ", ".join(event)


class ResultFolder:
    """What ``tools/infer.py`` left in a folder: instances where there are any, else PNGs of each scene."""

    def __init__(self, folder: Path) -> None:
        """Looks for ``instances/<scene>.json``, ``instances.json``, or the PNGs of a submission.

        Raises:
            InputError: no such folder, or nothing of these in it.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(
                f"{folder}: expected a folder of results of tools/infer.py, found none; check the path"
            )
        self._instances = InstanceSource(self.folder)
        self._numbering = read_numbering(self.folder)
        self._has_images = any(self.folder.glob("*_prediction.png"))
        if not (self._instances.scenes or self._instances.is_joined or self._has_images):
            raise InputError(
                f"{folder}: expected {JOINED_FILE} or *_prediction.png, found neither;"
                " run tools/infer.py first"
            )

    def buildings(self, scene: str, shape: Shape) -> list[DrawnBuilding] | None:
        """Buildings found in a scene; None where it was not predicted.

        ``instances.json`` does not name the scenes without any building: a scene that is missing from it
        counts as predicted where the folder has its PNGs, or no PNG at all.

        Raises:
            InputError: a file of the scene is broken, or made for an image of another size.
        """
        if scene in self._instances.scenes:
            found = self._instances.of_scene(scene).read(shape)
            results = zip(found.masks, found.damage.tolist(), strict=True)
            return buildings_from_results(
                {"segmentation": mask, "damage": damage} for mask, damage in results
            )
        if not self._has_images:
            return [] if self._instances.is_joined else None
        paths = [self.folder / name for name in submission_names(self._numbering.get(scene, scene))]
        if not any(path.exists() for path in paths):
            return None
        return buildings_from_images(*(read_class_png(path, shape) for path in paths))


def chosen(scenes: Mapping[str, SceneSource], names: Sequence[str]) -> list[SceneSource]:
    """The scenes of these names in their order, all of them where no name is given.

    Raises:
        InputError: no scenes at all, or a name that is not among them.
    """
    if not scenes:
        raise InputError("expected scenes to draw, found none; check where they come from")
    if unknown := [name for name in names if name not in scenes]:
        raise InputError(
            f"--scenes: there is no scene {unknown[0]!r}; there are {len(scenes)}, such as"
            f" {', '.join(list(scenes)[:3])}"
        )
    return [scenes[name] for name in dict.fromkeys(names or scenes)]
