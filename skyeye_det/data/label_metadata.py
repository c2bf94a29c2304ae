"""What the metadata of a pair's two labels tells against their file names: swapped, copied, misdirected."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from skyeye_det.data.label_file import LabelFile
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import shown

_COARSEST = 1e6  # m
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def label_pair_faults(files: SceneFiles, pre: LabelFile, post: LabelFile) -> list[Fault]:
    """Faults of metadata, of two labels taken together, and of links; some 30 microseconds a pair.

    Args:
        files: the pair.
        pre: what the pre label says.
        post: what the post label says.

    Returns:
        At most one fault of each kind a file, but for wrong metadata; ``SWAPPED_LABELS`` among them means
        that the pair is left out.
    """
    faults = [
        files.fault(kind, path, found)
        for path, label in ((files.pre_label, pre), (files.post_label, post))
        for kind, found in _metadata_faults(path, label.metadata)
    ]
    faults += [files.fault(kind, files.post_label, found) for kind, found in _together(files, pre, post)]
    return faults


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_size(value: Any) -> bool:
    return type(value) is int


def is_scale(value: Any) -> bool:
    """Whether a value can be metres a pixel."""
    return type(value) in (int, float) and 0 < value < _COARSEST


def _is_date(value: Any) -> bool:
    return isinstance(value, str) and _DAY.match(value) is not None


_FIELDS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("disaster", _is_text, "text"),
    ("disaster_type", _is_text, "text"),
    ("gsd", is_scale, "a number above 0"),
    ("width", _is_size, "a whole number"),
    ("height", _is_size, "a whole number"),
    ("capture_date", _is_date, "text that begins with yyyy-mm-dd"),
    ("img_name", _is_text, "text"),
)


def _metadata_faults(path: Path, metadata: dict[str, Any]) -> Iterator[tuple[FaultKind, str]]:
    for field, is_right, wanted in _FIELDS:
        value = metadata.get(field)
        if value is not None and not is_right(value):
            yield FaultKind.WRONG_METADATA, f"{field} {shown(value)} in the place of {wanted}"
    name = metadata.get("img_name")
    if isinstance(name, str) and name.rpartition(".")[0] != path.stem:
        leads_out = "a path out of the images folder, " if "/" in name or "\\" in name else ""
        yield FaultKind.IMG_NAME_ELSEWHERE, leads_out + shown(name)


def _together(files: SceneFiles, pre: LabelFile, post: LabelFile) -> Iterator[tuple[FaultKind, str]]:
    if swapped := _swapped(files, pre, post):
        yield FaultKind.SWAPPED_LABELS, swapped
    if pre.outlines and pre.metadata == post.metadata and pre.subtypes == post.subtypes:
        yield FaultKind.IDENTICAL_LABELS, "the metadata, uids and subtypes of the pre label"
    days = _day(pre), _day(post)
    if days[0] and days[1] and days[0] > days[1]:
        yield FaultKind.DATES_REVERSED, f"the pre image of {days[0]}, the post image of {days[1]}"


def _day(label: LabelFile) -> str | None:
    """Day of capture as ``yyyy-mm-dd``."""
    match = _DAY.match(str(label.metadata.get("capture_date")))
    return match[0] if match else None


def _swapped(files: SceneFiles, pre: LabelFile, post: LabelFile) -> str | None:
    pre_name, post_name = (str(label.metadata.get("img_name")).rpartition(".")[0] for label in (pre, post))
    if pre_name == files.post_label.stem and post_name == files.pre_label.stem:
        return "each label with the img_name of the other"
    in_pre, in_post = _graded(pre), _graded(post)
    if in_pre and post.outlines and not in_post:
        return f"{in_pre} subtypes in the pre label, none in the post label"
    return None


def _graded(label: LabelFile) -> int:
    """Number of features with a subtype."""
    return len(label.subtypes) - list(label.subtypes.values()).count(None)
