"""Checks a folder of predictions before upload: one bad file fails the whole submission."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.image_reading import ImageError, image_size
from skyeye_det.data.pairs import find_pairs
from skyeye_det.errors import InputError, printable
from skyeye_det.files import plain_bytes
from skyeye_det.progress import progress
from skyeye_det.xview2.submission import (
    LOCALIZATION,
    PngError,
    decode_class_png,
    read_numbering,
    scene_of_file,
    submission_names,
)

Size = tuple[int, int]
"""(height, width) in px."""

XVIEW2_SIZE: Size = (1024, 1024)
_SHOWN = 50  # findings and notes that are printed
_EXPECTED_NAMES = (
    "expected <scene>_localization_prediction.png, test_localization_00000_prediction.png or _damage_"
)


@dataclass(frozen=True)
class Finding:
    """One fault of a submission: a file in its folder, and what was expected and found.

    ``kind`` is ``missing``, ``misnamed``, ``mis-sized``, ``mis-typed``, ``mis-valued`` or ``unreadable``;
    ``note`` for what a scorer takes but its author may not have meant.
    """

    kind: str
    file: str
    detail: str


@dataclass(frozen=True)
class SubmissionCheck:
    """What a folder's check found."""

    tiles: int  # number that was looked for
    findings: list[Finding]  # faults, sorted by kind and file
    notes: list[Finding]  # that do not fail a submission


def check_submission(
    folder: Path, expected: dict[str, Size | None] | None = None, size: Size = XVIEW2_SIZE
) -> SubmissionCheck:
    """Looks at every prediction of a submission and at what should be there.

    Args:
        folder: the submission; subfolders and files that are no PNG are passed over.
        expected: scene -> size of its images, None for ``size``. Scenes that ``numbering.csv`` lists are
            looked for under their numbers. Without it the tiles found must only be complete, and missing
            tiles cannot be known.
        size: (height, width) where ``expected`` gives none.

    Raises:
        InputError: no such folder, or an unreadable ``numbering.csv``.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of predictions, found none; check the path")
    present = {path.name for path in folder.iterdir() if path.is_file()}
    pngs = {name for name in present if name.lower().endswith(".png") and not name.startswith(".")}
    if expected is None:
        sizes = {known[0]: size for name in pngs if (known := scene_of_file(name)) is not None}
    else:
        numbering = read_numbering(folder)
        sizes = {numbering.get(scene, scene): own or size for scene, own in expected.items()}
    wanted = {name for scene in sizes for name in submission_names(scene)}
    found = [Finding("missing", name, "expected, not there") for name in sorted(wanted - pngs)]
    for name in sorted(pngs - wanted):
        detail = "no such tile is expected" if scene_of_file(name) else _EXPECTED_NAMES
        found.append(Finding("misnamed", name, detail))
    found += [
        Finding("note", name, "left by a run that was killed")
        for name in present
        if name.endswith(".partial")
    ]
    for scene in progress(sorted(sizes), len(sizes), "check", "tile"):
        found += _check_tile(folder, [name for name in submission_names(scene) if name in pngs], sizes[scene])
    found.sort(key=lambda finding: (finding.kind, finding.file))
    faults = [finding for finding in found if finding.kind != "note"]
    return SubmissionCheck(len(sizes), faults, [finding for finding in found if finding.kind == "note"])


def format_check(check: SubmissionCheck) -> str:
    """Findings, then notes, one a line, at most 50 of them, and the sum of all."""
    listed = check.findings + check.notes
    lines = [
        printable(f"{finding.kind:<10}  {finding.file}  {finding.detail}") for finding in listed[:_SHOWN]
    ]
    if len(listed) > _SHOWN:
        lines.append(f"... and {len(listed) - _SHOWN} more; --json writes them all")
    lines.append(f"{check.tiles} tiles, {len(check.findings)} findings, {len(check.notes)} notes")
    return "\n".join(lines)


def expected_from_images(images: Path, splits: Iterable[str] | None = None) -> dict[str, Size | None]:
    """Scenes of an xBD root, a split or a flat folder, with the size of their pre images.

    Args:
        images: folder as :func:`skyeye_det.data.pairs.find_pairs` takes it; images without a partner are
            passed over.
        splits: names of the splits that count; None for all.

    Raises:
        InputError: no pairs, or none in these splits.
    """
    chosen = None if splits is None else set(splits)
    pairs = [pair for pair in find_pairs(images)[0] if chosen is None or pair.split in chosen]
    if not pairs:
        raise InputError(
            f"{images}: expected pairs in the splits {', '.join(sorted(chosen or ()))}, found none"
        )
    return {pair.name: _size(pair.pre) for pair in pairs}


def _size(image: Path) -> Size | None:
    """(h, w) of an image; None where it cannot be read, and any size will do."""
    try:
        width, height = image_size(image)
    except ImageError:
        return None
    return height, width


def expected_tiles(count: int, prefix: str = "test") -> dict[str, Size | None]:
    """The anonymous tiles ``<prefix>_00000`` .. of the competition (933 in test and in hold)."""
    return {f"{prefix}_{number:05d}": None for number in range(count)}


def _check_tile(folder: Path, names: list[str], size: Size) -> list[Finding]:
    findings: list[Finding] = []
    images: list[np.ndarray] = []
    for name in names:
        try:
            image = decode_class_png(plain_bytes(folder / name))
        except PngError as error:
            findings.append(Finding(error.kind, name, str(error)))
        except OSError as error:
            findings.append(Finding("unreadable", name, str(error.strerror or error)))
        else:
            findings += _check_image(name, image, size)
            images.append(image)
    if len(images) == 2 and images[0].shape == images[1].shape and not findings:
        stray = int(np.count_nonzero((images[1] > 0) & (images[0] == 0)))
        detail = f"{stray} px of damage outside localization do not count"
        findings += [Finding("note", names[1], detail)] if stray else []
    return findings


def _check_image(name: str, image: np.ndarray, size: Size) -> list[Finding]:
    findings = []
    if image.shape != size:
        detail = f"expected {size[1]} x {size[0]} px, found {image.shape[1]} x {image.shape[0]}"
        findings.append(Finding("mis-sized", name, detail))
    highest = int(image.max())
    if highest > NUM_DAMAGE_CLASSES:
        values = np.unique(image[image > NUM_DAMAGE_CLASSES])
        shown = ", ".join(map(str, values[:4])) + (", ..." if len(values) > 4 else "")
        findings.append(Finding("mis-valued", name, f"expected 0..{NUM_DAMAGE_CLASSES}, found {shown}"))
    elif highest > 1 and f"_{LOCALIZATION}_" in name:
        findings.append(
            Finding("note", name, f"values up to {highest}; every one above 0 counts as building")
        )
    return findings
