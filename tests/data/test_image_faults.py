"""Images looked at to the last pixel, and those that must not be decoded at all."""

import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio
from sound_files import SCENE, kinds, kinds_in_conversion, write_image, write_sound_pair

from skyeye_det.data.image_faults import image_pair_faults
from skyeye_det.data.image_reading import LARGEST_FILE, ImageError, image_size, read_image
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.validation import LARGEST_IMAGE, Fault, FaultKind

NOISE = np.random.default_rng(0).integers(1, 255, (64, 64, 3), np.uint8)


def faults_of(root: Path, decode: bool = True) -> list[Fault]:
    ((files,), _) = find_scenes(root, "train")
    return image_pair_faults(files, decode)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG with a whole header, whole checksums, and next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    content = bytearray(cv2.imencode(".jpg", NOISE)[1].tobytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def tiff_of_size(width: int, height: int) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 9}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("part", [0.95, 0.5])
def test_image_that_is_cut_off_is_damaged(tmp_path: Path, suffix: str, part: float) -> None:
    write_sound_pair(tmp_path)
    (tmp_path / "train" / "images" / f"{SCENE}_pre_disaster.png").unlink()
    path = write_image(tmp_path, NOISE, "pre", suffix=suffix)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    (fault,) = faults_of(tmp_path)
    # OpenCV writes a TIFF's directory at its end, so a cut takes the size away too.
    wanted = FaultKind.UNREADABLE_IMAGE if suffix == ".tif" else FaultKind.DAMAGED_IMAGE
    assert (fault.kind, fault.file) == (wanted, f"train/images/{SCENE}_pre_disaster{suffix}")
    with pytest.raises(ImageError) as error:
        read_image(path)
    assert (error.value.kind, error.value.found) == (fault.kind, fault.found)


@pytest.mark.parametrize("place", [3000, 5000, -6])
def test_one_changed_byte_of_a_png_is_damage(tmp_path: Path, place: int) -> None:
    write_sound_pair(tmp_path)
    path = write_image(tmp_path, NOISE, "post")
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)
    (fault,) = faults_of(tmp_path)
    assert fault.kind is FaultKind.DAMAGED_IMAGE
    assert "at byte" in fault.found
    assert faults_of(tmp_path, decode=False) == []
    assert kinds_in_conversion(tmp_path) == (True, [])


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_no_image_is_unreadable(tmp_path: Path, content: bytes) -> None:
    write_sound_pair(tmp_path)
    (tmp_path / "train" / "images" / f"{SCENE}_post_disaster.png").write_bytes(content)
    assert kinds(faults_of(tmp_path)) == [FaultKind.UNREADABLE_IMAGE]
    assert kinds_in_conversion(tmp_path) == (False, [FaultKind.UNREADABLE_IMAGE])


def test_no_image_under_a_name_of_any_bytes_is_unreadable(tmp_path: Path) -> None:
    # OpenCV 5.0's imread ends the interpreter on such a path.
    path = tmp_path / os.fsdecode(b"te\xffst.png")
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match="found a file that is none, cut off"):
        image_size(path)


@pytest.mark.parametrize("bomb", [png_of_size, jpeg_of_size, tiff_of_size])
def test_header_of_a_bomb_is_refused_before_decoding(
    tmp_path: Path, bomb: Callable[[int, int], bytes]
) -> None:
    write_sound_pair(tmp_path)
    for time in ("pre", "post"):
        (tmp_path / "train" / "images" / f"{SCENE}_{time}_disaster.png").write_bytes(bomb(50_000, 50_000))
    command = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from skyeye_det.data.image_faults import image_pair_faults\n"
        "from skyeye_det.data.scene_files import find_scenes\n"
        "((files,), _) = find_scenes(Path(sys.argv[1]), 'train')\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "faults = image_pair_faults(files)\n"
        "grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before\n"
        "print(*(fault.kind.value for fault in faults), grown < 50_000)\n"
    )

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    done = subprocess.run(
        [sys.executable, "-c", command, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=limited,
    )
    assert done.stdout.split() == ["image-too-large", "image-too-large", "True"], done.stderr
    assert kinds_in_conversion(tmp_path) == (False, [FaultKind.IMAGE_TOO_LARGE])


def test_largest_image_is_still_read(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png_of_size(8192, LARGEST_IMAGE // 8192))
    assert image_size(path) == (8192, 8192)
    path.write_bytes(png_of_size(8192, LARGEST_IMAGE // 8192 + 1))
    with pytest.raises(ImageError, match="8192 x 8193 px"):
        image_size(path)


def test_file_longer_than_any_image_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.png"
    path.write_bytes(png_of_size(64, 64))
    with path.open("ab") as file:
        file.truncate(LARGEST_FILE + 1)  # sparse: no byte is written
    with pytest.raises(ImageError, match="longer than its pixels can be"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_an_error(tmp_path: Path, suffix: str) -> None:
    write_sound_pair(tmp_path)
    (tmp_path / "train" / "images" / f"{SCENE}_pre_disaster.png").unlink()
    write_image(tmp_path, NOISE.astype(np.uint16) * 257, "pre", suffix=suffix)
    (fault,) = faults_of(tmp_path)
    assert (fault.kind, fault.found) == (FaultKind.OTHER_KIND_OF_IMAGE, "uint16 values")
    assert kinds_in_conversion(tmp_path) == (False, [FaultKind.OTHER_KIND_OF_IMAGE])


@pytest.mark.parametrize("channels", [1, 4])
def test_other_than_three_channels_is_a_note(tmp_path: Path, channels: int) -> None:
    write_sound_pair(tmp_path)
    write_image(tmp_path, NOISE[..., [0, 1, 2, 0][:channels]].squeeze(), "pre")
    (fault,) = faults_of(tmp_path)
    assert (fault.kind, fault.found.split()[0]) == (FaultKind.NOT_RGB, str(channels))


def test_black_image_is_a_note_and_an_opaque_one_is_black_too(tmp_path: Path) -> None:
    write_sound_pair(tmp_path)
    write_image(tmp_path, np.zeros((64, 64, 3), np.uint8), "pre")
    assert kinds(faults_of(tmp_path)) == [FaultKind.ALL_BLACK]
    black = np.zeros((64, 64, 4), np.uint8)
    black[..., 3] = 255
    write_image(tmp_path, black, "pre")
    assert kinds(faults_of(tmp_path)) == [FaultKind.NOT_RGB, FaultKind.ALL_BLACK]


def test_identical_images_are_told_by_their_pixels(tmp_path: Path) -> None:
    write_sound_pair(tmp_path)
    for time in ("pre", "post"):
        write_image(tmp_path, NOISE, time)
    cv2.imwrite(
        str(tmp_path / "train" / "images" / f"{SCENE}_post_disaster.png"),
        NOISE,
        [cv2.IMWRITE_PNG_COMPRESSION, 0],
    )
    (fault,) = faults_of(tmp_path)
    assert (fault.kind, fault.found) == (FaultKind.IDENTICAL_IMAGES, "the pixels of the pre image")


@pytest.mark.parametrize("interleave", ["pixel", "band"])
def test_tiff_without_all_of_its_tiles_is_damaged(tmp_path: Path, interleave: str) -> None:
    path = tmp_path / "image.tif"
    bands = NOISE.transpose(2, 0, 1).copy()
    bands[:, :16, :16] = 0  # left out of the file
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16, "interleave": interleave, "SPARSE_OK": True}
    with rasterio.open(
        path, "w", driver="GTiff", count=3, width=64, height=64, dtype="uint8", nodata=0, **tiles
    ) as file:
        file.write(bands)
    missing, count = (1, 16) if interleave == "pixel" else (3, 48)
    with pytest.raises(ImageError, match=f"{missing} of {count} tiles or strips that are not in the file"):
        read_image(path)


@pytest.mark.parametrize(
    "layout", [{}, {"interleave": "band"}, {"tiled": True, "blockxsize": 16, "blockysize": 16}]
)
def test_deflated_tiff_whose_bytes_have_changed_is_damaged(tmp_path: Path, layout: dict) -> None:
    path = tmp_path / "image.tif"
    with rasterio.open(
        path, "w", driver="GTiff", count=3, width=64, height=64, dtype="uint8", compress="deflate", **layout
    ) as file:
        file.write(NOISE.transpose(2, 0, 1) // 8)
    assert np.array_equal(read_image(path), NOISE // 8)
    content = bytearray(path.read_bytes())
    place = len(content) * 2 // 3
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(ImageError, match="cannot be decoded|fail their checksum"):
        read_image(path)


def test_tiff_of_an_impossible_width_is_told(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tags = [
        (256, 4, 1, 2**31 - 1),
        (257, 4, 1, 1),
        (258, 3, 1, 8),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
    ]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4))
    with pytest.raises(ImageError, match=r"found (2147483647 x 1 px|.*impossible size)"):
        image_size(path)
