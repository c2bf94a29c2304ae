"""Image files that may come from strangers: their size by the header, and their pixels."""

import os
import zlib
from pathlib import Path

import cv2
import imagesize
import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.validation import LARGEST_IMAGE, FaultKind
from skyeye_det.errors import InputError
from skyeye_det.files import open_plain, plain_bytes, read_bytes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Image files that are read, in order of preference where a stem has several."""

LARGEST_FILE = 2**29
"""Bytes of an image file that is still read: the largest image with 16 bits in four channels."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_WITH_HEADER = (PNG_SIGNATURE, _JPEG, b"II*\x00", b"MM\x00*")


def image_size(path: Path) -> tuple[int, int] | None:
    """Size of a PNG, JPEG or TIFF file from its header; other kinds that OpenCV knows are decoded for it.

    Args:
        path: image file; its content counts, not its suffix.

    Returns:
        (width, height) in px, or ``None`` where it is missing or no image. That the pixels behind a good
        header are whole is not checked.
    """
    try:
        with open_plain(path) as file:
            if not file.read(8).startswith(_WITH_HEADER):
                # Not imread: OpenCV 5.0 crashes on a path that is no UTF-8.
                image = decode_image(plain_bytes(path))
                return None if image is None else (image.shape[1], image.shape[0])
            file.seek(0)
            width, height = imagesize.get(file, exif_rotation=False)
    except OSError:
        return None
    return (width, height) if min(width, height) > 0 else None


def sure_image_size(path: Path) -> tuple[int, int]:
    """``image_size`` of a file that must be an image; ``InputError`` where it is missing or none."""
    size = image_size(path)
    if size is None:
        raise InputError(f"{path}: expected a png, jpg or tif image, found none that can be read")
    return size


def decode_image(content: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray | None:
    """Pixels of an image file's bytes in BGR order, as stored by default; None where OpenCV cannot."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error:  # more pixels than OpenCV takes
        return None


def read_image(
    path: str | os.PathLike[str], shape: tuple[int, int] | None = None, *, reduce_depth: bool = False
) -> NDArray[np.uint8]:
    """Reads an image as (H, W, 3) uint8 BGR, in the orientation in which its pixels are stored.

    Args:
        path: png, jpg or tif.
        shape: (height, width) that it must have; any where not given.
        reduce_depth: take the upper 8 of 16 bits a channel, which are refused otherwise.

    Raises:
        InputError: the file is missing, no image, not 8 bits a channel, or of another size.
    """
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = decode_image(read_bytes(path), flags if reduce_depth else flags | cv2.IMREAD_ANYDEPTH)
    if image is None:
        raise InputError(f"{path}: expected a png, jpg or tif image, found something else or a damaged file")
    if image.dtype != np.uint8:
        raise InputError(
            f"{path}: expected 8 bits a channel, found {image.dtype}; convert the image to 8 bits"
        )
    if shape is not None and image.shape[:2] != tuple(shape):
        raise InputError(
            f"{path}: expected {shape[1]} x {shape[0]} px as in the annotations, found {image.shape[1]} x "
            f"{image.shape[0]}; put the right image there or run tools/convert_xbd_to_coco.py again"
        )
    return image


def broken_png_chunk(content: bytes) -> int | None:
    """Place of the first chunk of a PNG that is cut off or fails its checksum; None where all are whole.

    Decoders forgive much, and give the rows before the place where a file ends.
    """
    view = memoryview(content)
    place = len(PNG_SIGNATURE)
    while place + 12 <= len(content):
        end = place + 8 + int.from_bytes(view[place : place + 4], "big")
        if content[end : end + 4] != zlib.crc32(view[place + 4 : end]).to_bytes(4, "big"):
            return place
        if content[place + 4 : place + 8] == b"IEND":
            return None
        place = end + 4
    return min(place, len(content))


def header_fault(size: tuple[int, int] | None) -> tuple[FaultKind, str] | None:
    """Why an image whose header gives this ``image_size`` is not to be decoded: (kind, what was found)."""
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
    # Without what OpenCV itself would say of each damaged file.
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = decode_image(content)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        return f"{len(content)} bytes that cannot be decoded"
    size = image_size(path)
    if size != (image.shape[1], image.shape[0]):
        return f"{image.shape[1]} x {image.shape[0]} px behind a header of {size}"
    return image, content
