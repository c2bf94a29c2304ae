"""Damage to what a JSON file says: types, numbers, texts, keys, depth."""

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

ByteDamage = Callable[[Random, bytes], bytes]
Place = tuple[Any, Any]
"""(list or dict, index or key in it)"""

_DEEP = 100_000
_WRONG = (
    None,
    True,
    False,
    0,
    -1,
    7,
    1.5,
    "",
    "x",
    "1",
    [],
    {},
    [[]],
    [None],
    [{}],
    {"": None},
    [0.5] * 9,
    "None",
)
_ODD_NUMBERS = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "-1e-320", "-0", "-0.0", "0.5", "-1",
    "2147483648", "9223372036854775808", "1048576", "1048577", "16777216", "4294967296", "1" * 5000, "1e5",
    "0.1e-5000", "65536",
)  # fmt: skip
_ODD_TEXTS = (
    "\ud800", "\udfff\ud800", "\0", "a\0b", "\n", "a\nb\nc", "\r", "\x1b[31mred", "\u202eright",
    "\U0001f3da", "../../etc/passwd", "/etc/passwd", "..", ".", "C:\\x", "\\\\host\\share", "a" * 300,
    "b" * 1_000_000, "%s%n", "{0}", "<script>", "NaN", " ", "\u2028", "'\"", "None",
)  # fmt: skip


def wrong_type(rng: Random, content: bytes) -> bytes:
    """A value of another type in a place drawn from all places."""
    document, (holder, key) = _drawn(rng, content)
    holder[key] = rng.choice(_WRONG)
    return _written(document)


def odd_number(rng: Random, content: bytes) -> bytes:
    """A number that is none, or far too large, as text of the file."""
    numbers = list(re.finditer(rb"-?\d+(?:\.\d+)?", content))
    number = rng.choice(numbers)
    return content[: number.start()] + rng.choice(_ODD_NUMBERS).encode() + content[number.end() :]


def odd_text(rng: Random, content: bytes) -> bytes:
    """A text with surrogates, NUL, line ends, paths, or of great length."""
    document = json.loads(content)
    texts = [place for place in _places(document) if isinstance(place[0][place[1]], str)]
    holder, key = rng.choice(texts)
    old = holder[key]
    new = rng.choice(_ODD_TEXTS)
    holder[key] = rng.choice((new, old + new, old[: len(old) // 2] + new))
    return _written(document)


def key_missing(rng: Random, content: bytes) -> bytes:
    """An entry of an object or a list is gone."""
    document, (holder, key) = _drawn(rng, content)
    del holder[key]
    return _written(document)


def entry_twice(rng: Random, content: bytes) -> bytes:
    """An entry of a list stands there twice, or many times."""
    document = json.loads(content)
    lists = [holder for holder, key in _places(document) if isinstance(holder, list) and key == 0]
    if not lists:
        return key_twice(rng, content)
    chosen = rng.choice(lists)
    entry = rng.choice(chosen)
    chosen += [entry] * rng.choice((1, 1, 3, 200))
    return _written(document)


def key_twice(rng: Random, content: bytes) -> bytes:
    """A key of an object stands there twice, the second time with another value."""
    keys = list(re.finditer(rb'"\w+": ?', content))
    key = rng.choice(keys)
    value = rng.choice((b"null", b"[]", b"{}", b'"x"', b"1"))
    return content[: key.start()] + key[0] + value + b", " + content[key.start() :]


def deep_nesting(rng: Random, content: bytes) -> bytes:
    """Lists or objects in one another, 100,000 deep, as a value or as the whole file."""
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opening * _DEEP + b"1" + rng.choice((closing, b"")) * _DEEP
    values = list(re.finditer(rb'": ?(?=[\d"\[{])', content))
    place = rng.choice((None, rng.choice(values)))
    if place is None:
        return deep
    return content[: place.end()] + deep + b', "z": ' + content[place.end() :]


def places_swapped(rng: Random, content: bytes) -> bytes:
    """Two values change places."""
    document = json.loads(content)
    places = _places(document)
    (one, first), (other, second) = rng.choice(places), rng.choice(places)
    copies = json.dumps(one[first]), json.dumps(other[second])
    one[first], other[second] = json.loads(copies[1]), json.loads(copies[0])
    return _written(document)


JSON_DAMAGES: dict[str, ByteDamage] = {
    "wrong type": wrong_type,
    "odd number": odd_number,
    "odd text": odd_text,
    "key missing": key_missing,
    "entry twice": entry_twice,
    "key twice": key_twice,
    "nested deeply": deep_nesting,
    "values swapped": places_swapped,
}


def run_lengths_damaged(rng: Random, content: bytes) -> bytes:
    """Run lengths of a result that break off, go on, or are none."""
    results = json.loads(content)
    segmentation = rng.choice(results)["segmentation"]
    text = segmentation["counts"]
    place = rng.randrange(len(text))
    odd = rng.choice(
        ("o", "o" * 40, "0", "0" * 100_000, "P", "`", "~" * 8, "\x7f", "\0", " ", "é", "1", "nnnnnn1")
    )
    changed = (text[:place], text[:place] + odd, text + odd, text[:place] + odd + text[place + 1 :], odd, "")
    segmentation["counts"] = rng.choice((*changed, list(range(place)), None))
    return _written(results)


def _drawn(rng: Random, content: bytes) -> tuple[Any, Place]:
    """The document and one of its places; shallow ones come up as often as deep ones."""
    document = json.loads(content)
    by_depth: dict[int, list[Place]] = {}
    for depth, place in _walk(document, 0):
        by_depth.setdefault(depth, []).append(place)
    return document, rng.choice(by_depth[rng.choice(sorted(by_depth))])


def _places(document: Any) -> list[Place]:
    return [place for _, place in _walk(document, 0)]


def _walk(node: Any, depth: int) -> list[tuple[int, Place]]:
    keys = node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
    found: list[tuple[int, Place]] = []
    for key in keys:
        found.append((depth, (node, key)))
        found += _walk(node[key], depth + 1)
    return found


def _written(document: Any) -> bytes:
    return json.dumps(document).encode()
