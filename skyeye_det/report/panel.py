"""A pair beside its buildings: pre | post | truth | prediction, as far as they are there."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from skyeye_det.damage import DAMAGE_COLORS, IGNORE_DAMAGE, SUBTYPE_BY_DAMAGE, DamageClass
from skyeye_det.errors import InputError, printable
from skyeye_det.report.outlines import DrawnBuilding, Image, crop_buildings, draw_outlines

Crop = tuple[int, int, int, int]

INK, FAINT_INK, PAPER = (28, 30, 34), (140, 144, 150), (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

SCALE = (*map(int, DamageClass), IGNORE_DAMAGE)
"""Damage in the order of a legend: by severity, un-classified last."""

DamageCounts = dict[int, int]
"""``damage`` -> number of buildings, for every damage, in the order of ``SCALE``."""

READABLE_SIDE = 512
"""Images smaller than this are enlarged to it, in px."""

LARGEST_SIDE = 8192
"""No tile is enlarged beyond this, in px."""


@dataclass(frozen=True)
class PairPicture:
    """What is known of one pair.

    Attributes:
        scene: name, shown as the title.
        pre, post: RGB uint8 (height, width, 3) of one size.
        truth: labelled buildings; None where there are no labels.
        prediction: buildings found; None where the pair was not predicted.
        note: behind the title, such as the event.
    """

    scene: str
    pre: Image
    post: Image
    truth: Sequence[DrawnBuilding] | None = None
    prediction: Sequence[DrawnBuilding] | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.pre.shape != self.post.shape:
            raise InputError(
                f"{self.scene}: expected a post image of the pre image's size {self.pre.shape[1]} x"
                f" {self.pre.shape[0]}, found {self.post.shape[1]} x {self.post.shape[0]}"
            )

    @property
    def known(self) -> dict[str, Sequence[DrawnBuilding]]:
        """``truth`` and ``prediction``, as far as they are there."""
        both = {"truth": self.truth, "prediction": self.prediction}
        return {name: buildings for name, buildings in both.items() if buildings is not None}


def cropped(pair: PairPicture, crop: Crop) -> PairPicture:
    """The pair inside ``crop`` = (x0, y0, x1, y1) in px, x1 and y1 excluded.

    Raises:
        InputError: the crop does not lie in the image.
    """
    x0, y0, x1, y1 = crop
    height, width = pair.pre.shape[:2]
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(
            f"{pair.scene}: expected a crop X0 Y0 X1 Y1 inside {width} x {height}, found {x0} {y0} {x1} {y1}"
        )
    inside: dict[str, Any] = {name: crop_buildings(each, crop) for name, each in pair.known.items()}
    return replace(pair, pre=pair.pre[y0:y1, x0:x1], post=pair.post[y0:y1, x0:x1], **inside)


def panel(pair: PairPicture, *, zoom: int | None = None, background: str = "post") -> Image:
    """Draws a pair as labelled tiles in one row, with a legend that counts the buildings of each grade.

    Args:
        pair: what to draw; truth or prediction that is None gets no tile.
        zoom: whole enlargement; the smallest that makes the shorter side ``READABLE_SIDE`` where not given.
        background: "pre" or "post", the image under the outlines.

    Returns:
        RGB uint8 (height, width, 3).

    Raises:
        InputError: a zoom below 1, or one that makes a tile larger than ``LARGEST_SIDE``.
    """
    zoom = _zoom(pair, zoom)
    width = pair.pre.shape[1] * zoom
    height = int(np.clip(width // 48, 11, 22))
    line = {"thickness": 1 if width < READABLE_SIDE else 2, "casing": 1}
    columns = [
        _column(draw_outlines(pair.pre, (), zoom=zoom), "pre-disaster", height),
        _column(draw_outlines(pair.post, (), zoom=zoom), "post-disaster", height),
    ]
    image = pair.pre if background == "pre" else pair.post
    for name, buildings in pair.known.items():
        label = f"{name}: {len(buildings)} building" + ("" if len(buildings) == 1 else "s")
        columns.append(_column(draw_outlines(image, buildings, zoom=zoom, **line), label, height, buildings))
    return _framed(columns, pair, height)


def thumbnails(pair: PairPicture, side: int, background: str = "post") -> list[Image]:
    """The tiles of ``panel`` without lettering, at most ``side`` px high and wide, for a contact sheet."""
    scale = min(1.0, side / max(pair.pre.shape[:2]))
    size = tuple(max(1, round(length * scale)) for length in pair.pre.shape[1::-1])
    image = pair.pre if background == "pre" else pair.post
    # Lines are drawn before the reduction, wide enough to be about 1.5 px after it.
    line = {"thickness": max(1, round(1.5 / scale)), "casing": max(1, round(0.7 / scale))}
    pictures = [pair.pre, pair.post, *(draw_outlines(image, each, **line) for each in pair.known.values())]
    return [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]


def _zoom(pair: PairPicture, zoom: int | None) -> int:
    height, width = pair.pre.shape[:2]
    largest = max(1, LARGEST_SIDE // max(height, width))
    if zoom is None:
        return min(largest, -(-READABLE_SIDE // min(height, width)))
    if not 1 <= zoom <= largest:
        raise InputError(
            f"{pair.scene}: expected a zoom of 1..{largest} for {width} x {height} px, found {zoom}"
        )
    return zoom


def _column(
    tile: Image, label: str, height: int, buildings: Sequence[DrawnBuilding] | None = None
) -> list[Image]:
    parts = [bar(label, tile.shape[1], height), tile]
    if buildings is not None:
        parts.append(legend(tile.shape[1], height, count_damage(buildings)))
    return parts


def _framed(columns: list[list[Image]], pair: PairPicture, height: int) -> Image:
    """Columns side by side with a gap, under the title."""
    tall = max(sum(part.shape[0] for part in column) for column in columns)
    gap = np.full((tall, max(4, height // 2), 3), PAPER, np.uint8)
    pieces: list[Image] = []
    for column in columns:
        stack = np.concatenate(column)
        rest = np.full((tall - len(stack), stack.shape[1], 3), PAPER, np.uint8)
        pieces += [gap, np.concatenate([stack, rest])]
    body = np.concatenate([*pieces, gap], axis=1)
    title = bar(f"{pair.scene}   {pair.note}".rstrip(), body.shape[1], round(1.3 * height))
    foot = np.full((height // 2, body.shape[1], 3), PAPER, np.uint8)
    return np.concatenate([title, body, foot])


def count_damage(buildings: Iterable[DrawnBuilding]) -> DamageCounts:
    """Buildings of each damage; those without any are there with 0."""
    counts = Counter(building.damage for building in buildings)
    return {damage: counts[damage] for damage in SCALE}


def text_width(text: str, height: int) -> int:
    """Width in px of ``text`` whose capitals are ``height`` px high."""
    return int(cv2.getTextSize(printable(text), _FONT, *_font(height))[0][0])


def put_text(
    canvas: Image, text: str, left: int, baseline: int, height: int, color: tuple[int, int, int] = INK
) -> None:
    """Writes one line on ``canvas`` in place, capitals ``height`` px high; "..." for what has no room."""
    whole = text = printable(text)
    while text and text_width(text if text == whole else f"{text}...", height) > canvas.shape[1] - left:
        text = text[:-1]
    scale, weight = _font(height)
    text = text if text == whole else f"{text}..."
    cv2.putText(canvas, text, (left, baseline), _FONT, scale, color, weight, cv2.LINE_AA)


def bar(text: str, width: int, height: int) -> Image:
    """RGB (2 * height, width, 3) bar of paper with one line of text, capitals ``height`` px high."""
    canvas = np.full((2 * height, width, 3), PAPER, np.uint8)
    put_text(canvas, text, height // 2, height + height // 2, height)
    return canvas


def legend(width: int, height: int, counts: DamageCounts | None = None) -> Image:
    """Colour key of the damage scale, one swatch a grade, wrapped to ``width`` px.

    RGB uint8 (whatever the lines need, ``width``, 3), capitals ``height`` px high. Counts stand behind the
    names where given; grades without a building are faint.
    """
    items = [
        (damage, SUBTYPE_BY_DAMAGE[damage] + (f" {counts[damage]}" if counts is not None else ""))
        for damage in SCALE
    ]
    lines = _wrapped([(2.6 * height + text_width(text, height)) for _, text in items], width - height)
    canvas = np.full((2 * height * len(lines), width, 3), PAPER, np.uint8)
    for row, line in enumerate(lines):
        baseline = 2 * height * row + height + height // 2
        for index, left in line:
            damage, text = items[index]
            start = height // 2 + int(left)
            cv2.rectangle(
                canvas, (start, baseline - height), (start + height, baseline), DAMAGE_COLORS[damage], -1
            )
            ink = FAINT_INK if counts is not None and not counts[damage] else INK
            put_text(canvas, text, start + round(1.5 * height), baseline, height, ink)
    return canvas


def _wrapped(widths: Sequence[float], room: float) -> list[list[tuple[int, float]]]:
    """Lines of (index, left edge) that hold items of these widths one after the other."""
    lines: list[list[tuple[int, float]]] = [[]]
    left = 0.0
    for index, item in enumerate(widths):
        if lines[-1] and left + item > room:
            lines.append([])
            left = 0.0
        lines[-1].append((index, left))
        left += item
    return lines


def _font(height: int) -> tuple[float, int]:
    """Scale and weight; OpenCV's simplex capitals are 22 px high at scale 1, in version 4 and 5 alike."""
    return height / 22, max(1, round(height / 12))
