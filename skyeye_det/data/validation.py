"""The faults that a data set can have, the rule by which each is handled, and how they are counted."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import msgspec

from skyeye_det.damage import UNCLASSIFIED_SUBTYPE, DamageClass
from skyeye_det.errors import InputError, printable, shown
from skyeye_det.files import read_json

_Form = TypeVar("_Form")

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


_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE
_PAIR_OUT = "the pair is left out"
_UNGRADED = f"kept as {UNCLASSIFIED_SUBTYPE}"
_STOPS = "kept by the conversion, which decodes no image; training stops at it, inference passes over it"
_TARGETS_ONLY = "kept: labels count; targets are read by the scorer's --targets alone"
_SUBTYPES = f"{', '.join(grade.subtype for grade in DamageClass)} or {UNCLASSIFIED_SUBTYPE}"


class FaultKind(Enum):
    """A kind of fault; the value is its name in tables and lists.

    Attributes:
        severity: how much it matters.
        expected: what would have been right.
        rule: what is done about it.
    """

    severity: Severity
    expected: str
    rule: str

    def __new__(cls, value: str, severity: Severity, expected: str, rule: str) -> "FaultKind":
        """Keeps the name alone as the value."""
        kind = object.__new__(cls)
        kind._value_ = value
        kind.severity, kind.expected, kind.rule = severity, expected, rule
        return kind

    # fmt: off
    INCOMPLETE_PAIR = "incomplete-pair", _ERROR, "pre and post image and label of the scene", _PAIR_OUT
    BAD_NAME = "bad-name", _ERROR, "a file name of printable text in UTF-8", _PAIR_OUT
    UNREADABLE_LABEL = ("unreadable-label", _ERROR,
        "xBD label JSON with features.xy and metadata, at most 200,000 vertices", _PAIR_OUT)
    UNREADABLE_IMAGE = "unreadable-image", _ERROR, "a PNG, JPEG or TIFF image", _PAIR_OUT
    IMAGE_TOO_LARGE = "image-too-large", _ERROR, "an image of at most 8192 x 8192 px", _PAIR_OUT
    OTHER_KIND_OF_IMAGE = ("other-kind-of-image", _ERROR,
        "8 bits a channel, gray or red, green and blue", _PAIR_OUT)
    SIZES_DIFFER = "sizes-differ", _ERROR, "pre image, post image and both labels of one size", _PAIR_OUT
    SWAPPED_LABELS = "swapped-labels", _ERROR, "the post label under the post label's name", _PAIR_OUT
    IDENTICAL_LABELS = ("identical-labels", _WARNING,
        "a label of its own for each time", "kept, both as they are")
    DATES_REVERSED = ("dates-reversed", _WARNING,
        "a pre image taken no later than the post image", "kept: file names say which is which")
    IMG_NAME_ELSEWHERE = ("img-name-elsewhere", _WARNING,
        "img_name of the label's own scene and time",
        "kept: img_name is not followed, files are found by their own names")
    WRONG_METADATA = ("wrong-metadata", _WARNING,
        "metadata of the types of xBD", "kept: the field is taken as absent")
    LINK_OUT_OF_ROOT = "link-out-of-root", _NOTE, "files inside the xBD root", "kept: the link is followed"
    NO_UID = "no-uid", _ERROR, "a feature with properties.uid", "the feature is left out"
    NOT_A_BUILDING = "not-a-building", _WARNING, "feature_type building", "the feature is left out"
    REPEATED_UID = ("repeated-uid", _ERROR,
        "each uid once in a file", "the first is kept, the others are left out")
    ONLY_IN_PRE = "only-in-pre", _WARNING, "the uid in the post label too", _UNGRADED
    ONLY_IN_POST = "only-in-post", _ERROR, "the uid in the pre label too", "the building is left out"
    MISSING_SUBTYPE = "missing-subtype", _WARNING, "a subtype in the post label", _UNGRADED
    UNKNOWN_SUBTYPE = "unknown-subtype", _WARNING, _SUBTYPES, _UNGRADED
    UNUSABLE_OUTLINE = ("unusable-outline", _ERROR,
        "POLYGON or MULTIPOLYGON text of finite x and y, at most 10,000 vertices in 40 rings",
        "the building is left out; where it is the post label's, the pre outline takes its place")
    NOT_CLOSED = "not-closed", _WARNING, "rings that end at their first vertex", "the ring is closed"
    CROSSES_ITSELF = ("crosses-itself", _WARNING,
        "rings that neither meet nor cross", "kept as drawn, filled by the even-odd rule")
    NO_AREA = ("no-area", _WARNING,
        "a ring with an area", "kept: the official rule fills the pixels under the ring")
    HOLE_OUTSIDE = ("hole-outside", _WARNING,
        "holes inside their exterior", "the hole is left out, the building kept")
    BEYOND_IMAGE = ("beyond-image", _WARNING,
        "coordinates from 0 to the image's size, 1 px of slack",
        "kept as drawn, mask and bbox end at the border")
    OUTSIDE_IMAGE = ("outside-image", _ERROR,
        "an outline that fills a pixel of the image", "the building is left out")
    # The rest is seen by tools/check_dataset.py alone.
    DAMAGED_IMAGE = "damaged-image", _ERROR, "an image whose pixels can all be decoded", _STOPS
    NOT_RGB = ("not-rgb", _NOTE,
        "three bands", "kept: gray is repeated, bands after the third are passed over")
    ALL_BLACK = "all-black", _NOTE, "an image that shows something", "kept"
    IDENTICAL_IMAGES = ("identical-images", _WARNING,
        "a pre and a post image that differ", "kept, both as they are")
    SEVERAL_PARTS = "several-parts", _NOTE, "one outline a building", "kept: each part is filled"
    HAS_HOLES = "has-holes", _NOTE, "an outline without holes", "kept: the holes stay open"
    UID_IN_TWO_SCENES = "uid-in-two-scenes", _WARNING, "each uid in one scene", "kept in both"
    SCENE_IN_TWO_SPLITS = ("scene-in-two-splits", _ERROR,
        "each scene in one split", "kept in both; a score of both splits together is refused")
    STRAY_FILE = "stray-file", _NOTE, "files of complete scenes, each once", "passed over"
    MISSING_TARGETS = ("missing-targets", _NOTE,
        "a target for every scene of a split that has some", "the scorer's --targets counts these alone")
    LONE_TARGET = ("lone-target", _WARNING,
        "pre and post target of a scene", "the scorer's --targets stops at it; labels count")
    UNUSABLE_TARGET = ("unusable-target", _WARNING,
        "an 8-bit gray PNG of the image's size, values 0..4",
        "the scorer's --targets stops at it; labels count")
    NOT_IN_TARGET = "not-in-target", _WARNING, "pixels of the building in its target", _TARGETS_ONLY
    TARGET_DIFFERS = ("target-differs", _WARNING,
        f"the target that the label paints, up to {LARGEST_TARGET_DIFFERENCE} px", _TARGETS_ONLY)
    # fmt: on

    @property
    def drops_pair(self) -> bool:
        """Its rule leaves the whole pair out."""
        return self.rule == _PAIR_OUT

    @property
    def only_in_check(self) -> bool:
        """The conversion, which decodes no image and reads no target, does not see it."""
        kinds = list(FaultKind)
        return kinds.index(self) >= kinds.index(FaultKind.DAMAGED_IMAGE)


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


def read_as(path: str | os.PathLike[str], form: type[_Form], mend: str) -> tuple[_Form, Any]:
    """Reads a JSON file that may come from a stranger.

    Args:
        path: the file.
        form: ``msgspec.Struct`` that says what is expected; members that it does not name are let be.
        mend: what to do about a file that is not so.

    Returns:
        The content by ``form``, and the same as plain values.

    Raises:
        InputError: no such file, or the first value that is not as expected, with its place and uid.
    """
    content = read_json(path)
    try:
        return msgspec.convert(content, form), content
    except msgspec.ValidationError as error:
        expected, _, steps = str(error).partition(" - at `$")
        found, place = content, ""
        for key, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", steps):
            place += f"[{index}]" if index else f".{key}"
            if index == "...":  # one member of an object, msgspec does not say which
                break
            found = found[int(index)] if index else found[key]
            if isinstance(found, dict) and isinstance(found.get("uid"), str):
                place += f" (uid {shown(found['uid'])})"
        expected = re.sub(", got .*", "", expected[0].lower() + expected[1:])
        raise InputError(
            f"{path}: {place.lstrip('.') or 'the file'}: {expected}, found {shown(found)}; {mend}"
        ) from error
