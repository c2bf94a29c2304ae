"""Checks a converted split before it is used: the file may come from a stranger."""

import os
from pathlib import PurePosixPath
from typing import Annotated, Any

from msgspec import Meta, Struct

from skyeye_det.data.outlines import LARGEST_COORDINATE
from skyeye_det.data.validation import read_as
from skyeye_det.errors import InputError, shown

_MAX_SIDE = 1 << 15  # px; OpenCV's limits, and no larger tile is known
_MEND = "write the file with python tools/convert_xbd_to_coco.py"

_Side = Annotated[int, Meta(ge=1, le=_MAX_SIDE)]
_Coordinate = Annotated[float, Meta(ge=-LARGEST_COORDINATE, le=LARGEST_COORDINATE)]
_Length = Annotated[float, Meta(ge=0, le=LARGEST_COORDINATE)]
_Polygon = Annotated[list[_Coordinate], Meta(min_length=2)]


class _Image(Struct):
    id: Annotated[int, Meta(ge=0, le=2**53)]
    width: _Side
    height: _Side
    scene: str
    disaster: str
    file_name: str
    post_file_name: str


class _Building(Struct):
    uid: str
    image_id: int
    damage: Annotated[int, Meta(ge=-1, le=3)]
    area: Annotated[float, Meta(ge=0, le=_MAX_SIDE**2)]
    bbox: tuple[_Coordinate, _Coordinate, _Length, _Length]
    segmentation: Annotated[list[_Polygon], Meta(min_length=1)]


class _Content(Struct):
    images: Annotated[list[_Image], Meta(min_length=1)]
    annotations: list[_Building]


def read_xbd_json(path: str | os.PathLike[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Reads ``images`` and ``annotations`` of a converted split, every value checked.

    Image paths are relative and stay inside the xBD root; ids are unique; coordinates are finite and
    at most ``LARGEST_COORDINATE``; damage is -1..3.

    Raises:
        InputError: at the first fault.
    """
    content, plain = read_as(path, _Content, _MEND)
    known: set[int] = set()
    for number, image in enumerate(content.images):
        place = f"images[{number}]"
        if image.id in known:
            raise _fault(path, f"{place}.id", "an id of its own", image.id)
        known.add(image.id)
        for key, name in (("file_name", image.file_name), ("post_file_name", image.post_file_name)):
            if not _stays_inside(name):
                raise _fault(path, f"{place}.{key}", "a path inside the xBD root", name)
    for number, building in enumerate(content.annotations):
        place = f"annotations[{number}] (uid {shown(building.uid)})"
        if building.image_id not in known:
            raise _fault(path, f"{place}.image_id", "the id of an image", building.image_id)
        for polygon in building.segmentation:
            if len(polygon) % 2:
                raise _fault(path, f"{place}.segmentation", "polygons [x, y, x, y, ...] in px", polygon)
    return plain["images"], plain["annotations"]


def _fault(path: str | os.PathLike[str], place: str, expected: str, found: Any) -> InputError:
    return InputError(f"{path}: {place}: expected {expected}, found {shown(found)}; {_MEND}")


def _stays_inside(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(parts) and not name.startswith("/") and ".." not in parts and not set(name) & set("\\\0:")
