"""COCO run lengths from strangers: every number is checked before C code gets to see it.

pycocotools reads past the end of a text that breaks off in the middle of a number, and stops early at a run
of no pixels; so neither is let through. Its own count of pixels fails for more than 255 masks at once under
numpy 2, so they are counted here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FIRST, _BITS, _DIGIT, _MORE, _MINUS = ord("0"), 5, 0x1F, 0x20, 0x10
_MOST_CHARACTERS = 7
"""Of one number: 35 bits, more than the pixels of any image."""


class RunLengthError(ValueError):
    """What is wrong with the run lengths at ``index``."""

    def __init__(self, index: int, found: str) -> None:
        super().__init__(found)
        self.index = index


def mask_areas(masks: Sequence[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Checks compressed run lengths, all of a tile at once, and counts their pixels.

    Args:
        masks: what was found as ``segmentation``: ``{"size": [h, w], "counts": str}``.
        shape: (h, w) that they must have.

    Returns:
        int64 (N,), px.

    Raises:
        RunLengthError: another structure or size, no run lengths, or not as many pixels as the image has.
    """
    texts = [_text(index, mask, shape) for index, mask in enumerate(masks)]
    if not texts:
        return np.zeros(0, np.int64)
    owners, places, runs = _runs(texts)
    totals = np.bincount(owners, weights=runs, minlength=len(texts))
    _refuse(owners[runs < 0], "a run of fewer than 0 pixels")
    _refuse(owners[(runs == 0) & (places > 0)], "a run of no pixels")
    _refuse(np.flatnonzero(totals != shape[0] * shape[1]), "runs that do not add up to the image")
    inside = places % 2 == 1
    areas = np.bincount(owners[inside], weights=runs[inside], minlength=len(texts))
    return areas.astype(np.int64)


def _text(index: int, mask: Any, shape: tuple[int, int]) -> str:
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        raise RunLengthError(index, "no compressed run lengths")
    size = mask.get("size")
    if size != list(shape):
        raise RunLengthError(index, f"size {size!r} instead of {list(shape)}"[:80])
    text = mask["counts"]
    if not text or not text.isascii():
        raise RunLengthError(index, "characters that are no run lengths" if text else "empty run lengths")
    return text


def _runs(texts: list[str]) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]:
    """(text that a run belongs to, its place in it, its pixels), of all texts one after the other.

    Coding of pycocotools (``rleFrString``): five bits a character, least first, and from the fourth run on
    the difference to the run before the last.
    """
    characters = np.frombuffer("".join(texts).encode(), np.uint8).astype(np.int64) - _FIRST
    stops = np.cumsum([len(text) for text in texts])
    text_of = np.repeat(np.arange(len(texts)), np.diff(stops, prepend=0))
    _refuse(text_of[(characters < 0) | (characters > _DIGIT + _MORE)], "characters that are no run lengths")
    last = characters & _MORE == 0
    _refuse(np.flatnonzero(~last[stops - 1]), "run lengths that break off")
    ends = np.flatnonzero(last)
    starts = np.append(0, ends[:-1] + 1)
    lengths = ends - starts + 1
    owners = text_of[ends]
    _refuse(owners[lengths > _MOST_CHARACTERS], "a run of more pixels than any image has")
    shifts = _BITS * (np.arange(len(characters)) - np.repeat(starts, lengths))
    values = np.add.reduceat((characters & _DIGIT) << shifts, starts)
    values -= np.where(characters[ends] & _MINUS, np.int64(1) << (_BITS * lengths), 0)
    firsts = np.searchsorted(owners, np.arange(len(texts)))
    places = np.arange(len(owners)) - firsts[owners]
    for chain in (places % 2 == 1, (places % 2 == 0) & (places > 0)):
        values[chain] = _sums(values[chain], owners[chain])
    return owners, places, values


def _sums(values: NDArray[np.int64], owners: NDArray[np.intp]) -> NDArray[np.int64]:
    """Running sums that begin anew with every owner; ``owners`` ascending."""
    sums = np.cumsum(values)
    first = np.searchsorted(owners, owners)
    return sums - sums[first] + values[first] if len(values) else sums


def _refuse(faulty: NDArray[np.intp], found: str) -> None:
    if len(faulty):
        raise RunLengthError(int(faulty[0]), found)
