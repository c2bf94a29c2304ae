"""Where both images show something, kept beside the predictions of each window; how much of each building.

What an image does not show has no grade: black, white as cloud, or outside of it. Nor has what the post image
repeats of the pre image, as a copy or a mosaic that was filled up does: nothing is known of it afterwards.
"""

import itertools
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from skyeye_det.errors import InputError
from skyeye_det.files import whole_file
from skyeye_det.prediction.masks import Crop, crop_boxes
from skyeye_det.prediction.prediction import Prediction
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.windows import Window

LEAST_SEEN = 0.5
"""Share of a building that both images must show, for it to have a grade."""

ASSESSED, POST_UNSEEN, PRE_UNSEEN = (
    "assessed",
    "post image shows nothing new here",
    "pre image shows nothing here",
)
"""``status`` of a building."""

UNREADABLE = "an image cannot be read here"
"""Likewise, of a building in a window that was passed over for that."""

_BLACK, _WHITE = 2, 250
_BLOT = 15  # px; smaller black or white spots are shadows and roofs


def blanks(values: np.ndarray) -> np.ndarray:
    """Which pixels (3, h, w), as stored, say nothing in themselves.

    Returns:
        Bool (3, h, w): black in all bands, white in all bands, and the same as all neighbours, as what is
        saturated or filled in is, at whatever value: an image of ground has noise.
    """
    small = np.ones((3, 3), np.uint8)
    flat = np.ones(values.shape[1:], np.bool_)
    for band in values:
        flat &= cv2.dilate(band, small) == cv2.erode(band, small)
    if values.dtype == np.uint8:
        return np.stack([values.max(axis=0) <= _BLACK, values.min(axis=0) >= _WHITE, flat])
    return np.stack([(values == 0).all(axis=0), np.zeros_like(flat), flat])


def blotted(found: np.ndarray) -> np.ndarray:
    """Where one of some masks, bool (k, h, w), fills a square of ``_BLOT`` px, bool (h, w)."""
    square = np.ones((_BLOT, _BLOT), np.uint8)
    blots = [cv2.morphologyEx(each.astype(np.uint8), cv2.MORPH_OPEN, square) for each in found]
    return np.asarray(np.any(blots, axis=0))


def visible(pair: np.ndarray) -> np.ndarray:
    """Where each image of a pair uint8 (6, h, w) shows something: bool (2, h, w), before and after."""
    before, after = (~blotted(blanks(image)) for image in (pair[:3], pair[3:]))
    return np.stack([before, after & ~(before & repeated(pair[:3], pair[3:]))])


def repeated(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Where images (3, h, w) are the same over a larger area, bool (h, w).

    Where they show something, they have each a noise of their own.
    """
    return blotted((before == after).all(axis=0)[None])


def keep_window(
    store: PredictionStore,
    image: KeptImage,
    window: Window,
    prediction: Prediction,
    seen: np.ndarray,
    fault: str = "",
) -> None:
    """Keeps what was predicted in a window: who has the file of that has the others too.

    Args:
        store: for it.
        image: of the store.
        window: of the image.
        prediction: of the window.
        seen: bool (2, h, w) of ``visible``.
        fault: why it could not be read, where it could not.
    """
    unreadable = store.unreadable_path(image, window)
    unreadable.unlink(missing_ok=True)
    if fault:
        with whole_file(unreadable) as partial:
            partial.write_text(fault, encoding="utf-8")
    keep_visibility(store.seen_path(image, window), seen)
    store.save(image, window, prediction)


def keep_visibility(path: Path, seen: np.ndarray) -> None:
    """Keeps bool (2, h, w): where something can be seen before and after."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, shape=np.array(seen.shape), bits=np.packbits(seen))


def load_visibility(path: Path) -> np.ndarray:
    """What ``keep_visibility`` kept; InputError where that cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            shape = tuple(arrays["shape"].tolist())
            return np.unpackbits(arrays["bits"], count=int(np.prod(shape))).reshape(shape).view(np.bool_)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: expected what can be seen in a window, found none that can be read; delete it and"
            " predict again"
        ) from error


@dataclass(frozen=True)
class Core:
    """The part of a window that no other window's core shares; all of them cover the grid.

    Attributes:
        window: that it belongs to.
        x0, y0, x1, y1: px of the grid, the last ones exclusive.
    """

    window: Window
    x0: int
    y0: int
    x1: int
    y1: int


def cores(windows: Sequence[Window]) -> list[Core]:
    """Divides the overlaps of neighbouring windows in their middle."""
    columns = _parted([window.x for window in windows], windows[0].width, windows[0].image[1])
    rows = _parted([window.y for window in windows], windows[0].height, windows[0].image[0])
    return [
        Core(window, columns[window.x][0], rows[window.y][0], columns[window.x][1], rows[window.y][1])
        for window in windows
    ]


def _parted(starts: list[int], size: int, length: int) -> dict[int, tuple[int, int]]:
    ordered = sorted(set(starts))
    cuts = [0, *((one + size + other) // 2 for one, other in itertools.pairwise(ordered)), length]
    return {start: (cuts[index], cuts[index + 1]) for index, start in enumerate(ordered)}


def core_visibility(store: PredictionStore, image: KeptImage) -> Iterator[tuple[Core, np.ndarray]]:
    """Each core of a scene with bool (2, h, w) of its pixels."""
    for core in cores(store.windows(image)):
        seen = load_visibility(store.seen_path(image, core.window))
        x, y = core.window.x, core.window.y
        yield core, seen[:, core.y0 - y : core.y1 - y, core.x0 - x : core.x1 - x]


def shares_in(masks: Sequence[Crop], seen: np.ndarray) -> np.ndarray:
    """As ``seen_shares``, of the pixels bool (2, h, w) of a whole image."""
    height, width = seen.shape[1:]
    whole = Window(0, 0, width, height, (height, width))
    return seen_shares(masks, iter([(Core(whole, 0, 0, width, height), seen)]))


def seen_shares(masks: Sequence[Crop], parts: Iterator[tuple[Core, np.ndarray]]) -> np.ndarray:
    """Share of each building's pixels that can be seen.

    Args:
        masks: N crops, bool, in px of the grid.
        parts: of ``core_visibility``.

    Returns:
        (N, 3) float64, 0..1: before, after, and both at once.
    """
    boxes = crop_boxes(masks)
    counts = np.zeros((len(masks), 3))
    areas = np.array([np.count_nonzero(mask) for _, mask in masks], np.float64)
    for core, seen in parts:
        meets = (boxes[:, 0] < core.x1) & (boxes[:, 2] > core.x0)
        meets &= (boxes[:, 1] < core.y1) & (boxes[:, 3] > core.y0)
        numbers, shows_all = np.flatnonzero(meets), bool(seen.all())
        if shows_all:
            x0, y0, x1, y1 = boxes[numbers].T
            whole = (x0 >= core.x0) & (y0 >= core.y0) & (x1 <= core.x1) & (y1 <= core.y1)
            counts[numbers[whole]] = areas[numbers[whole], None]
            numbers = numbers[~whole]
        every = seen if shows_all else np.concatenate([seen, seen.all(axis=0, keepdims=True)])
        for index in numbers.tolist():
            (x, y), mask = masks[index]
            left, top = max(core.x0 - x, 0), max(core.y0 - y, 0)
            part = mask[top : core.y1 - y, left : core.x1 - x]
            if shows_all:
                counts[index] += np.count_nonzero(part)
                continue
            row, column = y + top - core.y0, x + left - core.x0
            there = every[:, row : row + part.shape[0], column : column + part.shape[1]]
            counts[index] += (there & part).sum(axis=(1, 2))
    return counts / np.maximum(areas, 1)[:, None]
