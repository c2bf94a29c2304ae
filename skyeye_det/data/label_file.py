"""One xBD label file: its metadata and its features by uid; and what two labels of a pair tell together.

The metadata is held against the file names: labels that are swapped, copied or misdirected show there.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import DAMAGE_BY_SUBTYPE, IGNORE_DAMAGE
from skyeye_det.data.outlines import MOST_VERTICES_OF_A_LABEL, read_outlines
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.targets import Parts
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_json

LabelFault = tuple[FaultKind, str | None, str]
"""(kind, uid, what was found)."""

_COARSEST = 1e6  # m
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class LabelFile:
    """What a label file says.

    Attributes:
        metadata: as in the file.
        outlines: uid -> parts, in file order; empty parts where the outline is unusable.
        subtypes: uid -> ``properties.subtype`` as in the file, None where there is none.
        on_ground: uid -> entry of ``features.lng_lat`` as in the file.
    """

    metadata: dict[str, Any]
    outlines: dict[str, Parts]
    subtypes: dict[str, Any]
    on_ground: dict[str, dict[str, Any]]

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in px that the outlines were drawn on; ``None`` where it does not say."""
        width, height = self.metadata.get("width"), self.metadata.get("height")
        if type(width) is int and type(height) is int:  # True is an int, and no width
            return width, height
        return None


def read_label(path: Path) -> tuple[LabelFile, list[LabelFault]]:
    """Reads a pre or post label: JSON with ``features.xy`` and ``metadata``.

    Returns:
        The label, and its entries that are no buildings and faults of outlines.

    Raises:
        InputError: it is no xBD label, or has more than ``MOST_VERTICES_OF_A_LABEL`` vertices.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object, found {type(content).__name__}")
    by_frame, metadata = content.get("features"), content.get("metadata")
    entries = by_frame.get("xy") if isinstance(by_frame, dict) else None
    if not isinstance(entries, list) or not isinstance(metadata, dict):
        raise InputError(f"{path}: a list features.xy or an object metadata is missing")
    drawn, faults = _buildings(entries)
    wkts = [entry.get("wkt") for entry in drawn.values()]
    vertices = sum(wkt.count(",") + 1 for wkt in wkts if isinstance(wkt, str))
    if vertices > MOST_VERTICES_OF_A_LABEL:
        raise InputError(f"{path}: expected at most {MOST_VERTICES_OF_A_LABEL} vertices, found {vertices}")
    outlines = dict(zip(drawn, read_outlines(wkts), strict=True))
    faults += [(kind, uid, found) for uid, outline in outlines.items() for kind, found in outline.faults]
    placed = by_frame.get("lng_lat") if isinstance(by_frame, dict) else None
    label = LabelFile(
        metadata,
        {uid: outline.parts for uid, outline in outlines.items()},
        {uid: entry["properties"].get("subtype") for uid, entry in drawn.items()},
        _buildings(placed if isinstance(placed, list) else [])[0],
    )
    return label, faults


def _buildings(entries: list[Any]) -> tuple[dict[str, dict[str, Any]], list[LabelFault]]:
    """Entries of a frame by uid, the first of each, and why the others are no buildings to be read."""
    found: dict[str, dict[str, Any]] = {}
    faults: list[LabelFault] = []
    for index, entry in enumerate(entries):
        properties = entry.get("properties") if isinstance(entry, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        uid: Any = properties.get("uid")
        if not isinstance(uid, str) or not uid:
            faults.append((FaultKind.NO_UID, None, f"entry {index} of features.xy without"))
        elif (kind := properties.get("feature_type", "building")) != "building":
            faults.append((FaultKind.NOT_A_BUILDING, uid, shown(kind)))
        elif uid in found:
            faults.append((FaultKind.REPEATED_UID, uid, f"it again at entry {index} of features.xy"))
        else:
            found[uid] = entry
    return found, faults


def damage_of(subtype: Any) -> int:
    """Damage -1..3 of a ``properties.subtype``; -1 where it is none that is known."""
    return DAMAGE_BY_SUBTYPE.get(subtype, IGNORE_DAMAGE) if isinstance(subtype, str) else IGNORE_DAMAGE


def uid_digests(uids: Sequence[str]) -> NDArray[np.uint64]:
    """(n,) a hash of each uid, the same on every machine, by which millions of them are compared."""
    digests = (hashlib.blake2b(uid.encode(errors="replace"), digest_size=8).digest() for uid in uids)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def label_pair_faults(files: SceneFiles, pre: LabelFile, post: LabelFile) -> list[Fault]:
    """Faults of metadata and of two labels taken together; ``SWAPPED_LABELS`` leaves the pair out."""
    faults = [
        files.fault(kind, path, found)
        for path, label in ((files.pre_label, pre), (files.post_label, post))
        for kind, found in _metadata_faults(path, label.metadata)
    ]
    faults += [files.fault(kind, files.post_label, found) for kind, found in _together(files, pre, post)]
    return faults


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
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
    ("width", _is_whole, "a whole number"),
    ("height", _is_whole, "a whole number"),
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
