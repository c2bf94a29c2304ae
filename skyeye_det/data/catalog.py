"""Registration of converted xBD splits with detectron2, by an explicit call.

A data set is named ``<root folder>_<split>``: ``xbd_train`` is split ``train`` of the xBD root
``$DETECTRON2_DATASETS/xbd`` (``datasets/xbd`` where the variable is not set), annotated in
``annotations/xbd_train.json`` there.
"""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from skyeye_det.data.coco_file import read_xbd_json
from skyeye_det.data.split_file import split_file_path
from skyeye_det.errors import InputError


def register_datasets(names: Sequence[str]) -> None:
    """Registers data sets at their usual places; see ``register_xbd_split``."""
    for name in names:
        register_xbd_split(name)


def register_xbd_split(
    name: str,
    annotations: str | os.PathLike[str] | None = None,
    image_root: str | os.PathLike[str] | None = None,
) -> None:
    """Registers one converted split. A second call with the same paths does nothing.

    Args:
        name: ``<root folder>_<split>``, such as ``xbd_train``.
        annotations: COCO file; by default at the usual place in ``image_root``.
        image_root: xBD root that the file's image paths are relative to; by default at the usual place under
            ``$DETECTRON2_DATASETS``. With neither given, a name that was registered with one keeps it.

    Raises:
        InputError: the name has no split, the file does not exist, or the name stands for other paths.
    """
    place_given = annotations is not None or image_root is not None
    root, split = _root_and_split(name, image_root)
    file = Path(annotations or _annotations(root, split)).resolve()
    if name in DatasetCatalog:
        known = MetadataCatalog.get(name)
        if known.get("place_given") and not place_given:
            return
        if (known.get("json_file"), known.get("image_root")) != (str(file), str(root)):
            raise InputError(
                f"data set {name}: stands for {known.get('json_file')} with images in "
                f"{known.get('image_root')} already, and cannot become {file} with images in {root}; choose "
                "another name"
            )
        return
    if not file.is_file():
        raise InputError(
            f"{file}: the annotations of data set {name} are missing; write them with "
            f"python tools/convert_xbd_to_coco.py --xbd-root {root} {_conversion_of(root, split)}"
        )
    DatasetCatalog.register(name, functools.partial(load_xbd_json, file, root))
    MetadataCatalog.get(name).set(
        thing_classes=["building"],
        json_file=str(file),
        image_root=str(root),
        place_given=place_given,
    )


def _conversion_of(root: Path, split: str) -> str:
    """The options that convert a split: a folder of the root, or a part of a new split."""
    words = split.split("-")
    if (root / split).is_dir() or len(words) == 1:
        return f"--splits {split}"
    names = ("-".join(words[:count]) for count in range(1, len(words)))
    kept = [path for name in names if (path := split_file_path(root / "annotations", name)).is_file()]
    if kept:
        return f"--split-file {kept[-1]}"
    return "--splits FOLDER ... --split-by random|event|location (datasets/README.md, Splits)"


def _root_and_split(name: str, image_root: str | os.PathLike[str] | None) -> tuple[Path, str]:
    """The xBD root and the split of a name; folders and splits may have underscores themselves.

    Raises:
        InputError: no division, or more than one of which the annotations are there.
    """
    words = name.split("_")
    halves = [("_".join(words[:count]), "_".join(words[count:])) for count in range(len(words) - 1, 0, -1)]
    base = os.environ.get("DETECTRON2_DATASETS", "datasets")
    options = [
        (Path(image_root or Path(base, folder)).resolve(), split)
        for folder, split in halves
        if folder and split
    ]
    if not options:
        raise InputError(f"data set {name!r}: expected <root folder>_<split>, such as xbd_train")
    there = [option for option in options if _annotations(*option).is_file()]
    if len(there) > 1:
        raise InputError(
            f"data set {name}: expected one root folder and split, found {_annotations(*there[0])} and"
            f" {_annotations(*there[1])}; rename one"
        )
    return (there or options)[0]


def _annotations(root: Path, split: str) -> Path:
    return root / "annotations" / f"xbd_{split}.json"


def load_xbd_json(
    annotations: str | os.PathLike[str], image_root: str | os.PathLike[str]
) -> list[dict[str, Any]]:
    """Reads a file of ``tools/convert_xbd_to_coco.py`` into detectron2's dataset dicts.

    Returns:
        One dict a tile: ``file_name`` and ``post_file_name`` (absolute), ``image_id``, ``height``, ``width``,
        ``scene``, ``disaster`` and ``annotations``, each with ``segmentation`` (flat polygons, px, pixel
        centres), ``bbox`` (XYWH), ``bbox_mode``, ``category_id`` 0, ``damage`` -1..3, ``uid``
        and ``iscrowd`` 0.

    Raises:
        InputError: the file is missing or not as the converter writes it; no tile in it.
    """
    images, buildings = read_xbd_json(annotations)
    root = Path(image_root).resolve()
    tiles = {
        image["id"]: {
            "file_name": str(root / image["file_name"]),
            "post_file_name": str(root / image["post_file_name"]),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "scene": image["scene"],
            "disaster": image["disaster"],
            "annotations": [],
        }
        for image in images
    }
    for building in buildings:
        tiles[building["image_id"]]["annotations"].append(
            {
                "segmentation": building["segmentation"],
                "bbox": building["bbox"],
                "bbox_mode": BoxMode.XYWH_ABS,
                "category_id": 0,
                "damage": building["damage"],
                "uid": building["uid"],
                "iscrowd": 0,
            }
        )
    return list(tiles.values())
