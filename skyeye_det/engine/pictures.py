"""A few pictures at each evaluation, for TensorBoard and Weights & Biases."""

from typing import Any

import cv2
import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils.events import get_event_storage, has_event_storage

from skyeye_det.data.targets import parts_from_segmentation
from skyeye_det.report.outlines import buildings_from_parts, buildings_from_results
from skyeye_det.report.panel import PairPicture, panel

LARGEST_WIDTH = 2400
"""Wider pictures are reduced to this, in px: four tiles of 1024 px would be 13 MB in every event file."""


class PictureEvaluator(DatasetEvaluator):
    """Draws pre | post | truth | prediction of given tiles and puts the pictures into the event storage.

    Where there is no event storage, as with ``--eval-only``, it draws nothing.

    Args:
        tiles: dataset dicts with ``image_id``, ``height``, ``width`` and ``annotations``.
        image_format: "RGB" or "BGR", the channel order of the model's input.
    """

    def __init__(self, tiles: list[dict[str, Any]], image_format: str):
        self._tiles = {tile["image_id"]: tile for tile in tiles}
        self._image_format = image_format

    def reset(self) -> None:
        """Has nothing to forget: each picture is put away as soon as it is drawn."""

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Draws the chosen tiles among ``inputs``, under ``predictions/<scene>``."""
        if not has_event_storage():
            return
        for given, output in zip(inputs, outputs, strict=True):
            tile = self._tiles.get(given["image_id"])
            if tile is not None:
                picture = self._draw(tile, given["image"], output)
                get_event_storage().put_image(f"predictions/{tile['scene']}", picture.transpose(2, 0, 1))

    def evaluate(self) -> dict[str, Any]:
        """Gives no metrics."""
        return {}

    def _draw(self, tile: dict[str, Any], image: torch.Tensor, output: dict[str, Any]) -> np.ndarray:
        """RGB uint8 (height, width, 3)."""
        planes = image.cpu().numpy()
        order = 1 if self._image_format == "RGB" else -1
        pre, post = (np.ascontiguousarray(half[::order].transpose(1, 2, 0)) for half in np.split(planes, 2))
        outlines = ((parts_from_segmentation(a["segmentation"]), a["damage"]) for a in tile["annotations"])
        truth = buildings_from_parts(outlines, (tile["height"], tile["width"]))
        prediction = buildings_from_results(output["buildings"].to_coco())
        picture = panel(PairPicture(tile["scene"], pre, post, truth, prediction))
        if picture.shape[1] > LARGEST_WIDTH:
            height = max(1, round(picture.shape[0] * LARGEST_WIDTH / picture.shape[1]))
            picture = cv2.resize(picture, (LARGEST_WIDTH, height), interpolation=cv2.INTER_AREA)
        return np.asarray(picture, np.uint8)
