"""Class images as PNG: uint8, one channel, read without trust.

Decoders turn palettes and 16 bits into something else, and give the rows before a truncated end. So the
header and every checksum are looked at before decoding.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from skyeye_det.data.image_reading import PNG_SIGNATURE, broken_png_chunk, decode_image
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes

_COLOR_TYPES = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}
_GRAY = 0


class PngError(ValueError):
    """What is wrong with a PNG; ``kind`` is ``unreadable`` or ``mis-typed``."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class PngHeader(NamedTuple):
    """Size in px, bits a sample, and the PNG colour type."""

    width: int
    height: int
    bit_depth: int
    color_type: int


def encode_class_png(image: np.ndarray) -> bytes:
    """PNG of a class image; the same image gives the same bytes.

    Args:
        image: uint8 (h, w), not empty.

    Raises:
        ValueError: another shape or dtype.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f"expected uint8 (h, w), found {image.dtype} {image.shape}")
    done, content = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be written as PNG")
    return content.tobytes()


def decode_class_png(content: bytes) -> np.ndarray:
    """Class image uint8 (h, w) of a PNG file's bytes.

    Raises:
        PngError: no whole PNG, or not 8 bits in one channel.
    """
    header = _read_header(content)
    if (place := broken_png_chunk(content)) is not None:
        raise PngError("unreadable", f"the PNG is damaged or cut short at byte {place}")
    if header.bit_depth != 8 or header.color_type != _GRAY:
        found = _COLOR_TYPES.get(header.color_type, f"colour type {header.color_type}")
        raise PngError("mis-typed", f"expected 8-bit gray, found {header.bit_depth}-bit {found}")
    image = decode_image(content)
    if image is None or image.shape != (header.height, header.width):
        raise PngError("unreadable", "the image data cannot be decoded")
    return image


def read_class_png(path: Path) -> np.ndarray:
    """Class image uint8 (h, w) of a PNG file.

    Raises:
        InputError: missing, unreadable, or not 8-bit gray.
    """
    try:
        return decode_class_png(plain_bytes(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except PngError as fault:
        raise InputError(f"{path}: {fault}") from fault


def _read_header(content: bytes) -> PngHeader:
    if not content.startswith(PNG_SIGNATURE) or content[12:16] != b"IHDR" or len(content) < 33:
        raise PngError("unreadable", f"expected a PNG, found {len(content)} bytes of something else")
    return PngHeader(*struct.unpack(">IIBB", content[16:26]))
