"""Compares the target PNGs of a split with what its labels give by the official fill rule."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.validation import LARGEST_TARGET_DIFFERENCE
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes
from skyeye_det.text_table import aligned
from skyeye_det.xview2.png import PngError, decode_class_png
from skyeye_det.xview2.submission import DAMAGE, LOCALIZATION
from skyeye_det.xview2.target_images import (
    SHOWN,
    TARGET_SUFFIX,
    for_each,
    paint_pair,
    target_paths,
)

KINDS = (LOCALIZATION, DAMAGE)


@dataclass(frozen=True)
class TargetDifference:
    """A target PNG that is not what the labels give.

    Attributes:
        file: relative to the xBD root, with forward slashes.
        kind: ``localization`` or ``damage``.
        pixels: how many differ; None where the two could not be compared.
        detail: the first pixel that differs, or why nothing was compared.
    """

    file: str
    kind: str
    pixels: int | None
    detail: str


@dataclass(frozen=True)
class TargetsChecked:
    """What ``check_targets`` found in a split.

    Attributes:
        split: its name.
        compared: number of PNGs that were compared.
        absent: number of PNGs that complete pairs come without.
        differences: PNGs that are not identical, the worst first.
    """

    split: str
    compared: int
    absent: int
    differences: tuple[TargetDifference, ...] = ()

    @property
    def identical(self) -> int:
        """Number of PNGs that are the same to the pixel."""
        return self.compared - sum(difference.pixels is not None for difference in self.differences)

    @property
    def worst(self) -> int:
        """The largest number of pixels that differ in one PNG; 0 where none does."""
        return max((difference.pixels or 0 for difference in self.differences), default=0)

    def has_findings(self, tolerance: int = LARGEST_TARGET_DIFFERENCE) -> bool:
        """A PNG differs by more than ``tolerance`` px or could not be compared."""
        return any(d.pixels is None or d.pixels > tolerance for d in self.differences)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {"identical": self.identical, "worst": self.worst}


def check_targets(root: str | os.PathLike[str], split: str, workers: int | None = None) -> TargetsChecked:
    """Compares the target PNGs of a split with what its labels give; writes nothing.

    Args:
        root: xBD root.
        split: folder below it. Pairs with one target or none are compared as far as they go; a target
            without a complete pair counts as a difference.
        workers: number of processes; by default one for each 50 pairs, at most one a CPU.

    Raises:
        InputError: no such split, no complete pair in it, or no target at all.
    """
    scenes, _ = find_scenes(root, split)
    folder = Path(root) / split / "targets"
    names = {path.name for path in folder.glob(f"[!.]*{TARGET_SUFFIX}")}
    if not names:
        raise InputError(
            f"{folder}: expected <scene>_pre{TARGET_SUFFIX} or _post{TARGET_SUFFIX} to compare, found none; "
            f"write them with: python tools/make_targets.py --xbd-root {root} --splits {split}"
        )
    known = {path.name for files in scenes for path in target_paths(files)}
    differences = [
        TargetDifference(f"{split}/targets/{name}", _kind_of(name), None, "its pair is incomplete or absent")
        for name in sorted(names - known)
    ]
    present = [files for files in scenes if any(path.name in names for path in target_paths(files))]
    for found in for_each(_compare, present, workers, f"check {split}"):
        differences += found
    differences.sort(key=lambda d: (d.pixels is not None, -(d.pixels or 0), d.file))
    unread = sum(difference.pixels is None for difference in differences)
    return TargetsChecked(split, len(names) - unread, len(known - names), tuple(differences))


def checked_table(results: list[TargetsChecked], tolerance: int = LARGEST_TARGET_DIFFERENCE) -> str:
    """Every PNG that differs, the worst first, and counts by split."""
    rows: list[tuple[str, ...]] = [("pixels", "kind", "target", "first pixel, or why not compared")]
    differences = [difference for result in results for difference in result.differences]
    differences.sort(key=lambda d: (d.pixels is not None, -(d.pixels or 0), d.file))
    rows += [
        ("-" if d.pixels is None else str(d.pixels), d.kind, d.file, d.detail) for d in differences[:SHOWN]
    ]
    lines = [aligned(rows, "<")] if differences else []
    if len(differences) > SHOWN:
        lines.append(f"... and {len(differences) - SHOWN} more; --json writes them all")
    lines += [
        f"{result.split}: {result.compared} targets compared, {result.identical} identical, worst "
        f"{result.worst} px of {tolerance} allowed; {result.absent} absent"
        for result in results
    ]
    return "\n".join(lines)


def _compare(files: SceneFiles) -> list[TargetDifference]:
    images, faults = paint_pair(files)
    found = []
    for index, path in enumerate(target_paths(files)):
        if not path.exists():
            continue
        pixels, detail = _difference(path, images[index]) if images else (None, str(faults[-1]))
        if pixels != 0:
            name = path.relative_to(files.root).as_posix()
            found.append(TargetDifference(name, KINDS[index], pixels, detail))
    return found


def _difference(path: Path, painted: np.ndarray) -> tuple[int | None, str]:
    try:
        target = decode_class_png(plain_bytes(path))
    except (OSError, PngError) as error:
        return None, str(error)
    if target.shape != painted.shape:
        return None, (
            f"expected {painted.shape[1]} x {painted.shape[0]} px, found {target.shape[1]} x "
            f"{target.shape[0]}"
        )
    places = np.flatnonzero(target != painted)
    if not places.size:
        return 0, ""
    y, x = divmod(int(places[0]), target.shape[1])
    return places.size, f"x {x}, y {y}: expected {painted[y, x]}, found {target[y, x]}"


def _kind_of(name: str) -> str:
    return LOCALIZATION if name.endswith(f"_pre{TARGET_SUFFIX}") else DAMAGE
