"""Target images of a split by the official fill rule: written where they are missing, or compared.

The download's names: ``<split>/targets/<scene>_pre_disaster_target.png`` is localization 0/1,
``<scene>_post_disaster_target.png`` damage 0..4. The official scorer wants
``test_localization_00000_target.png`` and ``test_damage_00000_target.png`` instead. Only labels and the
headers of images are read.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.validation import (
    LARGEST_TARGET_DIFFERENCE,
    Fault,
    FaultKind,
    count_faults,
    dropping_fault,
)
from skyeye_det.data.xbd import read_scene
from skyeye_det.errors import InputError
from skyeye_det.files import plain_bytes, read_bytes, write_bytes
from skyeye_det.progress import progress
from skyeye_det.workers import ordered_map, worker_count
from skyeye_det.xview2.submission import (
    DAMAGE,
    LOCALIZATION,
    NUMBERING_FILE,
    PngError,
    decode_class_png,
    encode_class_png,
    number_scenes,
    read_numbering,
    write_numbering,
)

_SUFFIX = "_disaster_target.png"
_PAIRS_PER_WORKER = 50

Paths = tuple[Path, Path]
"""(localization, damage)"""


@dataclass(frozen=True)
class TargetsMade:
    """What ``make_targets`` did in a split."""

    split: str
    pairs: int  # number of complete ones
    painted: int  # PNGs written from labels
    copied: int  # PNGs copied from targets/ under the scorer's name
    kept: int  # PNGs that were there and left alone
    left_out: tuple[Fault, ...]  # one for each pair that got no targets
    mended: dict[str, int]  # number of other faults by kind, in the pairs that were painted

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {"left_out": [fault.as_json() for fault in self.left_out]}


def make_targets(
    root: str | os.PathLike[str],
    split: str,
    workers: int | None = None,
    overwrite: bool = False,
    scorer_folder: str | os.PathLike[str] | None = None,
) -> TargetsMade:
    """Writes the target PNGs that a split comes without.

    Each file is whole or absent, and the same labels give the same bytes for any number of workers. A file
    that exists is left alone, so that a killed run is taken up by the next.

    Args:
        root: xBD root.
        split: folder below it.
        workers: number of processes; by default one for each 50 pairs, at most one a CPU.
        overwrite: write every target anew, official ones too.
        scorer_folder: where given, the targets are written there under the official scorer's names, numbered
            as a submission of all pairs is, with ``numbering.csv``; PNGs of ``<split>/targets`` are copied.
            Nothing is written into the root.

    Raises:
        InputError: no such split, no complete pair in it, a folder that cannot be written; with
            ``scorer_folder`` also an incomplete pair, or another split's targets in it.
    """
    scenes, incomplete = find_scenes(root, split)
    if scorer_folder is not None and incomplete:
        raise InputError(f"{incomplete[0]}, and {len(incomplete)} in all; the scorer needs every tile")
    paths = map(target_paths, scenes) if scorer_folder is None else _numbered(scenes, Path(scorer_folder))
    wanted = list(zip(scenes, paths, strict=True))
    left_out = [fault for fault in incomplete if fault.kind is not FaultKind.LINK_OUT_OF_ROOT]
    mended = Counter(fault.kind for fault in incomplete if fault not in left_out)
    written: Counter[str] = Counter()
    count = worker_count(workers, len(wanted), _PAIRS_PER_WORKER)
    made = ordered_map(partial(_make, overwrite=overwrite), wanted, count)
    for done, left, faults in progress(made, len(wanted), f"targets {split}", "pair"):
        written += done
        left_out += left
        mended.update(faults)
    left_out.sort(key=lambda fault: fault.scene)
    counts = {kind.value: mended[kind] for kind in FaultKind if mended[kind]}
    painted, copied, kept = (written[name] for name in ("painted", "copied", "kept"))
    return TargetsMade(split, len(scenes), painted, copied, kept, tuple(left_out), counts)


def target_paths(files: SceneFiles) -> Paths:
    """Where the download has a pair's (localization, damage) targets."""
    folder = files.root / files.split / "targets"
    return folder / f"{files.name}_pre{_SUFFIX}", folder / f"{files.name}_post{_SUFFIX}"


def rasterize_pair(files: SceneFiles) -> tuple[tuple[np.ndarray, np.ndarray] | None, list[Fault]]:
    """Both target images of a pair, uint8 (height, width), and its faults.

    None where a fault leaves the pair out; that fault is then the only one.
    """
    scene, faults = read_scene(files)
    if scene is None:
        return None, [dropping_fault(faults)]
    return scene_targets(scene.buildings, (scene.height, scene.width)), faults


def _make(
    wanted: tuple[SceneFiles, Paths], overwrite: bool
) -> tuple[Counter[str], list[Fault], dict[FaultKind, int]]:
    """What was done for one pair, the fault that left it out, and how many others were mended.

    Labels are read only where a target must be painted.
    """
    files, paths = wanted
    missing = [index for index, path in enumerate(paths) if overwrite or not path.exists()]
    sources = target_paths(files)
    copied = [index for index in missing if sources[index] != paths[index] and sources[index].exists()]
    for index in copied:
        write_bytes(paths[index], read_bytes(sources[index]))
    done = Counter(copied=len(copied), kept=len(paths) - len(missing))
    painted = [index for index in missing if index not in copied]
    images, faults = rasterize_pair(files) if painted else ((), [])
    if images is None:
        return done, faults, {}
    for index in painted:
        write_bytes(paths[index], encode_class_png(images[index]))
    return done + Counter(painted=len(painted)), [], count_faults(faults)


def _numbered(scenes: list[SceneFiles], folder: Path) -> Iterator[Paths]:
    """Gives every pair the name of its number; the table is written first, and guards what is taken up."""
    prefix = "hold" if scenes[0].split == "hold" else "test"
    numbering = number_scenes((files.name for files in scenes), prefix)
    if not (folder / NUMBERING_FILE).exists():
        write_numbering(folder, numbering)
    elif read_numbering(folder) != numbering:
        raise InputError(
            f"{folder / NUMBERING_FILE}: expected the numbers of {scenes[0].split}, found those of other "
            "tiles; name another folder with --scorer-names"
        )
    for files in scenes:
        number = numbering[files.name].removeprefix(f"{prefix}_")
        localization, damage = (f"{prefix}_{kind}_{number}_target.png" for kind in (LOCALIZATION, DAMAGE))
        yield folder / localization, folder / damage


@dataclass(frozen=True)
class TargetDifference:
    """A target PNG that is not what the labels give."""

    file: str  # relative to the xBD root, with forward slashes
    kind: str  # localization or damage
    pixels: int | None  # how many differ; None where the two could not be compared
    detail: str  # the first pixel that differs, or why nothing was compared


@dataclass(frozen=True)
class TargetsChecked:
    """What ``check_targets`` found in a split."""

    split: str
    compared: int  # number of PNGs
    absent: int  # number of PNGs that complete pairs come without
    differences: tuple[TargetDifference, ...] = ()  # PNGs that are not identical, the worst first

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
    names = {path.name for path in folder.glob(f"[!.]*{_SUFFIX}")}
    if not names:
        raise InputError(
            f"{folder}: expected <scene>_pre{_SUFFIX} or _post{_SUFFIX} to compare, found none; "
            f"write them with: python tools/make_targets.py --xbd-root {root} --splits {split}"
        )
    known = {path.name for files in scenes for path in target_paths(files)}
    differences = [
        TargetDifference(
            f"{split}/targets/{name}",
            LOCALIZATION if name.endswith(f"_pre{_SUFFIX}") else DAMAGE,
            None,
            "its pair is incomplete or absent",
        )
        for name in names - known
    ]
    present = [files for files in scenes if any(path.name in names for path in target_paths(files))]
    found = ordered_map(_compare, present, worker_count(workers, len(present), _PAIRS_PER_WORKER))
    differences += chain.from_iterable(progress(found, len(present), f"check {split}", "pair"))
    compared = len(names) - sum(difference.pixels is None for difference in differences)
    return TargetsChecked(split, compared, len(known - names), tuple(worst_first(differences)))


def worst_first(differences: Iterable[TargetDifference]) -> list[TargetDifference]:
    """Those that could not be compared, then those with the most pixels."""
    return sorted(differences, key=lambda d: (d.pixels is not None, -(d.pixels or 0), d.file))


def _compare(files: SceneFiles) -> list[TargetDifference]:
    images, faults = rasterize_pair(files)
    found = []
    for index, path in enumerate(target_paths(files)):
        if path.exists():
            pixels, detail = _difference(path, images[index]) if images else (None, str(faults[-1]))
            name, kind = path.relative_to(files.root).as_posix(), (LOCALIZATION, DAMAGE)[index]
            found.append(TargetDifference(name, kind, pixels, detail))
    return [difference for difference in found if difference.pixels != 0]


def _difference(path: Path, painted: np.ndarray) -> tuple[int | None, str]:
    try:
        target = decode_class_png(plain_bytes(path))
    except (OSError, PngError) as error:
        return None, str(error)
    if target.shape != painted.shape:
        return None, "expected {1} x {0} px, found {3} x {2}".format(*painted.shape, *target.shape)
    places = np.flatnonzero(target != painted)
    if not places.size:
        return 0, ""
    y, x = divmod(int(places[0]), target.shape[1])
    return places.size, f"x {x}, y {y}: expected {painted[y, x]}, found {target[y, x]}"
