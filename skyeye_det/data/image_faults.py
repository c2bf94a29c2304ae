"""What is wrong with the images of a pair, every pixel looked at, and with its target images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.data.image_reading import (
    PNG_SIGNATURE,
    ImageError,
    band_count,
    decode_gray,
    image_size,
    read_image,
    require_whole_png,
)
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.targets import Building, building_mask, scene_targets
from skyeye_det.data.validation import LARGEST_TARGET_DIFFERENCE, Fault, FaultKind
from skyeye_det.data.xbd import Scene
from skyeye_det.files import plain_bytes

_GRAY_8_BIT = bytes((8, 0))
_PNG_DEPTH_AND_COLOR = slice(24, 26)
_NAMED_AREAS = 3


def image_pair_faults(files: SceneFiles, decode: bool = True) -> list[Fault]:
    """Faults of the pre image, of the post image, and of both; of headers alone where not ``decode``."""
    faults: list[Fault] = []
    images = []
    for path in (files.pre_image, files.post_image):
        try:
            if not decode:
                image_size(path)
                continue
            images.append(read_image(path))
        except ImageError as error:
            faults.append(files.fault(error.kind, path, error.found))
            continue
        if (bands := band_count(path)) != 3:
            faults.append(files.fault(FaultKind.NOT_RGB, path, f"{bands} band{'s' * (bands > 1)}"))
        if not images[-1].any():
            faults.append(files.fault(FaultKind.ALL_BLACK, path, "0 in every pixel"))
    if len(images) == 2 and np.array_equal(images[0], images[1]):
        faults.append(
            files.fault(FaultKind.IDENTICAL_IMAGES, files.post_image, "the pixels of the pre image")
        )
    return faults


def target_faults(scene: Scene, root: Path, targets: tuple[Path | None, Path | None]) -> list[Fault]:
    """Compares the (pre, post) ``targets`` of a scene, where they exist, with what its labels paint."""
    faults: list[Fault] = []
    painted: tuple[np.ndarray, np.ndarray] | None = None
    for index, path in enumerate(targets):
        if path is None:
            continue
        file = path.relative_to(root).as_posix()
        official = _read(path, (scene.height, scene.width), (1, NUM_DAMAGE_CLASSES)[index])
        if isinstance(official, str):
            faults.append(Fault(FaultKind.UNUSABLE_TARGET, scene.name, file, None, official))
            continue
        painted = painted or scene_targets(scene.buildings, (scene.height, scene.width))
        faults += [
            Fault(kind, scene.name, file, uid, found)
            for kind, uid, found in _differences(scene.buildings, painted[index], official, index == 1)
        ]
    return faults


def _read(path: Path, shape: tuple[int, int], highest: int) -> np.ndarray | str:
    """The target, or what was found in its place."""
    try:
        width, height = image_size(path)
        content = plain_bytes(path)
        if not content.startswith(PNG_SIGNATURE) or content[_PNG_DEPTH_AND_COLOR] != _GRAY_8_BIT:
            return "an image of another kind"
        require_whole_png(content)
        image = decode_gray(content)
    except ImageError as error:
        return error.found
    except OSError as error:
        return str(error.strerror or error)
    if (height, width) != shape:
        return f"{width} x {height} px beside an image of {shape[1]} x {shape[0]} px"
    if (top := int(image.max())) > highest:
        return f"values up to {top} where {highest} is the highest"
    return image


def _differences(
    buildings: Sequence[Building], painted: np.ndarray, official: np.ndarray, is_post: bool
) -> Iterator[tuple[FaultKind, str | None, str]]:
    differing = int(np.count_nonzero(painted != official))
    if not differing:
        return
    for building in buildings:
        if _is_missing(building, painted, official, is_post):
            yield FaultKind.NOT_IN_TARGET, building.uid, "background there"
    if differing > LARGEST_TARGET_DIFFERENCE:
        yield FaultKind.TARGET_DIFFERS, None, f"{differing} px that differ{_unlabelled(painted, official)}"


def _is_missing(building: Building, painted: np.ndarray, official: np.ndarray, is_post: bool) -> bool:
    """The label paints the building, and the target has background in all of its pixels."""
    if is_post and building.damage == IGNORE_DAMAGE:
        return False
    parts = (building.post_parts if is_post else ()) or building.parts
    mask, (x0, y0) = building_mask(parts, (painted.shape[0], painted.shape[1]))
    here = slice(y0, y0 + mask.shape[0]), slice(x0, x0 + mask.shape[1])
    return bool((mask & (painted[here] > 0)).any()) and not (mask & (official[here] > 0)).any()


def _unlabelled(painted: np.ndarray, official: np.ndarray) -> str:
    """Areas of the target under which no label paints anything."""
    _, areas = cv2.connectedComponents((official > 0).astype(np.uint8))
    labelled = np.unique(areas[painted > 0])
    numbers, first = np.unique(areas, return_index=True)
    alone = ~np.isin(numbers, labelled) & (numbers > 0)
    if not alone.any():
        return ""
    places = [divmod(place, official.shape[1]) for place in first[alone][:_NAMED_AREAS].tolist()]
    shown = ", ".join(f"({x}, {y})" for y, x in places)
    return f", {np.count_nonzero(alone)} areas without a building in the label, such as at {shown}"
