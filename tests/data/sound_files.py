"""A pair in which nothing is at fault, to be damaged by the tests of the data set's check."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from xbd_files import SQUARE, feature, label, write_pair

from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.data.xbd import read_scene

SCENE = "test-flood_00000001"
DATES = {"pre": "2018-02-05T17:10:18.000Z", "post": "2018-06-22T16:55:40.000Z"}


def metadata(time: str, scene: str = SCENE, **changed: Any) -> dict[str, Any]:
    """What a label says about itself."""
    return {"img_name": f"{scene}_{time}_disaster.png", "capture_date": DATES[time]} | changed


def labels(
    scene: str = SCENE, uid: str = "a", wkt: str = SQUARE, pre: Any = None, post: Any = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pre and post label of one building; ``pre`` and ``post`` change the metadata."""
    return (
        label([feature(uid, wkt)], **metadata("pre", scene, **(pre or {}))),
        label([feature(uid, wkt, "destroyed")], **metadata("post", scene, **(post or {}))),
    )


def write_sound_pair(
    root: Path,
    scene: str = SCENE,
    split: str = "train",
    contents: tuple[Any, Any] | None = None,
    uid: str | None = None,
) -> None:
    """Writes a pair with images of its own; the building's uid is the scene's name unless given."""
    write_pair(root, *(contents or labels(scene, uid or scene)), name=scene, split=split)
    generator = np.random.default_rng(len(scene))
    for time in ("pre", "post"):
        write_image(root, generator.integers(1, 255, (64, 64, 3), np.uint8), time, scene, split)


def write_image(
    root: Path, pixels: np.ndarray, time: str, scene: str = SCENE, split: str = "train", suffix: str = ".png"
) -> Path:
    """Writes one image of a pair."""
    path = root / split / "images" / f"{scene}_{time}_disaster{suffix}"
    assert cv2.imwrite(str(path), pixels)
    return path


def write_target(root: Path, pixels: np.ndarray, time: str, scene: str = SCENE) -> Path:
    """Writes one target image."""
    path = root / "train" / "targets" / f"{scene}_{time}_disaster_target.png"
    path.parent.mkdir(exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def kinds_in_conversion(root: Path) -> tuple[bool, list[FaultKind]]:
    """Whether the one pair of the root is kept by the conversion, and what it finds."""
    found, missing = find_scenes(root, "train")
    if not found:
        return False, kinds(missing)
    scene, faults = read_scene(found[0])
    return scene is not None, kinds(missing + faults)


def kinds(faults: "list[Fault] | tuple[Fault, ...]") -> list[FaultKind]:
    """Kinds in order."""
    return [fault.kind for fault in faults]
