"""Damage to images: PNG chunks, bombs, other depths and colours, other kinds of files, other sizes."""

import struct
import zlib
from collections.abc import Callable
from random import Random

import cv2
import numpy as np

ByteDamage = Callable[[Random, bytes], bytes]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BOMB_SIDES = (16_384, 32_000, 65_535, 1_000_000, 2**31 - 1)


def chunk_damaged(rng: Random, content: bytes) -> bytes:
    """A chunk is gone, doubled, of another length, type or checksum; checksums are right but for the last."""
    chunks = _chunks(content)
    place = rng.randrange(len(chunks))
    kind, data = chunks[place]
    what = rng.randrange(7)
    if what == 0:
        chunks.pop(place)
    elif what == 1:
        chunks.insert(place, chunks[place])
    elif what == 2:
        chunks[place] = kind, data[: len(data) // 2]
    elif what == 3:
        chunks[place] = rng.choice((b"IDAT", b"PLTE", b"tRNS", b"iCCP", b"zTXt", b"abcd", b"IEND")), data
    elif what == 4:
        chunks.insert(1, (rng.choice((b"zTXt", b"iCCP", b"eXIf", b"tRNS", b"acTL")), rng.randbytes(40)))
    elif what == 5:
        return _written(chunks)[:-4] + b"\0\0\0\0"
    else:
        start = content.find(kind) - 4
        length = rng.choice((0, 1, 2**31 - 1, 2**32 - 1))
        return content[:start] + struct.pack(">I", length) + content[start + 4 :]
    return _written(chunks)


def header_damaged(rng: Random, content: bytes) -> bytes:
    """Another size, depth, colour type or interlace in the header, with the right checksum."""
    chunks = _chunks(content)
    fields = list(struct.unpack(">IIBBBBB", chunks[0][1]))
    place = rng.randrange(7)
    sizes = (0, 1, 127, 129, 4096, *_BOMB_SIDES, 2**32 - 1)
    fields[place] = rng.choice(sizes) if place < 2 else rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    chunks[0] = b"IHDR", struct.pack(">IIBBBBB", *fields)
    return _written(chunks)


def bomb(rng: Random, content: bytes) -> bytes:
    """A few hundred kilobytes that unpack to hundreds of megabytes."""
    width, height = rng.choice(((30_000, 30_000), (16_000, 16_000), (1_000_000, 400), (100, 4_000_000)))
    color, channels = rng.choice(((0, 1), (0, 1), (2, 3)))
    packer = zlib.compressobj(9)
    rows = max(1, 2**22 // (width * channels + 1))
    block = bytes(rows * (width * channels + 1))
    limit = 2 if rng.random() < 0.5 else height // rows
    data = b"".join(packer.compress(block) for _ in range(min(limit, 200))) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return _written([(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")])


def other_kind(rng: Random, content: bytes) -> bytes:
    """The same picture with another depth, palette or number of channels, or in another format."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    gray = image if image.ndim == 2 else image[..., 0]
    what = rng.randrange(6)
    if what == 0:
        return _encoded(".png", gray.astype(np.uint16) * 257)
    if what == 1:
        return _encoded(".png", np.dstack([gray] * rng.choice((3, 4))))
    if what == 2:
        return _palette_png(gray)
    if what == 3:
        return _encoded(rng.choice((".jpg", ".tif", ".bmp", ".webp", ".ppm", ".hdr")), np.dstack([gray] * 3))
    if what == 4:
        return _encoded(".png", rng.choice((gray, gray > 0)).astype(np.uint8) * 255)
    others = (
        b"GIF89a" + bytes(64),
        b"II*\0" + rng.randbytes(40),
        b"MM\0*\0\0\0\x08" + b"\xff" * 90,
        b"II*\0\x08\0\0\0\xff\xff" + bytes(40),
        b"BM" + bytes(60),
        b"\xff\xd8\xff\xe0" + rng.randbytes(60),
        b"\xff\xd8" + b"\xff" * 500,
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(9),
        b"#?RADIANCE\n\n-Y 99999 +X 99999\n",
        b"P6 99999 99999 255\n",
    )
    return rng.choice(others)


def other_size(rng: Random, content: bytes) -> bytes:
    """A whole image of another size."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    size = rng.choice(((1, 1), (127, 128), (128, 127), (1, 3000), (256, 256)))
    return _encoded(".png", cv2.resize(image, size, interpolation=cv2.INTER_NEAREST))


def other_values(rng: Random, content: bytes) -> bytes:
    """Another picture of the same form: black, white, noise, or some values too high."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    noise = np.frombuffer(rng.randbytes(image.size), np.uint8).reshape(image.shape)
    changed = rng.choice((image * 0, image * 0 + 255, noise, noise % 5, image + (noise > 250)))
    return _encoded(".png", changed.astype(np.uint8))


IMAGE_DAMAGES: dict[str, ByteDamage] = {
    "PNG chunk damaged": chunk_damaged,
    "PNG header damaged": header_damaged,
    "other kind of image": other_kind,
    "other size of image": other_size,
    "other values": other_values,
}
HEAVY_IMAGE_DAMAGES: dict[str, ByteDamage] = {"PNG bomb": bomb}


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    found, place = [], len(_SIGNATURE)
    while place < len(content):
        length = struct.unpack(">I", content[place : place + 4])[0]
        found.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return found


def _written(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [_SIGNATURE]
    for kind, data in chunks:
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(kind + data))]
    return b"".join(parts)


def _encoded(suffix: str, image: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, image)[1])


def _palette_png(gray: np.ndarray) -> bytes:
    height, width = gray.shape
    rows = b"".join(b"\0" + row.tobytes() for row in gray)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    palette = bytes(range(256)) * 3
    return _written([(b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")])
