"""Every fault of an xBD root at once: files, images, labels, outlines, targets, and scenes among each other.

What a label's fault is, and what is done about it, is decided where the conversion reads it
(``skyeye_det.data.xbd``); here the images are decoded and the targets compared on top.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from skyeye_det.data.image_faults import image_pair_faults, target_faults
from skyeye_det.data.scene_files import (
    SceneFiles,
    SplitFiles,
    complete_pairs,
    doubled_scenes,
    list_split,
    list_splits,
)
from skyeye_det.data.validation import Fault, FaultKind, Severity, count_faults
from skyeye_det.data.xbd import Scene, read_scene
from skyeye_det.errors import printable
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned
from skyeye_det.workers import ordered_map, worker_count

FORMAT_VERSION = 1
"""Of the JSON; raised when a field changes its meaning."""

EXIT_CODES = {Severity.ERROR: 3, Severity.WARNING: 1, Severity.NOTE: 0}
"""Worst severity -> exit code; 0 without any fault, 2 stays for a command that cannot run."""

_PAIRS_PER_WORKER = 50


@dataclass(frozen=True)
class DatasetCheck:
    """What the check of a root found."""

    root: Path
    splits: tuple[str, ...]  # that were looked at
    pairs: int  # number of complete ones
    buildings: int  # number that the conversion would keep
    decoded: bool  # the pixels of the images were looked at too
    faults: tuple[Fault, ...]  # by severity, kind, file and uid


_Task = tuple[SceneFiles, tuple[Path | None, Path | None]]
"""(pair, its pre and post target image)"""


def check_dataset(
    root: str | os.PathLike[str],
    splits: Iterable[str] | None = None,
    workers: int | None = None,
    decode: bool = True,
) -> DatasetCheck:
    """Looks for every fault of an xBD root; changes nothing.

    No image is decoded whose header says that it is larger than ``LARGEST_IMAGE``. What stays in memory are
    the faults and the uids.

    Args:
        root: with ``<split>/images`` and ``<split>/labels``.
        splits: folders below it; by default all that hold images or labels.
        workers: processes; by default one for each 50 pairs, at most one a CPU. The result is the same for
            any number.
        decode: look at the pixels of images too; otherwise only at their headers.

    Raises:
        InputError: no such root or split.
    """
    root = Path(root)
    listed = [
        list_split(root, split) for split in dict.fromkeys(list_splits(root) if splits is None else splits)
    ]
    faults: list[Fault] = []
    pairs: list[SceneFiles] = []
    tasks: list[_Task] = []
    for files in listed:
        complete = complete_pairs(files)
        faults += _file_faults(files, complete)
        pairs += complete
        tasks += [(pair, files.targets(pair.name)) for pair in complete]
    faults += doubled_scenes(
        [(files.split, [pair.name for pair in pairs if pair.split == files.split]) for files in listed]
    )
    count = worker_count(workers, len(tasks), _PAIRS_PER_WORKER)
    checked = ordered_map(partial(_check_pair, decode=decode), tasks, count, chunk=8)
    uids: list[list[str]] = []
    for found, of_pair in progress(checked, len(pairs), "check", "pair"):
        faults += found
        uids.append(of_pair)
    faults += _doubled_uids(pairs, uids)
    return DatasetCheck(
        root=root,
        splits=tuple(files.split for files in listed),
        pairs=len(pairs),
        buildings=sum(map(len, uids)),
        decoded=decode,
        faults=tuple(sorted(set(faults), key=_order)),
    )


def _order(fault: Fault) -> tuple[int, int, str, str, str]:
    return *_RANKS[fault.kind], fault.file, fault.uid or "", fault.found


_SEVERITIES = list(Severity)
_RANKS = {kind: (_SEVERITIES.index(kind.severity), place) for place, kind in enumerate(FaultKind)}


def _file_faults(files: SplitFiles, pairs: Sequence[SceneFiles]) -> list[Fault]:
    """Faults of the files of a split, its complete pairs being known."""
    incomplete = files.incomplete_pairs()
    if not pairs and not incomplete:
        incomplete = [Fault(FaultKind.INCOMPLETE_PAIR, "", files.split, None, "no scene")]
    return files.faults + incomplete + files.target_faults({pair.name for pair in pairs})


def _check_pair(task: _Task, decode: bool) -> tuple[list[Fault], list[str]]:
    """Faults of a pair, and the uids of its buildings."""
    files, targets = task
    scene, faults = read_scene(files)
    faults += image_pair_faults(files, decode)
    if scene is None:
        return faults, []
    faults += [*_form_faults(scene, files), *target_faults(scene, files.root, targets)]
    return faults, [building.uid for building in scene.buildings]


def _form_faults(scene: Scene, files: SceneFiles) -> Iterator[Fault]:
    for building in scene.buildings:
        if len(building.parts) > 1:
            found = f"{len(building.parts)} parts"
            yield files.fault(FaultKind.SEVERAL_PARTS, files.pre_label, found, building.uid)
        if holes := sum(len(polygon) - 1 for polygon in building.parts):
            yield files.fault(FaultKind.HAS_HOLES, files.pre_label, f"{holes} of them", building.uid)


def _doubled_uids(pairs: Sequence[SceneFiles], uids: Sequence[Sequence[str]]) -> Iterator[Fault]:
    """A fault for each two scenes of different names that share uids."""
    owner: dict[str, int] = {}
    shared: dict[tuple[int, int], list[str]] = {}
    for second, of_pair in enumerate(uids):
        for uid in of_pair:
            if (first := owner.get(uid)) is not None and pairs[first].name != pairs[second].name:
                shared.setdefault((first, second), []).append(uid)
            owner[uid] = second
    for (first, second), both in shared.items():
        more = f" and {len(both) - 1} more" if len(both) > 1 else ""
        found = f"it{more} in {pairs[first].place(pairs[first].pre_label)} too"
        yield pairs[second].fault(FaultKind.UID_IN_TWO_SCENES, pairs[second].pre_label, found, both[0])


def exit_code(check: DatasetCheck) -> int:
    """Exit code for the worst of the faults: 0 none or notes, 1 warnings, 3 errors."""
    return max((EXIT_CODES[fault.kind.severity] for fault in check.faults), default=0)


def check_table(check: DatasetCheck, limit: int = 50) -> str:
    """Counts by kind with severity and rule, then the first ``limit`` faults by name."""
    numbers = {"pair": check.pairs, "building": check.buildings} | _severities(check)
    sums = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in numbers.items())
    lines = [f"{', '.join(map(printable, check.splits))}: {sums}"]
    if not check.decoded:
        lines.append("images: headers only, no pixel was decoded")
    counts = sorted(count_faults(check.faults).items(), key=lambda entry: -EXIT_CODES[entry[0].severity])
    rows = [("severity", "count", "kind", "rule")]
    rows += [(kind.severity.value, str(count), kind.value, kind.rule) for kind, count in counts]
    if counts:
        lines += ["", aligned(rows, "<><"), ""]
    lines += [f"{fault.kind.severity.value}: {fault}" for fault in check.faults[:limit]]
    if (more := len(check.faults) - limit) > 0:
        lines.append(f"... and {more} more; --json writes them all")
    return "\n".join(lines)


def check_json(check: DatasetCheck) -> dict[str, Any]:
    """The same with all faults, as plain values: the content of ``--json``."""
    return {
        "version": FORMAT_VERSION,
        "root": printable(str(check.root)),
        "splits": [printable(split) for split in check.splits],
        "images": "pixels" if check.decoded else "headers",
        "pairs": check.pairs,
        "buildings": check.buildings,
        "severities": _severities(check),
        "counts": {
            kind.value: {"count": count, "severity": kind.severity.value, "rule": kind.rule}
            for kind, count in count_faults(check.faults).items()
        },
        "exit_code": exit_code(check),
        "faults": [fault.as_json() for fault in check.faults],
    }


def _severities(check: DatasetCheck) -> dict[str, int]:
    counts = Counter(fault.kind.severity for fault in check.faults)
    return {severity.value: counts[severity] for severity in Severity}
