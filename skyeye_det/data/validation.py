"""The faults that a data set can have, the rule by which each is handled, and how they are counted."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from skyeye_det.damage import UNCLASSIFIED_SUBTYPE, DamageClass
from skyeye_det.errors import printable

LARGEST_IMAGE = 2**26
"""px of an image that is still read: 8192 x 8192, 200 MB once decoded."""

LARGEST_TARGET_DIFFERENCE = 15
"""px by which an official target may differ from what its label paints; 11 is the most that was met."""


class Severity(Enum):
    """How much a fault matters."""

    ERROR = "error"
    """A pair or a building is lost, or training, inference or scoring from labels stops."""
    WARNING = "warning"
    """Something was mended, is ungraded or suspect, or stops scoring from target images."""
    NOTE = "note"
    """Allowed, but worth knowing."""


class FaultKind(Enum):
    """A kind of fault; the value is its name in tables and lists, ``rule`` says what is done about it."""

    INCOMPLETE_PAIR = "incomplete-pair"
    BAD_NAME = "bad-name"
    UNREADABLE_LABEL = "unreadable-label"
    UNREADABLE_IMAGE = "unreadable-image"
    IMAGE_TOO_LARGE = "image-too-large"
    SIZES_DIFFER = "sizes-differ"
    SWAPPED_LABELS = "swapped-labels"
    IDENTICAL_LABELS = "identical-labels"
    DATES_REVERSED = "dates-reversed"
    IMG_NAME_ELSEWHERE = "img-name-elsewhere"
    WRONG_METADATA = "wrong-metadata"
    LINK_OUT_OF_ROOT = "link-out-of-root"
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
    # The rest is seen by tools/check_dataset.py alone.
    DAMAGED_IMAGE = "damaged-image"
    NOT_8_BIT = "not-8-bit"
    NOT_RGB = "not-rgb"
    ALL_BLACK = "all-black"
    IDENTICAL_IMAGES = "identical-images"
    SEVERAL_PARTS = "several-parts"
    HAS_HOLES = "has-holes"
    UID_IN_TWO_SCENES = "uid-in-two-scenes"
    SCENE_IN_TWO_SPLITS = "scene-in-two-splits"
    STRAY_FILE = "stray-file"
    MISSING_TARGETS = "missing-targets"
    LONE_TARGET = "lone-target"
    UNUSABLE_TARGET = "unusable-target"
    NOT_IN_TARGET = "not-in-target"
    TARGET_DIFFERS = "target-differs"

    @property
    def expected(self) -> str:
        """What would have been right."""
        return _RULES[self].expected

    @property
    def rule(self) -> str:
        """What is done about it."""
        return _RULES[self].rule

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        return _RULES[self].severity

    @property
    def drops_pair(self) -> bool:
        """Its rule leaves the whole pair out."""
        return self.rule == _PAIR_OUT

    @property
    def only_in_check(self) -> bool:
        """The conversion, which decodes no image and reads no target, does not see it."""
        return self in _ONLY_IN_CHECK


class _Rule(NamedTuple):
    expected: str
    rule: str
    severity: Severity


_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_PAIR_OUT = "the pair is left out"
_UNGRADED = f"kept as {UNCLASSIFIED_SUBTYPE}"
_STOPS = "kept by the conversion, which decodes no image; training and inference stop at it"
_TARGETS_ONLY = "kept: labels count; targets are read by the scorer's --targets alone"
_SUBTYPES = f"{', '.join(grade.subtype for grade in DamageClass)} or {UNCLASSIFIED_SUBTYPE}"
_Kind = FaultKind
_RULES: dict[FaultKind, _Rule] = {
    _Kind.INCOMPLETE_PAIR: _Rule("pre and post image and label of the scene", _PAIR_OUT, _ERROR),
    _Kind.BAD_NAME: _Rule("a file name of printable text in UTF-8", _PAIR_OUT, _ERROR),
    _Kind.UNREADABLE_LABEL: _Rule(
        "xBD label JSON with features.xy and metadata, at most 200,000 vertices", _PAIR_OUT, _ERROR
    ),
    _Kind.UNREADABLE_IMAGE: _Rule("a PNG, JPEG or TIFF image", _PAIR_OUT, _ERROR),
    _Kind.IMAGE_TOO_LARGE: _Rule("an image of at most 8192 x 8192 px", _PAIR_OUT, _ERROR),
    _Kind.SIZES_DIFFER: _Rule("pre image, post image and both labels of one size", _PAIR_OUT, _ERROR),
    _Kind.SWAPPED_LABELS: _Rule("the post label under the post label's name", _PAIR_OUT, _ERROR),
    _Kind.IDENTICAL_LABELS: _Rule("a label of its own for each time", "kept, both as they are", _WARNING),
    _Kind.DATES_REVERSED: _Rule(
        "a pre image taken no later than the post image", "kept: file names say which is which", _WARNING
    ),
    _Kind.IMG_NAME_ELSEWHERE: _Rule(
        "img_name of the label's own scene and time",
        "kept: img_name is not followed, files are found by their own names",
        _WARNING,
    ),
    _Kind.WRONG_METADATA: _Rule(
        "metadata of the types of xBD", "kept: the field is taken as absent", _WARNING
    ),
    _Kind.LINK_OUT_OF_ROOT: _Rule("files inside the xBD root", "kept: the link is followed", _NOTE),
    _Kind.NO_UID: _Rule("a feature with properties.uid", "the feature is left out", _ERROR),
    _Kind.NOT_A_BUILDING: _Rule("feature_type building", "the feature is left out", _WARNING),
    _Kind.REPEATED_UID: _Rule(
        "each uid once in a file", "the first is kept, the others are left out", _ERROR
    ),
    _Kind.ONLY_IN_PRE: _Rule("the uid in the post label too", _UNGRADED, _WARNING),
    _Kind.ONLY_IN_POST: _Rule("the uid in the pre label too", "the building is left out", _ERROR),
    _Kind.MISSING_SUBTYPE: _Rule("a subtype in the post label", _UNGRADED, _WARNING),
    _Kind.UNKNOWN_SUBTYPE: _Rule(_SUBTYPES, _UNGRADED, _WARNING),
    _Kind.UNUSABLE_OUTLINE: _Rule(
        "POLYGON or MULTIPOLYGON text of finite x and y, at most 10,000 vertices in 40 rings",
        "the building is left out; where it is the post label's, the pre outline takes its place",
        _ERROR,
    ),
    _Kind.NOT_CLOSED: _Rule("rings that end at their first vertex", "the ring is closed", _WARNING),
    _Kind.CROSSES_ITSELF: _Rule(
        "rings that neither meet nor cross", "kept as drawn, filled by the even-odd rule", _WARNING
    ),
    _Kind.NO_AREA: _Rule(
        "a ring with an area", "kept: the official rule fills the pixels under the ring", _WARNING
    ),
    _Kind.HOLE_OUTSIDE: _Rule(
        "holes inside their exterior", "the hole is left out, the building kept", _WARNING
    ),
    _Kind.BEYOND_IMAGE: _Rule(
        "coordinates from 0 to the image's size, 1 px of slack",
        "kept as drawn, mask and bbox end at the border",
        _WARNING,
    ),
    _Kind.OUTSIDE_IMAGE: _Rule(
        "an outline that fills a pixel of the image", "the building is left out", _ERROR
    ),
    _Kind.DAMAGED_IMAGE: _Rule("an image whose pixels can all be decoded", _STOPS, _ERROR),
    _Kind.NOT_8_BIT: _Rule("8 bits a channel", _STOPS, _ERROR),
    _Kind.NOT_RGB: _Rule("three channels", "kept, read as RGB", _NOTE),
    _Kind.ALL_BLACK: _Rule("an image that shows something", "kept", _NOTE),
    _Kind.IDENTICAL_IMAGES: _Rule("a pre and a post image that differ", "kept, both as they are", _WARNING),
    _Kind.SEVERAL_PARTS: _Rule("one outline a building", "kept: each part is filled", _NOTE),
    _Kind.HAS_HOLES: _Rule("an outline without holes", "kept: the holes stay open", _NOTE),
    _Kind.UID_IN_TWO_SCENES: _Rule("each uid in one scene", "kept in both", _WARNING),
    _Kind.SCENE_IN_TWO_SPLITS: _Rule(
        "each scene in one split", "kept in both; a score of both splits together is refused", _ERROR
    ),
    _Kind.STRAY_FILE: _Rule("files of complete scenes, each once", "passed over", _NOTE),
    _Kind.MISSING_TARGETS: _Rule(
        "a target for every scene of a split that has some",
        "the scorer's --targets counts these alone",
        _NOTE,
    ),
    _Kind.LONE_TARGET: _Rule(
        "pre and post target of a scene", "the scorer's --targets stops at it; labels count", _WARNING
    ),
    _Kind.UNUSABLE_TARGET: _Rule(
        "an 8-bit gray PNG of the image's size, values 0..4",
        "the scorer's --targets stops at it; labels count",
        _WARNING,
    ),
    _Kind.NOT_IN_TARGET: _Rule("pixels of the building in its target", _TARGETS_ONLY, _WARNING),
    _Kind.TARGET_DIFFERS: _Rule(
        f"the target that the label paints, up to {LARGEST_TARGET_DIFFERENCE} px", _TARGETS_ONLY, _WARNING
    ),
}
_ONLY_IN_CHECK = frozenset(list(FaultKind)[list(FaultKind).index(FaultKind.DAMAGED_IMAGE) :])


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong in one file.

    Attributes:
        kind: which rule applied.
        scene: scene name; empty where no scene is known.
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
        return printable(
            f"{self.file}: {building}expected {self.kind.expected}, found {self.found} ({self.kind.rule})"
        )

    def as_json(self) -> dict[str, Any]:
        """The fault as an entry of the lists that are written; names are ``printable``."""
        return {
            "kind": self.kind.value,
            "severity": self.kind.severity.value,
            "scene": printable(self.scene),
            "file": printable(self.file),
            "uid": None if self.uid is None else printable(self.uid),
            "expected": self.kind.expected,
            "found": printable(self.found),
            "rule": self.kind.rule,
        }


def dropping_fault(faults: Iterable[Fault]) -> Fault:
    """The first fault that leaves the pair out; there must be one."""
    return next(fault for fault in faults if fault.kind.drops_pair)


def count_faults(faults: Iterable[Fault]) -> dict[FaultKind, int]:
    """Faults by kind, in the order of ``FaultKind``, without the kinds that did not occur."""
    counts = Counter(fault.kind for fault in faults)
    return {kind: counts[kind] for kind in FaultKind if counts[kind]}


def fault_table(counts: dict[FaultKind, int]) -> str:
    """Lines of ``count  kind  rule``, for one kind of fault or more."""
    width = max(len(kind.value) for kind in counts)
    return "\n".join(f"{count:8d}  {kind.value:{width}s}  {kind.rule}" for kind, count in counts.items())
