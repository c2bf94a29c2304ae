"""Damage to the bytes of a file, whatever they mean."""

import gzip
from collections.abc import Callable
from random import Random

ByteDamage = Callable[[Random, bytes], bytes]


def flipped(rng: Random, content: bytes) -> bytes:
    """One to twenty bytes become others."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20)) if changed else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def cut_off(rng: Random, content: bytes) -> bytes:
    """The end is missing."""
    return content[: rng.randrange(len(content))] if content else content


def chunk_lost(rng: Random, content: bytes) -> bytes:
    """A piece of the middle is missing."""
    start = rng.randrange(len(content) + 1)
    return content[:start] + content[start + rng.choice((1, 2, 7, 64)) :]


def chunk_repeated(rng: Random, content: bytes) -> bytes:
    """A piece of the middle stands there twice."""
    start = rng.randrange(len(content) + 1)
    end = start + rng.choice((1, 2, 7, 64))
    return content[:end] + content[start:]


def bytes_inserted(rng: Random, content: bytes) -> bytes:
    """Bytes that belong to no text."""
    place = rng.randrange(len(content) + 1)
    new = rng.choice(
        (b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1b[2J", b"\r\n" * 9, b"\\u0000")
    )
    return content[:place] + new + content[place:]


def another_content(rng: Random, content: bytes) -> bytes:
    """Nothing, blanks, another encoding, or another kind of file."""
    others = (
        b"",
        b" \n\t",
        b"\0" * 4096,
        b"\xef\xbb\xbf" + content,
        content.decode("latin-1").encode("utf-16"),
        gzip.compress(content, mtime=0),
        b"<!DOCTYPE html><title>404 Not Found</title>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"\x7fELF" + bytes(range(256)),
        bytes(rng.randrange(256) for _ in range(999)),
        content + content,
    )
    return rng.choice(others)


BYTE_DAMAGES: dict[str, ByteDamage] = {
    "bytes flipped": flipped,
    "cut off": cut_off,
    "bytes lost": chunk_lost,
    "bytes repeated": chunk_repeated,
    "bytes inserted": bytes_inserted,
    "another content": another_content,
}
