"""Small tiles as detectron2 dataset dicts, and the COCO files they come from."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from detectron2.config import CfgNode, get_cfg

from skyeye_det.config import add_skyeye_config
from skyeye_det.data.targets import building_mask, parts_from_segmentation


def rectangle(x0: float, y0: float, x1: float, y1: float) -> list[list[float]]:
    """Segmentation whose official mask is the pixels x0..x1, y0..y1, both ends included."""
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def building(segmentation: list[list[float]], damage: int = 0, side: int = 4096) -> dict[str, Any]:
    """One annotation; ``bbox`` and ``area`` as the conversion writes them."""
    mask, corner = building_mask(parts_from_segmentation(segmentation), (side, side))
    box = [*corner, mask.shape[1], mask.shape[0]]
    return {"segmentation": segmentation, "bbox": box, "area": int(mask.sum()), "damage": damage}


def write_tile(
    folder: Path,
    buildings: list[dict[str, Any]],
    pre: np.ndarray,
    post: np.ndarray | None = None,
    scene: str = "test-flood_00000001",
) -> dict[str, Any]:
    """Writes both images and gives the dataset dict."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for key, time, image in (
        ("file_name", "pre", pre),
        ("post_file_name", "post", pre if post is None else post),
    ):
        files[key] = str(folder / f"{scene}_{time}_disaster.png")
        cv2.imwrite(files[key], image)
    size = {"height": pre.shape[0], "width": pre.shape[1]}
    return files | size | {"image_id": 1, "scene": scene, "disaster": "test-flood", "annotations": buildings}


def coco_content(tiles: list[dict[str, Any]], root: Path) -> dict[str, Any]:
    """COCO content of tiles written below ``root``."""
    images, annotations = [], []
    for number, tile in enumerate(tiles, start=1):
        names = {key: Path(tile[key]).relative_to(root).as_posix() for key in ("file_name", "post_file_name")}
        images.append({k: v for k, v in tile.items() if k != "annotations"} | names | {"id": number})
        for each in tile["annotations"]:
            own = {"id": len(annotations) + 1, "image_id": number, "uid": f"b{len(annotations)}"}
            annotations.append(each | own | {"category_id": 1, "iscrowd": 0})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "building"}]}


def write_root(root: Path, split: str, tiles: int = 4, side: int = 64) -> Path:
    """Writes a converted root of random tiles; tile i holds i buildings, of damage -1, 0, 1, ..."""
    generator = np.random.default_rng(3)
    written = []
    for number in range(tiles):
        boxes = [building(rectangle(4 + 14 * i, 6, 14 + 14 * i, 20), i - 1, side) for i in range(number)]
        pair = generator.integers(1, 255, (2, side, side, 3), dtype=np.uint8)
        scene = f"test-flood_{number:08d}"
        written.append(write_tile(root / split / "images", boxes, pair[0], pair[1], scene))
    file = root / "annotations" / f"xbd_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(coco_content(written, root)))
    return file


def pair_config(crop: int = 48, **pair: Any) -> CfgNode:
    """Config for tiles of 64 px; ``pair`` goes to INPUT.PAIR."""
    cfg = get_cfg()
    add_skyeye_config(cfg)
    cfg.SEED, cfg.SOLVER.IMS_PER_BATCH, cfg.DATALOADER.NUM_WORKERS = 5, 2, 0
    cfg.INPUT.FORMAT, cfg.INPUT.PAIR.CROP_SIZE = "RGB", crop
    for key, value in pair.items():
        cfg.INPUT.PAIR[key] = value
    return cfg
