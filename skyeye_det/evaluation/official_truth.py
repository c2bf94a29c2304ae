"""Truth by the official fill rule from a converted split: pixels, and COCO instances. Free of torch."""

from typing import Any

import numpy as np

from skyeye_det.data.targets import building_mask, parts_from_segmentation, scene_targets
from skyeye_det.data.xbd import Building
from skyeye_det.prediction.masks import encode_crop


def paint_annotations(tile: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Both target images of a dataset dict by the official fill rule: uint8 (height, width), 0/1 and 0..4."""
    buildings = (
        Building(a["uid"], parts_from_segmentation(a["segmentation"]), a["damage"])
        for a in tile["annotations"]
    )
    return scene_targets(buildings, (tile["height"], tile["width"]))


def official_truth(tiles: list[dict[str, Any]]) -> dict[str, Any]:
    """A COCO data set whose segmentations are run lengths of the official masks."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for tile in tiles:
        shape = tile["height"], tile["width"]
        images.append({"id": tile["image_id"], "height": shape[0], "width": shape[1]})
        for annotation in tile["annotations"]:
            mask, corner = building_mask(parts_from_segmentation(annotation["segmentation"]), shape)
            if not mask.any():
                continue
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": tile["image_id"],
                    "category_id": 1,
                    "segmentation": encode_crop(corner, mask, shape),
                    "area": int(mask.sum()),
                    "bbox": [*corner, mask.shape[1], mask.shape[0]],
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "building"}]}
