"""One xBD label file: its metadata and its features by uid."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.outlines import MOST_VERTICES_OF_A_LABEL, read_outlines
from skyeye_det.data.targets import Parts
from skyeye_det.data.validation import FaultKind
from skyeye_det.errors import InputError, shown
from skyeye_det.files import parse_json, read_bytes

LabelFault = tuple[FaultKind, str | None, str]
"""(kind, uid, what was found)."""


@dataclass(frozen=True)
class LabelFile:
    """What a label file says.

    Attributes:
        metadata: as in the file.
        outlines: uid -> parts, in file order; empty parts where the outline is unusable.
        subtypes: uid -> ``properties.subtype`` as in the file, None where there is none.
        size: (width, height) in px that the outlines were drawn on, or ``None`` where it does not say.
    """

    metadata: dict[str, Any]
    outlines: dict[str, Parts]
    subtypes: dict[str, Any]
    size: tuple[int, int] | None


def read_labels(paths: Sequence[Path]) -> list[tuple[LabelFile, list[LabelFault]] | InputError]:
    """Reads pre or post labels; the outlines of all of them at once, which is several times faster.

    Args:
        paths: label JSON with ``features.xy`` and ``metadata``; a few dozen at a time.

    Returns:
        For each the label and its faults, or why it is no xBD label.
    """
    drafts = [_read_draft(path) for path in paths]
    parts, found = read_outlines([wkt for draft in drafts if isinstance(draft, _Draft) for wkt in draft.wkts])
    first = 0
    labels: list[tuple[LabelFile, list[LabelFault]] | InputError] = []
    for draft in drafts:
        if isinstance(draft, InputError):
            labels.append(draft)
            continue
        stop = first + len(draft.uids)
        faults = draft.faults
        for index in range(first, stop) if found else ():
            faults += [(kind, draft.uids[index - first], text) for kind, text in found.get(index, ())]
        outlines = dict(zip(draft.uids, parts[first:stop], strict=True))
        subtypes = dict(zip(draft.uids, draft.subtypes, strict=True))
        labels.append((LabelFile(draft.metadata, outlines, subtypes, _size(draft.metadata)), faults))
        first = stop
    return labels


@dataclass
class _Draft:
    """A label whose outlines are still text; ``uids``, ``subtypes`` and ``wkts`` go side by side."""

    metadata: dict[str, Any]
    faults: list[LabelFault]
    uids: list[str]
    subtypes: list[Any]
    wkts: list[Any]


class _Properties(msgspec.Struct):
    uid: str
    subtype: Any = None
    feature_type: Literal["building"] = "building"


class _Entry(msgspec.Struct):
    properties: _Properties
    wkt: str


class _Features(msgspec.Struct):
    xy: list[_Entry]


class _Label(msgspec.Struct):
    """What is read of a label in which every entry is a building; twice as fast as reading all of it."""

    features: _Features
    metadata: dict[str, Any]


_MUCH_TEXT = 2 * MOST_VERTICES_OF_A_LABEL  # bytes that so many vertices have at the least
_LABEL = msgspec.json.Decoder(_Label)


def _read_draft(path: Path) -> _Draft | InputError:
    try:
        content = read_bytes(path)
        draft = _plain_draft(content) or _careful_draft(path, parse_json(path, content))
    except InputError as error:
        return error
    if len(content) > _MUCH_TEXT:
        vertices = sum(wkt.count(",") + 1 for wkt in draft.wkts if isinstance(wkt, str))
        if vertices > MOST_VERTICES_OF_A_LABEL:
            return InputError(
                f"{path}: expected at most {MOST_VERTICES_OF_A_LABEL} vertices, found {vertices}"
            )
    return draft


def _plain_draft(content: bytes) -> _Draft | None:
    """The draft of a label with nothing but buildings, each with a uid of its own; None for any other."""
    try:
        label = _LABEL.decode(content)
    except (ValueError, RecursionError):
        return None
    entries = label.features.xy
    properties = [entry.properties for entry in entries]
    uids = [member.uid for member in properties]
    if len(set(uids)) < len(uids) or "" in uids:
        return None
    subtypes = [member.subtype for member in properties]
    return _Draft(label.metadata, [], uids, subtypes, [entry.wkt for entry in entries])


def _careful_draft(path: Path, content: Any) -> _Draft:
    """The draft of any label, entries that are no buildings noted.

    Raises:
        InputError: it is no label.
    """
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected an object, found {type(content).__name__}")
    by_frame, metadata = content.get("features"), content.get("metadata")
    entries = by_frame.get("xy") if isinstance(by_frame, dict) else None
    if not isinstance(entries, list) or not isinstance(metadata, dict):
        raise InputError(f"{path}: a list features.xy or an object metadata is missing")
    draft = _Draft(metadata, [], [], [], [])
    known: set[str] = set()
    for index, entry in enumerate(entries):
        properties = entry.get("properties") if isinstance(entry, dict) else None
        properties = properties if isinstance(properties, dict) else {}
        uid: Any = properties.get("uid")
        fault = _feature_fault(properties, uid, index, known)
        if fault:
            draft.faults.append(fault)
            continue
        known.add(uid)
        draft.uids.append(uid)
        draft.subtypes.append(properties.get("subtype"))
        draft.wkts.append(entry.get("wkt"))
    return draft


def _feature_fault(properties: dict[str, Any], uid: Any, index: int, known: set[str]) -> LabelFault | None:
    """Why an entry of features.xy is no building to be read."""
    if not isinstance(uid, str) or not uid:
        return FaultKind.NO_UID, None, f"entry {index} of features.xy without"
    if (kind := properties.get("feature_type", "building")) != "building":
        return FaultKind.NOT_A_BUILDING, uid, shown(kind)
    if uid in known:
        return FaultKind.REPEATED_UID, uid, f"it again at entry {index} of features.xy"
    return None


def uid_digests(uids: Sequence[str]) -> NDArray[np.uint64]:
    """(n,) a hash of each uid, the same on every machine, by which millions of them are compared."""
    digests = (hashlib.blake2b(uid.encode(errors="replace"), digest_size=8).digest() for uid in uids)
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64)


def _size(metadata: dict[str, Any]) -> tuple[int, int] | None:
    width, height = metadata.get("width"), metadata.get("height")
    if type(width) is int and type(height) is int:  # True is an int, and no width
        return width, height
    return None
