"""Width and height of an image file from its header: no pixel is decoded."""

import struct
from pathlib import Path
from typing import BinaryIO

from skyeye_det.data.image_reading import PNG_SIGNATURE, decode_image
from skyeye_det.errors import InputError
from skyeye_det.files import open_plain, plain_bytes

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Image files that are read, in order of preference where a stem has several."""

_TIFF_ORDERS = {b"II*\x00": "<", b"MM\x00*": ">"}
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT, _TIFF_LONG = 256, 257, 3, 4
# Start-of-frame markers; C4, C8 and CC share the range and mean other things.
_JPEG_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def image_size(path: Path) -> tuple[int, int] | None:
    """Size of a PNG, JPEG or TIFF file; other kinds that OpenCV knows are decoded for it.

    Args:
        path: image file; its content counts, not its suffix.

    Returns:
        (width, height) in px, or ``None`` where it is missing or no image. That the pixels behind a good
        header are whole is not checked.
    """
    try:
        with open_plain(path) as file:
            start = file.read(24)
            if start.startswith(PNG_SIGNATURE):
                size: tuple[int, int] | None = struct.unpack(">II", start[16:24])
            elif start.startswith(b"\xff\xd8"):
                size = _jpeg_size(file)
            elif order := _TIFF_ORDERS.get(start[:4]):
                size = _tiff_size(file, order)
            else:
                size = _decoded_size(path)
    except (OSError, struct.error, IndexError):
        return None
    return size if size and min(size) > 0 else None


def sure_image_size(path: Path) -> tuple[int, int]:
    """The same of a file that must be an image.

    Raises:
        InputError: it is missing or none.
    """
    size = image_size(path)
    if size is None:
        raise InputError(f"{path}: expected a png, jpg or tif image, found none that can be read")
    return size


def _jpeg_size(file: BinaryIO) -> tuple[int, int] | None:
    file.seek(2)
    while True:
        if file.read(1) != b"\xff":
            return None
        marker = file.read(1)[0]
        while marker == 0xFF:
            marker = file.read(1)[0]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">xxxHH", file.read(7))
            return width, height
        if marker in (0xD9, 0xDA):
            return None
        if marker != 0x01 and not 0xD0 <= marker <= 0xD8:
            file.seek(struct.unpack(">H", file.read(2))[0] - 2, 1)


def _tiff_size(file: BinaryIO, order: str) -> tuple[int, int] | None:
    file.seek(4)
    file.seek(struct.unpack(f"{order}I", file.read(4))[0])
    found: dict[int, int] = {}
    for _ in range(struct.unpack(f"{order}H", file.read(2))[0]):
        entry = file.read(12)
        tag, kind = struct.unpack(f"{order}HH", entry[:4])
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT) and kind in (_TIFF_SHORT, _TIFF_LONG):
            found[tag] = struct.unpack_from(f"{order}{'H' if kind == _TIFF_SHORT else 'I'}", entry, 8)[0]
    return (found[_TIFF_WIDTH], found[_TIFF_HEIGHT]) if len(found) == 2 else None


def _decoded_size(path: Path) -> tuple[int, int] | None:
    # Not imread: OpenCV 5.0 crashes on a path that is no UTF-8.
    image = decode_image(plain_bytes(path))
    return None if image is None else (image.shape[1], image.shape[0])
