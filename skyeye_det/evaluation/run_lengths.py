"""COCO run lengths from strangers: every number is checked before C code gets to see it.

pycocotools reads past the end of a text that breaks off in the middle of a number, and stops early at a run
of no pixels; so neither is let through.
"""

import re
from typing import Any

_NUMBER = re.compile("[P-o]{0,6}[0-O]")
"""Five bits a character, least first, the last without the sixth; 35 bits are more than any image needs."""

_RUN_LENGTHS = re.compile(f"(?:{_NUMBER.pattern})+")


def mask_area(mask: Any, shape: tuple[int, int]) -> int:
    """Checks compressed run lengths and counts their pixels.

    Args:
        mask: what was found as ``segmentation``: ``{"size": [h, w], "counts": str}``.
        shape: (h, w) that it must have.

    Returns:
        Area, px.

    Raises:
        ValueError: what was found instead: another structure or size, no run lengths, or not as many pixels
            as the image has.
    """
    if not isinstance(mask, dict) or not isinstance(mask.get("counts"), str):
        raise ValueError("no compressed run lengths")
    if mask.get("size") != list(shape):
        raise ValueError(f"size {mask.get('size')!r} instead of {list(shape)}"[:80])
    if not _RUN_LENGTHS.fullmatch(mask["counts"]):
        raise ValueError("run lengths that break off, or characters that are none")
    runs: list[int] = []
    for number in _NUMBER.findall(mask["counts"]):
        digits = [ord(character) - ord("0") for character in number]
        run = sum((digit & 31) << 5 * place for place, digit in enumerate(digits))
        if digits[-1] & 16:
            run -= 1 << 5 * len(digits)
        if len(runs) > 2:  # written as the difference to the run before the last
            run += runs[-2]
        if run < 0 or (run == 0 and runs):
            raise ValueError("a run of fewer than 0 pixels" if run < 0 else "a run of no pixels")
        runs.append(run)
    if sum(runs) != shape[0] * shape[1]:
        raise ValueError("runs that do not add up to the image")
    return sum(runs[1::2])
