"""One xBD label file: its metadata and its features by uid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyeye_det.data.outlines import Outline, OutlineError, check_rings, read_wkt
from skyeye_det.data.targets import Parts
from skyeye_det.data.validation import FaultKind
from skyeye_det.errors import InputError
from skyeye_det.files import read_json

LabelFault = tuple[FaultKind, str | None, str]
"""(kind, uid, what was found)."""


@dataclass(frozen=True)
class Feature:
    """A building as one file has it; ``parts`` is empty where its outline is unusable."""

    parts: Parts
    subtype: Any


@dataclass(frozen=True)
class LabelFile:
    """What a label file says.

    Attributes:
        metadata: as in the file.
        features: by uid, in file order.
        size: (width, height) in px that the outlines were drawn on, or ``None`` where it does not say.
    """

    metadata: dict[str, Any]
    features: dict[str, Feature]
    size: tuple[int, int] | None


def read_label(path: Path) -> tuple[LabelFile, list[LabelFault]]:
    """Reads a pre or post label.

    Args:
        path: label JSON with ``features.xy`` and ``metadata``.

    Returns:
        The label and its faults, in file order.

    Raises:
        InputError: the file is no xBD label.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"expected an object, found {type(content).__name__}")
    by_frame, metadata = content.get("features"), content.get("metadata")
    entries = by_frame.get("xy") if isinstance(by_frame, dict) else None
    if not isinstance(entries, list) or not isinstance(metadata, dict):
        raise InputError("a list features.xy or an object metadata is missing")
    faults: list[LabelFault] = []
    outlines: dict[str, Outline | None] = {}
    subtypes: dict[str, Any] = {}
    for index, entry in enumerate(entries):
        uid = _new_uid(entry, index, outlines, faults)
        if uid is not None:
            outlines[uid] = _outline(entry, uid, faults)
            subtypes[uid] = entry["properties"].get("subtype")
    check_rings([outline for outline in outlines.values() if outline])
    for uid, outline in outlines.items():
        faults += [(kind, uid, found) for kind, found in (outline.faults if outline else ())]
    features = {
        uid: Feature(outline.parts if outline else (), subtypes[uid]) for uid, outline in outlines.items()
    }
    return LabelFile(metadata, features, _size(metadata)), faults


def _new_uid(
    entry: Any, index: int, known: dict[str, Outline | None], faults: list[LabelFault]
) -> str | None:
    properties = entry.get("properties") if isinstance(entry, dict) else None
    uid = properties.get("uid") if isinstance(properties, dict) else None
    if not isinstance(properties, dict) or not isinstance(uid, str) or not uid:
        faults.append((FaultKind.NO_UID, None, f"entry {index} of features.xy without"))
        return None
    if (kind := properties.get("feature_type", "building")) != "building":
        faults.append((FaultKind.NOT_A_BUILDING, uid, repr(kind)))
        return None
    if uid in known:
        faults.append((FaultKind.REPEATED_UID, uid, f"it again at entry {index} of features.xy"))
        return None
    return uid


def _outline(entry: dict[str, Any], uid: str, faults: list[LabelFault]) -> Outline | None:
    try:
        return read_wkt(entry.get("wkt"))
    except OutlineError as error:
        faults.append((FaultKind.UNUSABLE_OUTLINE, uid, str(error)))
        return None


def _size(metadata: dict[str, Any]) -> tuple[int, int] | None:
    width, height = metadata.get("width"), metadata.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    return None
