"""What is wrong with the images of a pair, every pixel looked at."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.data.image_reading import PNG_SIGNATURE, broken_png_chunk, decode_image
from skyeye_det.data.image_size import image_size
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.validation import LARGEST_IMAGE, Fault, FaultKind
from skyeye_det.files import plain_bytes

LARGEST_FILE = 2**29
"""Bytes of an image file that is still read: the largest image with 16 bits in four channels."""

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
    return size_fault(image_size(path))


def size_fault(size: tuple[int, int] | None) -> _Found | None:
    """The same, where ``image_size`` has been asked before."""
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
    if content.startswith(PNG_SIGNATURE) and (place := broken_png_chunk(content)) is not None:
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


def image_pair_faults(files: SceneFiles, decode: bool = True) -> list[Fault]:
    """Faults of both images of a pair.

    Args:
        files: the pair.
        decode: look at the pixels; without it the headers are all that is read.

    Returns:
        Faults of the pre image, of the post image, and of the two together.
    """
    faults: list[Fault] = []
    read: list[tuple[np.ndarray, bytes]] = []

    for path in (files.pre_image, files.post_image):
        if fault := header_fault(path):
            faults.append(files.fault(fault[0], path, fault[1]))
        elif decode:
            image = decoded_image(path)
            if isinstance(image, str):
                faults.append(files.fault(FaultKind.DAMAGED_IMAGE, path, image))
                continue
            read.append(image)
            faults += [files.fault(kind, path, found) for kind, found in _pixel_faults(image[0])]
    if len(read) == 2 and (same := _same(*read)):
        faults.append(files.fault(FaultKind.IDENTICAL_IMAGES, files.post_image, same))
    return faults


def _decode(content: bytes) -> np.ndarray | None:
    """``decode_image`` without what OpenCV itself would say of each damaged file."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return decode_image(content)
    finally:
        cv2.utils.logging.setLogLevel(level)


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
