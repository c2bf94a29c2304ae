import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import (
    PngError,
    decode_class_png,
    encode_class_png,
    number_scenes,
    read_class_png,
    read_numbering,
    scene_of_file,
    submission_names,
    write_numbering,
    write_submission_pngs,
    write_tile,
)

PLANE = (np.arange(12, dtype=np.uint8) % 5).reshape(3, 4)


@pytest.mark.parametrize(
    ("scene", "name"),
    [
        ("test_00012", "test_{}_00012_prediction.png"),
        ("hold_00012", "hold_{}_00012_prediction.png"),
        ("palu-tsunami_00000001", "palu-tsunami_00000001_{}_prediction.png"),
        ("test_00000001", "test_00000001_{}_prediction.png"),
    ],
)
def test_names_follow_the_scene_and_lead_back_to_it(scene: str, name: str) -> None:
    kinds = ("localization", "damage")
    assert submission_names(scene) == tuple(name.format(kind) for kind in kinds)
    assert scene_of_file(name.format("target")) is None
    assert [scene_of_file(each) for each in submission_names(scene)] == [(scene, kind) for kind in kinds]


def test_written_images_read_back_the_same_without_leftovers(tmp_path: Path) -> None:
    paths = write_submission_pngs(tmp_path / "new" / "folder", "test_00000", PLANE.clip(0, 1), PLANE)
    np.testing.assert_array_equal(read_class_png(paths[0]), PLANE.clip(0, 1))
    np.testing.assert_array_equal(read_class_png(paths[1]), PLANE)
    stored = cv2.imread(str(paths[1]), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint8
    assert stored.shape == (3, 4)
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


def test_container_entry_writes_to_any_two_paths(tmp_path: Path) -> None:
    write_tile(tmp_path / "a" / "loc.png", tmp_path / "b" / "dmg.png", PLANE.clip(0, 1), PLANE)
    np.testing.assert_array_equal(read_class_png(tmp_path / "b" / "dmg.png"), PLANE)


@pytest.mark.parametrize(
    ("localization", "damage", "message"),
    [
        (PLANE.clip(0, 1)[:2], PLANE, "one shape"),
        (PLANE, PLANE, r"expected localization 0\.\.1"),
        (PLANE.clip(0, 1), PLANE + 1, r"found up to 1 and 5"),
        (PLANE.clip(0, 1), PLANE.astype(np.int32), "expected uint8"),
        (np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.uint8), "expected uint8"),
    ],
)
def test_nothing_is_written_of_images_without_meaning(
    tmp_path: Path, localization, damage, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_submission_pngs(tmp_path, "test_00000", localization, damage)
    assert not list(tmp_path.iterdir())


def test_numbers_follow_the_sorted_names_and_the_table_leads_back(tmp_path: Path) -> None:
    numbering = number_scenes(["b_00000002", "a_00000009", "a_00000001"])
    assert numbering == {"a_00000001": "test_00000", "a_00000009": "test_00001", "b_00000002": "test_00002"}
    path = write_numbering(tmp_path, numbering)
    assert path.read_text().splitlines()[:2] == ["tile,scene", "test_00000,a_00000001"]
    assert read_numbering(tmp_path) == numbering
    assert number_scenes(["a"], prefix="hold") == {"a": "hold_00000"}
    assert read_numbering(tmp_path / "none") == {}


def test_anonymous_scenes_are_not_numbered_again() -> None:
    with pytest.raises(InputError, match="leave out --numbered"):
        number_scenes(["test_00003"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns tile,scene"),
        ("scene,number\n", "expected the columns tile,scene, found scene,number"),
        ("tile,scene\n7,a\n", "in line 2, found 7,a"),
        ("tile,scene\ntest_00000\n", "in line 2"),
        ("tile,scene\ntest_00000,a\ntest_00001,a\n", "again in line 3"),
        ("tile,scene\ntest_00000,a\ntest_00000,b\n", "again in line 3"),
        ("tile,scene\n\xff", "cannot be read"),
    ],
)
def test_damaged_numbering_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "numbering.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=f"numbering.csv: .*{message}"):
        read_numbering(tmp_path)


def test_png_cut_short_anywhere_is_refused() -> None:
    whole = encode_class_png(np.random.default_rng(0).integers(0, 5, (64, 64), dtype=np.uint8))
    for end in (0, 5, 20, 33, 60, len(whole) // 2, len(whole) - 12, len(whole) - 1):
        with pytest.raises(PngError) as caught:
            decode_class_png(whole[:end])
        assert caught.value.kind == "unreadable"


def test_png_that_promises_more_pixels_than_an_image_has_is_refused() -> None:
    content = bytearray(encode_class_png(PLANE))
    content[16:24] = struct.pack(">II", 8193, 8193)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    with pytest.raises(PngError, match="8193 x 8193 px"):
        decode_class_png(bytes(content))


def test_png_with_an_altered_byte_is_refused() -> None:
    whole = bytearray(encode_class_png(PLANE))
    whole[len(whole) // 2 + 3] ^= 1
    with pytest.raises(PngError, match="damaged or cut short"):
        decode_class_png(bytes(whole))


@pytest.mark.parametrize(
    ("image", "found"),
    [
        (np.zeros((4, 4, 3), np.uint8), "8-bit RGB"),
        (np.zeros((4, 4, 4), np.uint8), "8-bit RGB with alpha"),
        (np.zeros((4, 4), np.uint16), "16-bit gray"),
    ],
)
def test_other_kinds_of_png_are_mis_typed(image: np.ndarray, found: str) -> None:
    content = cv2.imencode(".png", image)[1].tobytes()
    with pytest.raises(PngError, match=f"expected 8-bit gray, found {found}") as caught:
        decode_class_png(content)
    assert caught.value.kind == "mis-typed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"GIF89a", "expected a PNG"),
        (encode_class_png(PLANE + 1), r"expected values 0\.\.4, found up to 5"),
        (encode_class_png(PLANE.T.copy()), "expected 4 x 3 px, found 3 x 4"),
    ],
)
def test_image_that_is_no_class_image_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=f"a.png: {message}"):
        read_class_png(tmp_path / "a.png", PLANE.shape)
