"""Figures and columns of a table in plain text."""

import math
from collections.abc import Sequence

from skyeye_det.errors import printable

DIGITS = 4


def figure(value: float) -> str:
    """A number with four digits, ``n/a`` for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.{DIGITS}f}"


def percent(value: float) -> str:
    """A percentage with one digit, ``n/a`` for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.1f}"


def interval(ends: Sequence[float]) -> str:
    """``low to high``, ``n/a`` for NaN."""
    return "n/a" if math.isnan(ends[0]) else f"{figure(ends[0])} to {figure(ends[1])}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to one width: the first to the left, the others to the right."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    )
