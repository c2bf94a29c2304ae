"""Tables in plain text, and figures as their cells."""

import math
from collections.abc import Sequence

from skyeye_det.errors import printable


def aligned(rows: Sequence[Sequence[str]], columns: str = "<>") -> str:
    """Columns padded to one width, two spaces apart.

    Args:
        rows: cells of each row, as many in all of them; what no terminal shows is escaped.
        columns: ``<`` for a column to the left, ``>`` for one to the right; the last sign holds for all that
            follow.

    Returns:
        Lines without spaces at their ends.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    signs = columns.ljust(len(widths), columns[-1])
    return "\n".join(
        "  ".join(
            f"{cell:{sign}{width}}" for cell, sign, width in zip(row, signs, widths, strict=False)
        ).rstrip()
        for row in rows
    )


def figure(value: float, digits: int = 4) -> str:
    """A number with so many digits, ``n/a`` for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.{digits}f}"


def interval(ends: Sequence[float]) -> str:
    """``low to high``, ``n/a`` for NaN."""
    return "n/a" if math.isnan(ends[0]) else f"{figure(ends[0])} to {figure(ends[1])}"
