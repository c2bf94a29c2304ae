"""Figures as the cells of a table."""

import math
from collections.abc import Sequence

_DIGITS = 4


def figure(value: float) -> str:
    """A number with four digits, ``n/a`` for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.{_DIGITS}f}"


def percent(value: float) -> str:
    """A percentage with one digit, ``n/a`` for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.1f}"


def interval(ends: Sequence[float]) -> str:
    """``low to high``, ``n/a`` for NaN."""
    return "n/a" if math.isnan(ends[0]) else f"{figure(ends[0])} to {figure(ends[1])}"
