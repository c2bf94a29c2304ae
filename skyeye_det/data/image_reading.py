"""Image files that may come from strangers: their size and kind by the header, and their pixels.

GDAL reads them, by the driver that the first bytes tell and from that one file: what lies beside it is passed
over. Whatever a header's tags say, pixels are given as they are stored, in the orientation in which they are
stored, or the file is refused by what it is.
"""

import errno
import os
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Compression, Interleaving
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from skyeye_det.data.validation import LARGEST_IMAGE, FaultKind
from skyeye_det.errors import InputError
from skyeye_det.files import open_plain

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
"""Image files that are read, in order of preference where a stem has several."""

LARGEST_FILE = 2**29
"""Bytes of an image file that is still read: twice the largest image of four bands."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_DRIVERS = {PNG_SIGNATURE: "PNG", b"\xff\xd8\xff": "JPEG"} | dict.fromkeys(
    (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"), "GTiff"
)
_GDAL_OPTIONS = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no file beside it
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",  # a cut JPEG would be filled up with gray,
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # and a PNG of too few pixels with black
}
_RGB = ColorInterp.red, ColorInterp.green, ColorInterp.blue
_UNNAMED = {ColorInterp.gray, ColorInterp.undefined}
_STRUCTURE = "IMAGE_STRUCTURE"


class ImageError(InputError):
    """An image that is not read.

    Attributes:
        kind: of fault.
        found: what stood in the place of what ``kind`` expects.
    """

    def __init__(self, path: str | os.PathLike[str], kind: FaultKind, found: str):
        super().__init__(f"{path}: expected {kind.expected}, found {found}")
        self.path, self.kind, self.found = path, kind, found

    def __reduce__(self) -> tuple[type, tuple]:
        """For loading processes, which hand it to their parent."""
        return type(self), (self.path, self.kind, self.found)


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Size of an image that can be read, by its header; whether its pixels are whole is not looked at.

    Args:
        path: image file; its content counts, not its suffix.

    Returns:
        (width, height) in px.

    Raises:
        ImageError: missing, no image, too large, or of a kind that is not read.
    """
    with _read_from(path) as (image, _):
        return image.width, image.height


def band_count(path: str | os.PathLike[str]) -> int:
    """Number of bands of an image, a palette being one; ``ImageError`` as of ``image_size``."""
    with _read_from(path) as (image, _):
        return image.count


def read_image(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Reads an image as (h, w, 3) uint8 RGB; gray is repeated, further bands are passed over.

    Args:
        path: png, jpg or tif.
        shape: (h, w) that it must have; any where not given.

    Raises:
        ImageError: as of ``image_size``, or its pixels are damaged or not all there.
        InputError: of another size.
    """
    with _read_from(path, whole=True) as (image, content):
        try:
            require_whole_png(content)
            _require_whole_blocks(image, content)
            bands = image.read([1, 2, 3] if image.count > 2 else [1])
        except (OSError, RasterioError) as error:
            found = str(error) if isinstance(error, _CutError) else "pixels that cannot be decoded"
            raise ImageError(path, FaultKind.DAMAGED_IMAGE, found) from error
        palette = image.colormap(1) if image.colorinterp[0] is ColorInterp.palette else {}
    if shape is not None and bands.shape[1:] != tuple(shape):
        raise InputError(
            f"{path}: expected {shape[1]} x {shape[0]} px as in the annotations, found {bands.shape[2]} x "
            f"{bands.shape[1]}; put the right image there or run tools/convert_xbd_to_coco.py again"
        )
    if palette:
        colors = np.zeros((256, 3), np.uint8)
        colors[list(palette)] = [color[:3] for color in palette.values()]
        return colors[bands[0]]
    if len(bands) == 1:
        return np.repeat(bands[0][..., None], 3, axis=2)
    return np.ascontiguousarray(bands.transpose(1, 2, 0))


def decode_gray(content: bytes) -> NDArray[np.uint8]:
    """First band, (h, w), of an image file's bytes as it is stored; OSError where it cannot be decoded."""
    with _opened(content) as image:
        return image.read(1)


class _CutError(OSError):
    """A file that does not hold all of its pixels, with what is missing."""


def require_whole_png(content: bytes) -> None:
    """Raises OSError where the bytes are those of a PNG that is damaged or cut off."""
    if content.startswith(PNG_SIGNATURE) and (place := broken_png_chunk(content)) is not None:
        raise _CutError(f"a PNG that is damaged or cut off at byte {place} of {len(content)}")


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


def _require_whole_blocks(image: DatasetReader, content: bytes) -> None:
    """Refuses a TIFF without all of its tiles or strips, which GDAL would fill with black or with nodata.

    Deflated ones bear a checksum, at which GDAL does not look.
    """
    if image.driver != "GTiff":
        return
    bands = range(1, min(image.count, 3) + 1) if image.interleaving is Interleaving.band else [1]
    blocks = [(band, place) for band in bands for place, _ in image.block_windows(band)]
    missing = damaged = 0
    for band, (row, column) in blocks:
        start, length = (
            image.get_tag_item(f"BLOCK_{key}_{column}_{row}", "TIFF", bidx=band) for key in ("OFFSET", "SIZE")
        )
        if start is None or length is None:
            missing += 1
        elif image.compression is Compression.deflate:
            damaged += not _is_whole_zlib(content[int(start) : int(start) + int(length)])
    for count, found in ((missing, "are not in the file"), (damaged, "fail their checksum")):
        if count:
            raise _CutError(f"{count} of {len(blocks)} tiles or strips that {found}")


def _is_whole_zlib(data: bytes) -> bool:
    try:
        zlib.decompress(data)
    except zlib.error:
        return False
    return True


@contextmanager
def _read_from(path: str | os.PathLike[str], whole: bool = False) -> Iterator[tuple[DatasetReader, bytes]]:
    """Opens an image that can be read by its header; with the bytes of the ``whole`` file, or none.

    Raises:
        ImageError: as of ``image_size``.
    """
    content = b""
    try:
        with open_plain(path) as file:
            if (length := os.fstat(file.fileno()).st_size) > LARGEST_FILE:
                raise OSError(errno.EFBIG, f"a file of {length} bytes, longer than its pixels can be")
            if whole or not _is_utf8(path):
                content = file.read()
        with _opened(content or Path(path)) as image:
            _require_readable(path, image)
            yield image, content
    except OSError as error:
        reason = (error.strerror or "a file that is none, cut off, or of an impossible size").lower()
        raise ImageError(path, FaultKind.UNREADABLE_IMAGE, reason) from error


@contextmanager
def _opened(source: bytes | Path) -> Iterator[DatasetReader]:
    """Opens an image file, or the bytes of one, by its own kind and without any other file.

    Raises:
        OSError: it is none of these kinds of image.
    """
    if isinstance(source, Path):
        with source.open("rb") as file:
            start = file.read(8)
    else:
        start = source[:8]
    driver = next((name for signature, name in _DRIVERS.items() if start.startswith(signature)), None)
    if driver is None:
        raise OSError("neither PNG nor JPEG nor TIFF")
    try:
        with rasterio.Env(**_GDAL_OPTIONS), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            if isinstance(source, bytes):
                with MemoryFile(source) as memory, memory.open(driver=driver) as image:
                    yield image
            else:
                with rasterio.open(source.absolute(), driver=driver) as image:
                    yield image
    except RasterioError as error:
        raise OSError("an image that GDAL cannot read") from error


def _is_utf8(path: str | os.PathLike[str]) -> bool:
    """Whether GDAL can take the name."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _require_readable(path: str | os.PathLike[str], image: DatasetReader) -> None:
    if image.width * image.height > LARGEST_IMAGE:
        raise ImageError(path, FaultKind.IMAGE_TOO_LARGE, f"{image.width} x {image.height} px")
    if found := _unsupported(image):
        raise ImageError(path, FaultKind.OTHER_KIND_OF_IMAGE, found)


def _unsupported(image: DatasetReader) -> str | None:
    """What an image is that is not 8 bits a channel in gray or red, green and blue; None for one that is."""
    kinds, colors = set(image.dtypes), image.colorinterp
    if kinds != {"uint8"}:
        return f"{' and '.join(sorted(kinds))} values"
    has_palette = ColorInterp.palette in colors
    # GDAL makes up a palette for a TIFF of one bit; a PNG's palette is its own.
    if (bits := image.tags(1, ns=_STRUCTURE).get("NBITS")) and not (has_palette and image.driver == "PNG"):
        return f"{bits} bit{'s' * (bits != '1')} a channel"
    if has_palette:
        return None if image.count == 1 else f"a palette and {image.count} bands"
    # CMYK, CIELAB and others, which GDAL turns into RGB by rules of its own; YCbCr is how JPEG keeps RGB.
    if (space := image.tags(ns=_STRUCTURE).get("SOURCE_COLOR_SPACE", "YCbCr")) != "YCbCr":
        return f"{space} colors"
    if image.count == 2 and colors[1] is not ColorInterp.alpha:
        return "2 bands"
    if image.count > 2 and colors[:3] != _RGB and not _UNNAMED.issuperset(colors[:3]):
        return f"bands in the order {', '.join(color.name for color in colors)}"
    if image.count > 4 and colors[:3] != _RGB:
        return f"{image.count} bands, none of them called red, green or blue"
    return None
