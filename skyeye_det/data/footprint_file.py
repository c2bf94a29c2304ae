"""Known footprints of scenes, from a converted split or any COCO file of its form."""

from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.targets import building_mask, parts_from_segmentation
from skyeye_det.errors import InputError


class FootprintFile:
    """Outlines by scene of ``xbd_<split>.json`` as ``tools/convert_xbd_to_coco.py`` writes it."""

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def _scenes(self) -> dict[str, tuple[tuple[int, int], list[dict[str, Any]]]]:
        images, annotations = read_xbd_json(self.path)
        of_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            of_image[annotation["image_id"]].append(annotation)
        return {
            image["scene"]: ((image["height"], image["width"]), of_image[image["id"]]) for image in images
        }

    def annotations(self, scene: str, shape: tuple[int, int]) -> list[dict[str, Any]]:
        """The footprints of a scene, as they are in the file.

        Raises:
            InputError: the file does not know the scene, or by another size.
        """
        if scene not in self._scenes:
            raise InputError(
                f"{self.path}: expected footprints of {scene}, found no such scene; convert it too"
            )
        known, annotations = self._scenes[scene]
        if known != tuple(shape):
            raise InputError(
                f"{self.path}: {scene}: expected an image of {shape[1]} x {shape[0]} px, found {known[1]} x"
                f" {known[0]}; give the file of these images"
            )
        return annotations

    def outlines(
        self, scene: str, shape: tuple[int, int]
    ) -> tuple[list[str], list[tuple[tuple[int, int], np.ndarray]]]:
        """The footprints of a scene that have a pixel in its image.

        Returns:
            Their uids, and their masks by the official fill rule: (x0, y0) in px and a bool crop.

        Raises:
            InputError: as of ``annotations``.
        """
        uids, crops = [], []
        for annotation in self.annotations(scene, shape):
            mask, corner = building_mask(parts_from_segmentation(annotation["segmentation"]), shape)
            if mask.size:
                uids.append(annotation["uid"])
                crops.append((corner, mask > 0))
        return uids, crops
