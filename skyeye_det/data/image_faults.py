"""What is wrong with the images of a pair, every pixel looked at, and with its target images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.damage import IGNORE_DAMAGE, NUM_DAMAGE_CLASSES
from skyeye_det.data.image_reading import PNG_SIGNATURE, decoded_image, header_fault, image_size
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.targets import Building, building_mask, scene_targets
from skyeye_det.data.validation import LARGEST_TARGET_DIFFERENCE, Fault, FaultKind
from skyeye_det.data.xbd import Scene

_GRAY_8_BIT = bytes((8, 0))
_PNG_DEPTH_AND_COLOR = slice(24, 26)
_NAMED_AREAS = 3


def image_pair_faults(files: SceneFiles, decode: bool = True) -> list[Fault]:
    """Faults of the pre image, of the post image, and of both; of headers alone where not ``decode``."""
    faults: list[Fault] = []
    read: list[tuple[np.ndarray, bytes]] = []

    for path in (files.pre_image, files.post_image):
        if fault := header_fault(image_size(path)):
            faults.append(files.fault(fault[0], path, fault[1]))
        elif decode:
            image = decoded_image(path)
            if isinstance(image, str):
                faults.append(files.fault(FaultKind.DAMAGED_IMAGE, path, image))
                continue
            read.append(image)
            faults += [files.fault(kind, path, found) for kind, found in _pixel_faults(image[0])]
    if len(read) == 2:
        (pre, pre_bytes), (post, post_bytes) = read
        if pre_bytes == post_bytes or np.array_equal(pre, post):
            found = f"the {'bytes' if pre_bytes == post_bytes else 'pixels'} of the pre image"
            faults.append(files.fault(FaultKind.IDENTICAL_IMAGES, files.post_image, found))
    return faults


def _pixel_faults(image: np.ndarray) -> Iterator[tuple[FaultKind, str]]:
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8:
        yield FaultKind.NOT_8_BIT, f"{image.dtype}"
    if channels != 3:
        yield FaultKind.NOT_RGB, f"{channels} channel{'s' if channels > 1 else ''}"
    if not image[..., :3].any() if channels > 1 else not image.any():
        yield FaultKind.ALL_BLACK, "0 in every pixel"


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
    if fault := header_fault(image_size(path)):
        return fault[1]
    read = decoded_image(path)
    if isinstance(read, str):
        return read
    image, content = read
    if not content.startswith(PNG_SIGNATURE) or content[_PNG_DEPTH_AND_COLOR] != _GRAY_8_BIT:
        return "an image of another kind"
    if image.shape != shape:
        return f"{image.shape[1]} x {image.shape[0]} px beside an image of {shape[1]} x {shape[0]} px"
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
