"""Checks a converted split before it is used: the file may come from a stranger."""

import os
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from skyeye_det.data.outlines import LARGEST_COORDINATE
from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_json

_MAX_SIDE = 1 << 15  # px; OpenCV's limits, and no larger tile is known


def read_xbd_json(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Reads ``images`` and ``annotations`` of a converted split, every value checked.

    Image paths are relative and stay inside the xBD root; ids are unique; coordinates are finite and
    at most ``LARGEST_COORDINATE``; damage is -1..3.

    Raises:
        InputError: at the first fault.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise _fault(path, "the file", "an object", content)
    images, buildings = content.get("images"), content.get("annotations")
    if not isinstance(images, list) or not images:
        raise _fault(path, "images", "a list of one or more", images)
    if not isinstance(buildings, list):
        raise _fault(path, "annotations", "a list", buildings)
    sizes: dict[int, tuple[int, int]] = {}
    for number, image in enumerate(images):
        _check_image(path, f"images[{number}]", image)
        if image["id"] in sizes:
            raise _fault(path, f"images[{number}].id", "an id of its own", image["id"])
        sizes[image["id"]] = image["width"], image["height"]
    for number, building in enumerate(buildings):
        _check_building(path, f"annotations[{number}]", building, sizes)
    return images, buildings


def _fault(path: str | os.PathLike[str], place: str, expected: str, found: Any) -> InputError:
    return InputError(
        f"{path}: {place}: expected {expected}, found {shown(found)}; write the file with "
        "python tools/convert_xbd_to_coco.py"
    )


def _is_int(value: Any, low: int, high: int) -> bool:
    return type(value) is int and low <= value <= high


def _check_image(path: str | os.PathLike[str], place: str, image: Any) -> None:
    if not isinstance(image, dict):
        raise _fault(path, place, "an object", image)
    for key, high in (("id", 2**53), ("width", _MAX_SIDE), ("height", _MAX_SIDE)):
        if not _is_int(image.get(key), 0 if key == "id" else 1, high):
            raise _fault(path, f"{place}.{key}", "a whole number in range", image.get(key))
    for key in ("scene", "disaster"):
        if not isinstance(image.get(key), str):
            raise _fault(path, f"{place}.{key}", "a string", image.get(key))
    for key in ("file_name", "post_file_name"):
        if not _stays_inside(image.get(key)):
            raise _fault(path, f"{place}.{key}", "a path inside the xBD root", image.get(key))


def _stays_inside(name: Any) -> bool:
    if not isinstance(name, str) or not name or "\\" in name or "\0" in name or ":" in name:
        return False
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts


def _check_building(
    path: str | os.PathLike[str], place: str, building: Any, sizes: dict[int, tuple[int, int]]
) -> None:
    if not isinstance(building, dict):
        raise _fault(path, place, "an object", building)
    uid, image_id = building.get("uid"), building.get("image_id")
    if not isinstance(uid, str):
        raise _fault(path, f"{place}.uid", "a string", uid)
    place = f"{place} (uid {shown(uid)})"
    if type(image_id) is not int or image_id not in sizes:
        raise _fault(path, f"{place}.image_id", "the id of an image", image_id)
    if not _is_int(building.get("damage"), -1, 3):
        raise _fault(path, f"{place}.damage", "-1..3", building.get("damage"))
    box, polygons = building.get("bbox"), building.get("segmentation")
    area: Any = building.get("area")
    if type(area) not in (int, float) or not 0 <= area <= _MAX_SIDE**2:
        raise _fault(path, f"{place}.area", "a number of px", area)
    if not _are_numbers(box) or len(box) != 4 or min(box[2:]) < 0:
        raise _fault(path, f"{place}.bbox", "[x, y, width, height] in px of the tile", box)
    if not isinstance(polygons, list) or not polygons:
        raise _fault(path, f"{place}.segmentation", "a list of polygons", polygons)
    for polygon in polygons:
        if not _are_numbers(polygon) or not polygon or len(polygon) % 2:
            raise _fault(path, f"{place}.segmentation", "polygons [x, y, x, y, ...] in px", polygon)


def _are_numbers(values: Any) -> TypeGuard[list[float]]:
    """A list of coordinates; bool is none, and no JSON holds NaN or infinity."""
    return (
        isinstance(values, list)
        and set(map(type, values)) <= {int, float}
        and all(-LARGEST_COORDINATE <= value <= LARGEST_COORDINATE for value in values)
    )
