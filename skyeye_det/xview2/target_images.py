"""Target images of a split by the official fill rule, written where they are missing.

The download's names: ``<split>/targets/<scene>_pre_disaster_target.png`` is localization 0/1,
``<scene>_post_disaster_target.png`` damage 0..4. The official scorer wants
``test_localization_00000_target.png`` and ``test_damage_00000_target.png`` instead. Only labels and the
headers of images are read.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.validation import Fault, FaultKind, count_faults, dropping_fault, fault_table
from skyeye_det.data.xbd import read_scene
from skyeye_det.errors import InputError
from skyeye_det.files import read_bytes, write_bytes
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned
from skyeye_det.workers import ordered_map, worker_count
from skyeye_det.xview2.png import encode_class_png
from skyeye_det.xview2.submission import (
    DAMAGE,
    LOCALIZATION,
    NUMBERING_FILE,
    number_scenes,
    read_numbering,
    write_numbering,
)

TARGET_SUFFIX = "_disaster_target.png"
SHOWN = 50
"""Lines of a table at most; ``--json`` has the rest."""

_PAIRS_PER_WORKER = 50

Paths = tuple[Path, Path]
"""(localization, damage)"""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class TargetsMade:
    """What ``make_targets`` did in a split.

    Attributes:
        split: its name.
        pairs: number of complete pairs.
        painted: PNGs written from labels.
        copied: PNGs copied from ``targets`` under the scorer's name.
        kept: PNGs that were there and left alone.
        left_out: a fault for each pair that got no targets.
        mended: number of other faults by the value of their kind, in the pairs that were painted.
    """

    split: str
    pairs: int
    painted: int
    copied: int
    kept: int
    left_out: tuple[Fault, ...]
    mended: dict[str, int]

    @property
    def has_findings(self) -> bool:
        """A pair got no targets."""
        return bool(self.left_out)

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return asdict(self) | {"left_out": [fault.as_json() for fault in self.left_out]}


class _Wanted(NamedTuple):
    """A pair, and where its targets shall stand."""

    files: SceneFiles
    paths: Paths


class _Made(NamedTuple):
    """What was done for one pair; ``left_out`` is the fault that kept it from being painted."""

    painted: int
    copied: int
    kept: int
    left_out: Fault | None
    mended: dict[FaultKind, int]


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
    if scorer_folder is None:
        wanted = [_Wanted(files, target_paths(files)) for files in scenes]
    else:
        if incomplete:
            raise InputError(f"{incomplete[0]}, and {len(incomplete)} in all; the scorer needs every tile")
        wanted = _numbered(scenes, Path(scorer_folder))
    painted = copied = kept = 0
    linked = [fault for fault in incomplete if fault.kind is FaultKind.LINK_OUT_OF_ROOT]
    left_out = [fault for fault in incomplete if fault not in linked]
    mended = Counter(fault.kind for fault in linked)
    for made in for_each(partial(_make, overwrite=overwrite), wanted, workers, f"targets {split}"):
        painted, copied, kept = painted + made.painted, copied + made.copied, kept + made.kept
        left_out += [made.left_out] if made.left_out else []
        mended.update(made.mended)
    left_out.sort(key=lambda fault: fault.scene)
    counts = {kind.value: mended[kind] for kind in FaultKind if mended[kind]}
    return TargetsMade(split, len(scenes), painted, copied, kept, tuple(left_out), counts)


def made_table(results: list[TargetsMade]) -> str:
    """Counts by split, the pairs without targets, and the faults that were mended by their rule."""
    rows: list[tuple[str, ...]] = [("split", "pairs", "painted", "copied", "kept", "left out")]
    for made in results:
        counts = (made.pairs, made.painted, made.copied, made.kept, len({f.scene for f in made.left_out}))
        rows.append((made.split, *map(str, counts)))
    lines = [aligned(rows, "<")]
    left_out = [fault for made in results for fault in made.left_out]
    lines += [f"  {fault}" for fault in left_out[:SHOWN]]
    if len(left_out) > SHOWN:
        lines.append(f"  ... and {len(left_out) - SHOWN} more; --json writes them all")
    mended: Counter[str] = Counter()
    for made in results:
        mended.update(made.mended)
    if mended:
        lines.append(fault_table({kind: mended[kind.value] for kind in FaultKind if mended[kind.value]}))
    return "\n".join(lines)


def target_paths(files: SceneFiles) -> Paths:
    """Where the download has a pair's (localization, damage) targets."""
    folder = files.root / files.split / "targets"
    return folder / f"{files.name}_pre{TARGET_SUFFIX}", folder / f"{files.name}_post{TARGET_SUFFIX}"


def paint_pair(files: SceneFiles) -> tuple[tuple[np.ndarray, np.ndarray] | None, list[Fault]]:
    """Both target images of a pair, uint8 (height, width), and its faults.

    None where a fault leaves the pair out; that fault is then the only one.
    """
    scene, faults = read_scene(files)
    if scene is None:
        return None, [dropping_fault(faults)]
    return scene_targets(scene.buildings, (scene.height, scene.width)), faults


def for_each(
    function: Callable[[Item], Result], items: list[Item], workers: int | None, description: str
) -> Iterator[Result]:
    """Results in order, with progress; one process for each 50 pairs by default, at most one a CPU."""
    count = worker_count(workers, len(items), _PAIRS_PER_WORKER)
    return progress(ordered_map(function, items, count), len(items), description, "pair")


def _make(wanted: _Wanted, overwrite: bool) -> _Made:
    """Labels are read only where a target must be painted."""
    files, paths = wanted
    missing = [index for index, path in enumerate(paths) if overwrite or not path.exists()]
    sources = target_paths(files)
    copied = [index for index in missing if sources[index] != paths[index] and sources[index].exists()]
    for index in copied:
        write_bytes(paths[index], read_bytes(sources[index]))
    painted = [index for index in missing if index not in copied]
    images, faults = paint_pair(files) if painted else (None, [])
    if images is not None:
        for index in painted:
            write_bytes(paths[index], encode_class_png(images[index]))
    fault = faults[0] if painted and images is None else None
    return _Made(
        len(painted) if images is not None else 0,
        len(copied),
        len(paths) - len(missing),
        fault,
        count_faults(faults) if fault is None else {},
    )


def _numbered(scenes: list[SceneFiles], folder: Path) -> list[_Wanted]:
    """Gives every pair the name of its number; the table is written first, and guards what is taken up."""
    numbering = number_scenes(
        (files.name for files in scenes), "hold" if scenes[0].split == "hold" else "test"
    )
    if (folder / NUMBERING_FILE).exists():
        if read_numbering(folder) != numbering:
            raise InputError(
                f"{folder / NUMBERING_FILE}: expected the numbers of {scenes[0].split}, found those of other "
                "tiles; name another folder with --scorer-names"
            )
    else:
        write_numbering(folder, numbering)
    wanted = []
    for files in scenes:
        prefix, _, number = numbering[files.name].rpartition("_")
        names = [f"{prefix}_{kind}_{number}_target.png" for kind in (LOCALIZATION, DAMAGE)]
        wanted.append(_Wanted(files, (folder / names[0], folder / names[1])))
    return wanted
