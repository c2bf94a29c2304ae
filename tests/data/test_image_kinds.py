"""Kinds of PNG, JPEG and TIFF: each is read as it is stored, or refused by what it is."""

import io
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.enums import ColorInterp

from skyeye_det.data.image_reading import ImageError, image_size, read_image
from skyeye_det.data.validation import FaultKind

HEIGHT, WIDTH = 64, 96
_ROWS, _COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
# Smooth, so that JPEG keeps it, and different in every band.
BANDS = np.stack([_ROWS * 3, _COLUMNS * 2, 255 - _ROWS * 2, _COLUMNS + _ROWS] * 2).astype(np.uint8)
RGB = BANDS[:3].transpose(1, 2, 0)
GRAY = np.repeat(BANDS[0][..., None], 3, axis=2)
LOSSY = 6
"""Most that JPEG and WebP of quality 95 change a smooth picture by."""


def png(bits: int, kind: int, samples: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of uint8 or uint16 samples (h, w, c) packed by hand."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = samples.reshape(len(samples), -1)
    if bits == 16:
        stored = rows.astype(">u2").view(np.uint8)
    else:
        planes = np.unpackbits(rows.astype(np.uint8)[..., None], axis=2)[..., 8 - bits :]
        stored = np.packbits(planes.reshape(len(rows), -1), axis=1)
    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, kind, 0, 0, 0)
    body = [chunk(b"IHDR", header), *(chunk(*each) for each in chunks)]
    body += [chunk(b"IDAT", zlib.compress(np.pad(stored, ((0, 0), (1, 0))).tobytes())), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def jpeg(mode: str = "RGB", **options: Any) -> bytes:
    content = io.BytesIO()
    picture = Image.fromarray(GRAY[..., 0] if mode == "L" else RGB)
    picture.convert(mode).save(content, "JPEG", quality=95, **options)
    return content.getvalue()


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


PALETTE = (np.arange(768).reshape(256, 3) * 7 % 256).astype(np.uint8)
INDICES = BANDS[:1].transpose(1, 2, 0)


def indexed(bits: int) -> np.ndarray:
    return INDICES & (2**bits - 1)


def colored(bits: int) -> np.ndarray:
    return PALETTE[indexed(bits)[..., 0]]


PLTE = b"PLTE", PALETTE.tobytes()
FOUR = BANDS[:4].transpose(1, 2, 0)
WIDE = RGB.astype(np.uint16) * 257

# name: (content, (pixels, most difference) or what the file is called when it is refused)
PNG_AND_JPEG: dict[str, tuple[bytes, tuple[np.ndarray, int] | str]] = {
    "gray": (png(8, 0, INDICES), (GRAY, 0)),
    "gray-1": (png(1, 0, indexed(1)), "1 bit a channel"),
    "gray-4": (png(4, 0, indexed(4)), "4 bits a channel"),
    "gray-16": (png(16, 0, WIDE[..., :1]), "uint16 values"),
    "gray-see-through": (png(8, 0, INDICES, (b"tRNS", b"\0\x03")), (GRAY, 0)),
    "gray-alpha": (png(8, 4, FOUR[..., [0, 3]]), (GRAY, 0)),
    "gray-alpha-16": (png(16, 4, WIDE[..., :2]), "uint16 values"),
    "rgb": (png(8, 2, RGB), (RGB, 0)),
    "rgb-see-through": (png(8, 2, RGB, (b"tRNS", b"\0\0\0\0\0\xff")), (RGB, 0)),
    "rgb-gamma": (png(8, 2, RGB, (b"gAMA", struct.pack(">I", 200000))), (RGB, 0)),
    "rgb-16": (png(16, 2, WIDE), "uint16 values"),
    "rgba": (png(8, 6, FOUR), (RGB, 0)),
    "rgba-16": (png(16, 6, FOUR.astype(np.uint16) * 257), "uint16 values"),
    "palette-1": (png(1, 3, indexed(1), (b"PLTE", PALETTE[:2].tobytes())), (colored(1), 0)),
    "palette-4": (png(4, 3, indexed(4), (b"PLTE", PALETTE[:16].tobytes())), (colored(4), 0)),
    "palette": (png(8, 3, INDICES, PLTE), (colored(8), 0)),
    "palette-see-through": (png(8, 3, INDICES, PLTE, (b"tRNS", bytes(range(256)))), (colored(8), 0)),
    "jpeg": (jpeg(), (RGB, LOSSY)),
    "jpeg-rotated": (jpeg(exif=rotated()), (RGB, LOSSY)),
    "jpeg-gray": (jpeg("L"), (GRAY, LOSSY)),
    "jpeg-cmyk": (jpeg("CMYK"), "CMYK colors"),
}


def check(path: Path, expected: tuple[np.ndarray, int] | str) -> None:
    """What is read, or what is said of it, by the header and by the pixels alike."""
    if isinstance(expected, str):
        for read in (image_size, read_image):
            with pytest.raises(ImageError) as error:
                read(path)
            assert (error.value.kind, error.value.found) == (FaultKind.OTHER_KIND_OF_IMAGE, expected)
        return
    pixels, difference = expected
    found = read_image(path)
    assert image_size(path) == (WIDTH, HEIGHT)
    assert found.shape == pixels.shape
    assert np.abs(found.astype(int) - pixels).max() <= difference


@pytest.mark.parametrize("name", PNG_AND_JPEG)
def test_png_and_jpeg_are_read_as_stored_or_refused_by_what_they_are(tmp_path: Path, name: str) -> None:
    content, expected = PNG_AND_JPEG[name]
    (tmp_path / "image").write_bytes(content)
    check(tmp_path / "image", expected)


def write_tiff(path: Path, bands: np.ndarray, colors: Sequence[ColorInterp] = (), **options: Any) -> None:
    options.setdefault("count", len(bands))
    profile = {"driver": "GTiff", "dtype": bands.dtype, "height": HEIGHT, "width": WIDTH} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile) as file:
            file.write(bands)
            if colors:
                file.colorinterp = colors


R, G, B = ColorInterp.red, ColorInterp.green, ColorInterp.blue
THREE, FIVE = BANDS[:3], BANDS[:5]

TIFF: dict[str, tuple[np.ndarray, dict[str, Any], tuple[np.ndarray, int] | str]] = {
    "rgb": (THREE, {}, (RGB, 0)),
    "three-bands-called-gray": (THREE, {"photometric": "MINISBLACK"}, (RGB, 0)),
    "four-bands-with-near-infrared": (BANDS[:4], {}, (RGB, 0)),
    "four-bands-called-gray": (BANDS[:4], {"photometric": "MINISBLACK"}, (RGB, 0)),
    "alpha": (BANDS[:4], {"alpha": "YES"}, (RGB, 0)),
    "premultiplied-alpha": (BANDS[:4], {"alpha": "PREMULTIPLIED"}, (RGB, 0)),
    "gray": (BANDS[:1], {}, (GRAY, 0)),
    "gray-from-white": (BANDS[:1], {"photometric": "MINISWHITE"}, (GRAY, 0)),
    "gray-alpha": (BANDS[:2], {"alpha": "YES"}, (GRAY, 0)),
    "two-bands": (BANDS[:2], {}, "2 bands"),
    "five-bands-named": (FIVE, {"photometric": "RGB"}, (RGB, 0)),
    "five-bands": (FIVE, {"photometric": "MINISBLACK"}, "5 bands, none of them called red, green or blue"),
    "eight-bands": (BANDS, {"photometric": "MINISBLACK"}, "8 bands, none of them called red, green or blue"),
    "blue-first": (THREE, {"colors": (B, G, R)}, "bands in the order blue, green, red"),
    "near-infrared-first": (THREE, {"colors": (ColorInterp.nir, R, G)}, "bands in the order nir, red, green"),
    "cmyk": (BANDS[:4], {"photometric": "CMYK"}, "CMYK colors"),
    "tiled": (THREE, {"tiled": True, "blockxsize": 16, "blockysize": 16}, (RGB, 0)),
    "jpeg-ycbcr": (
        THREE,
        {"compress": "JPEG", "photometric": "YCBCR", "JPEG_QUALITY": 95, "interleave": "pixel"},
        (RGB, LOSSY),
    ),
    "nodata": (THREE, {"nodata": 0}, (RGB, 0)),
    "one-bit": (BANDS[:1] % 2, {"NBITS": 1}, "1 bit a channel"),
    "four-bit": (THREE % 16, {"NBITS": 4}, "4 bits a channel"),
    "int8": (THREE.view(np.int8), {}, "int8 values"),
    "uint16": (THREE.astype(np.uint16), {}, "uint16 values"),
    "float32": (THREE.astype(np.float32), {}, "float32 values"),
    "complex": (THREE.astype(np.complex64), {}, "complex64 values"),
}


@pytest.mark.parametrize("name", TIFF)
def test_tiff_is_read_as_stored_or_refused_by_what_it_is(tmp_path: Path, name: str) -> None:
    bands, options, expected = TIFF[name]
    path = tmp_path / "image.tif"
    write_tiff(path, bands, **options)
    check(path, expected)


def test_palette_of_a_tiff_gives_its_colors(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    write_tiff(path, BANDS[:1], photometric="PALETTE")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {index: tuple(color) for index, color in enumerate(PALETTE.tolist())})
    check(path, (colored(8), 0))


def test_lab_is_refused(tmp_path: Path) -> None:
    Image.fromarray(RGB, "LAB").save(tmp_path / "image.tif")
    check(tmp_path / "image.tif", "CIELAB colors")


def test_orientation_of_a_tiff_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.fromarray(RGB).save(path, tiffinfo={274: 6})
    check(path, (RGB, 0))


def test_first_of_several_pages_is_read(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    Image.fromarray(RGB).save(path, save_all=True, append_images=[Image.fromarray(255 - RGB)])
    check(path, (RGB, 0))


@pytest.mark.parametrize("suffix", [".tif.msk", ".tif.aux.xml", ".tif.ovr", ".tfw"])
def test_files_beside_an_image_are_not_opened(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "image.tif"
    write_tiff(path, THREE)
    beside = path.with_name(f"image{suffix}")
    beside.write_text(
        "<PAMDataset><PAMRasterBand band='1'><ColorInterp>Blue</ColorInterp></PAMRasterBand></PAMDataset>"
    )
    check(path, (RGB, 0))


@pytest.mark.parametrize("kind", ["gray", "rgb", "palette"])
def test_png_of_too_few_pixels_is_damaged(tmp_path: Path, kind: str) -> None:
    # GDAL's faster way fills a large one up with black, and says nothing.
    picture = np.zeros((2000, 1000, 1 if kind in {"gray", "palette"} else 3), np.uint8) + 9
    color, chunks = {"gray": (0, ()), "palette": (3, (PLTE,))}.get(kind, (2, ()))
    content = bytearray(png(8, color, picture, *chunks))
    place = content.index(b"IHDR")
    content[place + 8 : place + 12] = struct.pack(">I", 4000)
    content[place + 17 : place + 21] = struct.pack(">I", zlib.crc32(content[place : place + 17]))
    (tmp_path / "image.png").write_bytes(content)
    with pytest.raises(ImageError, match="cannot be decoded"):
        read_image(tmp_path / "image.png")


@pytest.mark.parametrize("content", [b"<VRTDataset/>", b"P6 1 1 255 abc", b"RIFF....WEBPVP8 ", b"BM", b""])
def test_other_kinds_of_image_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match="expected a PNG, JPEG or TIFF image"):
        read_image(path)


def test_names_that_are_not_ascii_are_read(tmp_path: Path) -> None:
    path = tmp_path / "höhe 高.tif"
    write_tiff(tmp_path / "image.tif", THREE)
    (tmp_path / "image.tif").rename(path)
    check(path, (RGB, 0))
