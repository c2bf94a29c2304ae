"""Tables in plain text."""

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
