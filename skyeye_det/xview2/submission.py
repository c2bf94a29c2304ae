"""Names and files of an xView2 submission, and its class images: uint8 PNG of one channel.

A tile is two PNGs, localization 0/1 and damage 0..4. Anonymous tiles (``test_00000``) carry the names that
the official scorer wants, ``test_localization_00000_prediction.png`` and
``test_damage_00000_prediction.png``; scenes with a name carry it, ``<scene>_localization_prediction.png``; a
numbered submission gives such scenes a running number, and ``numbering.csv`` says which is which.

PNGs are read without trust: decoders turn palettes and 16 bits into something else, and give the rows before
a truncated end. So the header and every checksum are looked at before decoding.
"""

import csv
import io
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.image_reading import PNG_SIGNATURE, broken_png_chunk, decode_gray
from skyeye_det.data.pairs import anonymous_id
from skyeye_det.data.validation import LARGEST_IMAGE
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes, utf8, write_bytes

NUMBERING_FILE = "numbering.csv"
LOCALIZATION, DAMAGE = "localization", "damage"

PARTS_FOLDER, JOINED_FILE = "instances", "instances.json"
"""COCO results that ``tools/infer.py`` leaves beside the PNGs: one file a scene, and one of all."""

CANDIDATES_FOLDER = "candidates"
"""Likewise, and with .json, what the rule left out."""

_ANONYMOUS_FILE = re.compile(
    r"(?P<prefix>test|hold)_(?P<kind>localization|damage)_(?P<number>\d{5})_prediction\.png"
)
_NAMED_FILE = re.compile(r"(?P<scene>.+)_(?P<kind>localization|damage)_prediction\.png")
_COLUMNS = ["tile", "scene"]
_GRAY = 0
_COLOR_TYPES = {_GRAY: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGB with alpha"}


def submission_names(scene: str) -> tuple[str, str]:
    """File names (localization, damage) of the predictions of a named scene or of ``test_00000``."""
    prefix, number = anonymous_id(scene) or (scene, None)
    ending = "prediction.png" if number is None else f"{number}_prediction.png"
    return f"{prefix}_{LOCALIZATION}_{ending}", f"{prefix}_{DAMAGE}_{ending}"


def scene_of_file(name: str) -> tuple[str, str] | None:
    """(scene, ``localization`` or ``damage``) of a prediction's file name, None for another file's."""
    if (match := _ANONYMOUS_FILE.fullmatch(name)) is not None:
        return f"{match['prefix']}_{match['number']}", match["kind"]
    if (match := _NAMED_FILE.fullmatch(name)) is not None:
        return match["scene"], match["kind"]
    return None


PREFIXES = "test", "hold"
"""Of anonymous names; the first unless another is asked for."""


def number_scenes(scenes: Iterable[str], prefix: str = PREFIXES[0]) -> dict[str, str]:
    """Scene -> ``test_00000``, ``test_00001``, ... in sorted order, as the official scorer wants.

    Raises:
        InputError: a scene is anonymous already.
    """
    ordered = sorted(set(scenes))
    for scene in ordered:
        if anonymous_id(scene) is not None:
            raise InputError(f"{scene}: has a competition number already; leave out --numbered")
    return {scene: f"{prefix}_{number:05d}" for number, scene in enumerate(ordered)}


def write_numbering(output: Path, numbering: Mapping[str, str]) -> Path:
    """Writes ``numbering.csv`` (tile, scene) of :func:`number_scenes` beside the PNGs; returns its path."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows((name, scene) for scene, name in sorted(numbering.items(), key=lambda item: item[1]))
    path = Path(output) / NUMBERING_FILE
    write_bytes(path, table.getvalue().encode())
    return path


def read_numbering(folder: Path) -> dict[str, str]:
    """Reads scene -> anonymous name of a numbered submission; empty where there is no ``numbering.csv``.

    Raises:
        InputError: the table is unreadable, or has other columns, a bad tile name or a scene twice.
    """
    path = Path(folder) / NUMBERING_FILE
    if not path.exists():
        return {}
    try:
        rows = list(csv.reader(io.StringIO(utf8(plain_bytes(path)).decode())))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not rows or rows[0] != _COLUMNS:
        raise InputError(
            f"{path}: expected the columns {','.join(_COLUMNS)}, found {','.join(rows[0]) if rows else ''}"
        )
    numbering: dict[str, str] = {}
    tiles: set[str] = set()
    for line, row in enumerate(rows[1:], start=2):
        if len(row) != len(_COLUMNS) or anonymous_id(row[0]) is None:
            raise InputError(f"{path}: expected test_00000,<scene> in line {line}, found {','.join(row)}")
        if row[1] in numbering or row[0] in tiles:
            raise InputError(
                f"{path}: expected every tile and scene once, found {','.join(row)} again in line {line}"
            )
        numbering[row[1]] = row[0]
        tiles.add(row[0])
    return numbering


def write_submission_pngs(
    output: Path, scene: str, localization: np.ndarray, damage: np.ndarray
) -> tuple[Path, Path]:
    """Writes both PNGs of a tile by :func:`write_tile` as :func:`submission_names`; returns their paths."""
    names = submission_names(scene)
    paths = Path(output) / names[0], Path(output) / names[1]
    write_tile(*paths, localization, damage)
    return paths


def write_tile(
    localization_path: Path, damage_path: Path, localization: np.ndarray, damage: np.ndarray
) -> None:
    """Writes both PNGs of a tile; each is whole or absent, and the same images give the same bytes.

    Args:
        localization_path: in a folder that is made where missing; so is the next.
        damage_path: of the other PNG.
        localization: uint8 (h, w), 0/1.
        damage: uint8 (h, w), 0..4.

    Raises:
        InputError: a folder cannot be written.
        ValueError: shapes that differ, another dtype, values out of range.
    """
    if localization.shape != damage.shape:
        raise ValueError(f"expected images of one shape, found {localization.shape} and {damage.shape}")
    contents = encode_class_png(localization), encode_class_png(damage)
    if localization.max() > 1 or damage.max() > NUM_DAMAGE_CLASSES:
        raise ValueError(
            f"expected localization 0..1 and damage 0..{NUM_DAMAGE_CLASSES},"
            f" found up to {localization.max()} and {damage.max()}"
        )
    write_bytes(localization_path, contents[0])
    write_bytes(damage_path, contents[1])


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


class PngError(ValueError):
    """What is wrong with a PNG; ``kind`` is ``unreadable`` or ``mis-typed``."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


def decode_class_png(content: bytes) -> np.ndarray:
    """Class image uint8 (h, w) of a PNG file's bytes.

    Raises:
        PngError: no whole PNG, or not 8 bits in one channel.
    """
    if not content.startswith(PNG_SIGNATURE) or content[12:16] != b"IHDR" or len(content) < 33:
        raise PngError("unreadable", f"expected a PNG, found {len(content)} bytes of something else")
    width, height, bits, color_type = struct.unpack(">IIBB", content[16:26])
    if (place := broken_png_chunk(content)) is not None:
        raise PngError("unreadable", f"the PNG is damaged or cut short at byte {place}")
    if bits != 8 or color_type != _GRAY:
        found = _COLOR_TYPES.get(color_type, f"colour type {color_type}")
        raise PngError("mis-typed", f"expected 8-bit gray, found {bits}-bit {found}")
    if width * height > LARGEST_IMAGE:
        raise PngError("unreadable", f"expected at most 8192 x 8192 px, found {width} x {height} px")
    try:
        return decode_gray(content)
    except OSError as error:
        raise PngError("unreadable", "the image data cannot be decoded") from error


def read_class_png(path: Path, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Class image uint8 (h, w), values 0..4, of a PNG file.

    Args:
        path: of the file.
        shape: (h, w) that it must have; None for any.

    Raises:
        InputError: missing, unreadable, not 8-bit gray, of another size, or with values that mean nothing.
    """
    try:
        image = decode_class_png(plain_bytes(path))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except PngError as fault:
        raise InputError(f"{path}: {fault}") from fault
    if shape is not None and image.shape != shape:
        raise InputError(
            f"{path}: expected {shape[1]} x {shape[0]} px, found {image.shape[1]} x {image.shape[0]};"
            " tools/check_submission.py lists all such files of a submission"
        )
    if (highest := int(image.max())) > NUM_DAMAGE_CLASSES:
        raise InputError(
            f"{path}: expected values 0..{NUM_DAMAGE_CLASSES}, found up to {highest};"
            " tools/check_submission.py lists all such files of a submission"
        )
    return image
