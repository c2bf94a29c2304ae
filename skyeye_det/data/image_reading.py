"""Pixels of image files that may come from strangers."""

import os
import zlib

import cv2
import numpy as np
from numpy.typing import NDArray

from skyeye_det.errors import InputError
from skyeye_det.files import read_bytes

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_image(content: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray | None:
    """Pixels of an image file's bytes in BGR order; None where OpenCV cannot decode them.

    Args:
        content: of the file.
        flags: of ``cv2.imdecode``; without them the pixels are given as they are stored.
    """
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
