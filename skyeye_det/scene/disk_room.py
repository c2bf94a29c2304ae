"""Whether a disk has room for an assessment, before hours are spent on it."""

import shutil
from pathlib import Path

from skyeye_det.errors import InputError

LEAST_WINDOW, LEAST_RESULTS = 1_500, 200_000
"""Bytes that a window without a visible pixel takes, and the results of a scene without buildings."""

_LIKELY = 1.3
"""Bytes a px of a window of a town: 0.7 to 1.5 MB were measured for 1024 px, and 4 kB for fields."""


def require_room(folder: Path, windows: int, pixels: int) -> str:
    """Refuses a disk that is too small for any scene of this size.

    Args:
        folder: of the results, which is there.
        windows: that are still to be predicted.
        pixels: of all of these together.

    Returns:
        A note where it is too small for a town; else nothing.

    Raises:
        InputError: there is too little room even for a scene without buildings.
    """
    least = windows * LEAST_WINDOW + LEAST_RESULTS
    likely = max(int(pixels * _LIKELY), least)
    free = shutil.disk_usage(folder).free
    if free < least:
        raise InputError(
            f"{folder}: expected room for {windows} windows and the results, {_megabytes(least)} at least and"
            f" {_megabytes(likely)} for a town, found {_megabytes(free)} free; make room, or choose another"
            " --output"
        )
    if free < likely:
        return f"{folder} has {_megabytes(free)} free; windows of a town need {_megabytes(likely)}"
    return ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
