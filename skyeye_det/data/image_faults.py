"""What is wrong with the images of a pair, every pixel looked at."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from skyeye_det.data.image_size import image_size
from skyeye_det.data.validation import LARGEST_IMAGE, Fault, FaultKind
from skyeye_det.files import plain_bytes

if TYPE_CHECKING:
    from skyeye_det.data.scene_files import SceneFiles

LARGEST_FILE = 2**29
"""Bytes of an image file that is still read: the largest image with 16 bits in four channels."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_Found = tuple[FaultKind, str]


def header_fault(path: Path) -> _Found | None:
    """Why an image is not to be decoded, by its header: no pixel is touched.

    Args:
        path: image file.

    Returns:
        (kind, what was found), or ``None`` for a header that is in order.
    """
    size = image_size(path)
    if size is None:
        return FaultKind.UNREADABLE_IMAGE, "a file that is none, or cut off"
    if size[0] * size[1] > LARGEST_IMAGE:
        return FaultKind.IMAGE_TOO_LARGE, f"{size[0]} x {size[1]} px"
    return None


def decoded_image(path: Path) -> tuple[np.ndarray, bytes] | str:
    """Pixels as stored, and the bytes of the file; or what is wrong with them.

    Decoders forgive much: they give grey or black rows behind the place where a file ends. So the checksums
    of a PNG and the end mark of a JPEG are looked at first.

    Args:
        path: image file for which ``header_fault`` finds nothing.

    Returns:
        (array (h, w) or (h, w, c) in BGR order of the file's own depth, bytes), or what was found.
    """
    try:
        if (length := path.stat().st_size) > LARGEST_FILE:
            return f"a file of {length} bytes, longer than its pixels can be"
        content = plain_bytes(path)
    except OSError as error:
        return str(error.strerror or error)
    if content.startswith(_PNG) and (place := _broken_chunk(content)) is not None:
        return f"a PNG that is damaged or cut off at byte {place} of {len(content)}"
    if content.startswith(_JPEG) and _JPEG_END not in content[-4096:]:
        return f"a JPEG of {len(content)} bytes without its end"
    image = _decode(content)
    if image is None:
        return f"{len(content)} bytes that cannot be decoded"
    size = image_size(path)
    if size != (image.shape[1], image.shape[0]):
        return f"{image.shape[1]} x {image.shape[0]} px behind a header of {size}"
    return image, content


def image_pair_faults(files: "SceneFiles", decode: bool = True) -> list[Fault]:
    """Faults of both images of a pair.

    Args:
        files: the pair.
        decode: look at the pixels; without it the headers are all that is read.

    Returns:
        Faults of the pre image, of the post image, and of the two together.
    """
    faults: list[Fault] = []
    read: list[tuple[np.ndarray, bytes]] = []

    def note(path: Path, kind: FaultKind, found: str) -> None:
        file = path.relative_to(files.root).as_posix()
        faults.append(Fault(kind, files.name, file, None, found))

    for path in (files.pre_image, files.post_image):
        if fault := header_fault(path):
            note(path, *fault)
        elif decode:
            image = decoded_image(path)
            if isinstance(image, str):
                note(path, FaultKind.DAMAGED_IMAGE, image)
                continue
            read.append(image)
            for kind, found in _pixel_faults(image[0]):
                note(path, kind, found)
    if len(read) == 2 and (same := _same(*read)):
        note(files.post_image, FaultKind.IDENTICAL_IMAGES, same)
    return faults


def _decode(content: bytes) -> np.ndarray | None:
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # more pixels than OpenCV takes
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _broken_chunk(content: bytes) -> int | None:
    """Place of the first PNG chunk that is cut off or fails its checksum; ``None`` where all are whole."""
    view = memoryview(content)
    place = len(_PNG)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(view[place : place + 4], "big")
        if content[end : end + 4] != zlib.crc32(view[place + 4 : end]).to_bytes(4, "big"):
            return place
        if content[place + 4 : place + 8] == b"IEND":
            return None
        place = end + 4
    return min(place, len(content))


def _pixel_faults(image: np.ndarray) -> Iterator[_Found]:
    channels = 1 if image.ndim == 2 else image.shape[2]
    if image.dtype != np.uint8:
        yield FaultKind.NOT_8_BIT, f"{image.dtype}"
    if channels != 3:
        yield FaultKind.NOT_RGB, f"{channels} channel{'s' if channels > 1 else ''}"
    if not image[..., :3].any() if channels > 1 else not image.any():
        yield FaultKind.ALL_BLACK, "0 in every pixel"


def _same(pre: tuple[np.ndarray, bytes], post: tuple[np.ndarray, bytes]) -> str | None:
    if pre[1] == post[1]:
        return "the bytes of the pre image"
    return "the pixels of the pre image" if np.array_equal(pre[0], post[0]) else None
