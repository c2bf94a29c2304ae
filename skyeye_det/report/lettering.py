"""Text, colour keys and bars for pictures, sized by what they measure rather than by guess."""

from collections import Counter
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from skyeye_det.damage import DAMAGE_COLORS, IGNORE_DAMAGE, SUBTYPE_BY_DAMAGE, DamageClass
from skyeye_det.errors import printable
from skyeye_det.report.outlines import DrawnBuilding, Image

INK, FAINT_INK, PAPER = (28, 30, 34), (140, 144, 150), (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_SIMPLEX

SCALE = (*map(int, DamageClass), IGNORE_DAMAGE)
"""Damage in the order of a legend: by severity, un-classified last."""

DamageCounts = dict[int, int]
"""``damage`` -> number of buildings, for every damage, in the order of ``SCALE``."""


def count_damage(buildings: Iterable[DrawnBuilding]) -> DamageCounts:
    """Buildings of each damage; those without any are there with 0."""
    counts = Counter(building.damage for building in buildings)
    return {damage: counts[damage] for damage in SCALE}


def text_width(text: str, height: int) -> int:
    """Width in px of ``text`` whose capitals are ``height`` px high."""
    return int(cv2.getTextSize(printable(text), _FONT, _scale(height), _weight(height))[0][0])


def put_text(
    canvas: Image, text: str, left: int, baseline: int, height: int, color: tuple[int, int, int] = INK
) -> None:
    """Writes one line on ``canvas`` in place, capitals ``height`` px high; "..." for what has no room."""
    text = _shortened(printable(text), height, canvas.shape[1] - left)
    cv2.putText(canvas, text, (left, baseline), _FONT, _scale(height), color, _weight(height), cv2.LINE_AA)


def bar(text: str, width: int, height: int) -> Image:
    """RGB (2 * height, width, 3) bar of paper with one line of text, capitals ``height`` px high."""
    canvas = np.full((2 * height, width, 3), PAPER, np.uint8)
    put_text(canvas, text, height // 2, height + height // 2, height)
    return canvas


def legend(width: int, height: int, counts: DamageCounts | None = None) -> Image:
    """Colour key of the damage scale, one swatch a grade, wrapped to ``width``.

    Args:
        width: of the picture, in px.
        height: of the capitals, in px.
        counts: written behind the names where given; grades without a building are faint.

    Returns:
        RGB uint8 (whatever the lines need, ``width``, 3).
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


def _shortened(text: str, height: int, room: int) -> str:
    if text_width(text, height) <= room:
        return text
    while text and text_width(text + "...", height) > room:
        text = text[:-1]
    return text + "..."


def _scale(height: int) -> float:
    # OpenCV's simplex capitals are 22 px high at scale 1, in version 4 and 5 alike.
    return height / 22


def _weight(height: int) -> int:
    return max(1, round(height / 12))
