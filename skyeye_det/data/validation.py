"""The faults that labels and pairs can have, the rule by which each is handled, and how they are counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from skyeye_det.damage import UNCLASSIFIED_SUBTYPE, DamageClass


class FaultKind(Enum):
    """A kind of fault; the value is its name in tables and lists, ``rule`` says what is done about it."""

    INCOMPLETE_PAIR = "incomplete-pair"
    UNREADABLE_LABEL = "unreadable-label"
    UNREADABLE_IMAGE = "unreadable-image"
    SIZES_DIFFER = "sizes-differ"
    NO_UID = "no-uid"
    NOT_A_BUILDING = "not-a-building"
    REPEATED_UID = "repeated-uid"
    ONLY_IN_PRE = "only-in-pre"
    ONLY_IN_POST = "only-in-post"
    MISSING_SUBTYPE = "missing-subtype"
    UNKNOWN_SUBTYPE = "unknown-subtype"
    UNUSABLE_OUTLINE = "unusable-outline"
    NOT_CLOSED = "not-closed"
    CROSSES_ITSELF = "crosses-itself"
    NO_AREA = "no-area"
    HOLE_OUTSIDE = "hole-outside"
    BEYOND_IMAGE = "beyond-image"
    OUTSIDE_IMAGE = "outside-image"

    @property
    def expected(self) -> str:
        """What would have been right."""
        return _RULES[self][0]

    @property
    def rule(self) -> str:
        """What is done about it."""
        return _RULES[self][1]


_PAIR_OUT = "the pair is left out"
_UNGRADED = f"kept as {UNCLASSIFIED_SUBTYPE}"
_RULES: dict[FaultKind, tuple[str, str]] = {
    FaultKind.INCOMPLETE_PAIR: ("pre and post image and label of the scene", _PAIR_OUT),
    FaultKind.UNREADABLE_LABEL: ("xBD label JSON with features.xy and metadata", _PAIR_OUT),
    FaultKind.UNREADABLE_IMAGE: ("a PNG, JPEG or TIFF image", _PAIR_OUT),
    FaultKind.SIZES_DIFFER: ("pre image, post image and both labels of one size", _PAIR_OUT),
    FaultKind.NO_UID: ("a feature with properties.uid", "the feature is left out"),
    FaultKind.NOT_A_BUILDING: ("feature_type building", "the feature is left out"),
    FaultKind.REPEATED_UID: ("each uid once in a file", "the first is kept, the others are left out"),
    FaultKind.ONLY_IN_PRE: ("the uid in the post label too", _UNGRADED),
    FaultKind.ONLY_IN_POST: ("the uid in the pre label too", "the building is left out"),
    FaultKind.MISSING_SUBTYPE: ("a subtype in the post label", _UNGRADED),
    FaultKind.UNKNOWN_SUBTYPE: (
        f"{', '.join(grade.subtype for grade in DamageClass)} or {UNCLASSIFIED_SUBTYPE}",
        _UNGRADED,
    ),
    FaultKind.UNUSABLE_OUTLINE: (
        "POLYGON or MULTIPOLYGON text of finite x and y",
        "the building is left out; where it is the post label's, the pre outline takes its place",
    ),
    FaultKind.NOT_CLOSED: ("rings that end at their first vertex", "the ring is closed"),
    FaultKind.CROSSES_ITSELF: (
        "rings that neither meet nor cross",
        "kept as drawn, filled by the even-odd rule",
    ),
    FaultKind.NO_AREA: ("a ring with an area", "kept: the official rule fills the pixels under the ring"),
    FaultKind.HOLE_OUTSIDE: ("holes inside their exterior", "the hole is left out, the building kept"),
    FaultKind.BEYOND_IMAGE: (
        "coordinates from 0 to the image's size, 1 px of slack",
        "kept as drawn, mask and bbox end at the border",
    ),
    FaultKind.OUTSIDE_IMAGE: ("an outline that fills a pixel of the image", "the building is left out"),
}


@dataclass(frozen=True)
class Fault:
    """One thing wrong in one file.

    Attributes:
        kind: which rule applied.
        scene: scene name.
        file: the file at fault, relative to the xBD root, with forward slashes.
        uid: of the building at fault, or ``None`` for a fault of the pair.
        found: what stood in the place of ``kind.expected``.
    """

    kind: FaultKind
    scene: str
    file: str
    uid: str | None
    found: str

    def __str__(self) -> str:
        building = "" if self.uid is None else f"building {self.uid}: "
        return f"{self.file}: {building}expected {self.kind.expected}, found {self.found} ({self.kind.rule})"

    def as_json(self) -> dict[str, Any]:
        """The fault as an entry of the list that the conversion writes."""
        return {
            "kind": self.kind.value,
            "scene": self.scene,
            "file": self.file,
            "uid": self.uid,
            "expected": self.kind.expected,
            "found": self.found,
            "rule": self.kind.rule,
        }


def count_faults(faults: Iterable[Fault]) -> dict[FaultKind, int]:
    """Faults by kind, in the order of ``FaultKind``, without the kinds that did not occur."""
    counts = Counter(fault.kind for fault in faults)
    return {kind: counts[kind] for kind in FaultKind if counts[kind]}


def fault_table(counts: dict[FaultKind, int]) -> str:
    """Lines of ``count  kind  rule``, for one kind of fault or more."""
    width = max(len(kind.value) for kind in counts)
    return "\n".join(f"{count:8d}  {kind.value:{width}s}  {kind.rule}" for kind, count in counts.items())
