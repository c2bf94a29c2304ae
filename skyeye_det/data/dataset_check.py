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
from typing import NamedTuple

import numpy as np

from skyeye_det.data.image_faults import image_pair_faults
from skyeye_det.data.label_file import read_labels, uid_digests
from skyeye_det.data.scene_files import SceneFiles, complete_pairs
from skyeye_det.data.split_listing import SplitFiles, doubled_scenes, list_split, list_splits
from skyeye_det.data.target_faults import target_faults
from skyeye_det.data.validation import Fault, FaultKind, Severity
from skyeye_det.data.xbd import Scene, read_scenes
from skyeye_det.errors import InputError
from skyeye_det.progress import progress
from skyeye_det.workers import ordered_map, worker_count

_PAIRS_A_TASK = 8
_PAIRS_PER_WORKER = 50


@dataclass(frozen=True)
class DatasetCheck:
    """What the check of a root found.

    Attributes:
        root: the xBD root.
        splits: names of the splits that were looked at.
        pairs: number of complete pairs.
        buildings: number of buildings that the conversion would keep.
        decoded: the pixels of the images were looked at too.
        faults: all of them, by severity, kind, file and uid.
    """

    root: Path
    splits: tuple[str, ...]
    pairs: int
    buildings: int
    decoded: bool
    faults: tuple[Fault, ...]


class _PairCheck(NamedTuple):
    """Of one pair: faults, and 8 bytes for the uid of each building."""

    faults: list[Fault]
    uid_digests: np.ndarray


_Task = list[tuple[SceneFiles, tuple[Path | None, Path | None]]]


def check_dataset(
    root: str | os.PathLike[str],
    splits: Iterable[str] | None = None,
    workers: int | None = None,
    decode: bool = True,
) -> DatasetCheck:
    """Looks for every fault of an xBD root; changes nothing.

    No image is decoded whose header says that it is larger than ``LARGEST_IMAGE``. What stays in memory are
    the faults, and 8 bytes a building.

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
        with_targets = [(pair, files.targets(pair.name)) for pair in complete]
        tasks += [with_targets[at : at + _PAIRS_A_TASK] for at in range(0, len(complete), _PAIRS_A_TASK)]
    faults += doubled_scenes(
        [(files.split, [pair.name for pair in pairs if pair.split == files.split]) for files in listed]
    )
    digests: list[np.ndarray] = []
    for check in progress(_checked(tasks, workers, decode), len(pairs), "check", "pair"):
        faults += check.faults
        digests.append(check.uid_digests)
    faults += _doubled_uids(pairs, digests)
    return DatasetCheck(
        root=root,
        splits=tuple(files.split for files in listed),
        pairs=len(pairs),
        buildings=sum(map(len, digests)),
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


def _checked(tasks: list[_Task], workers: int | None, decode: bool) -> Iterator[_PairCheck]:
    count = worker_count(workers, sum(map(len, tasks)), _PAIRS_PER_WORKER)
    for checks in ordered_map(partial(_check_pairs, decode=decode), tasks, count, chunk=1):
        yield from checks


def _check_pairs(task: _Task, decode: bool) -> list[_PairCheck]:
    checks = []
    read = read_scenes([files for files, _ in task])
    for (files, targets), (scene, label_faults) in zip(task, read, strict=True):
        faults = label_faults + image_pair_faults(files, decode)
        if scene:
            faults += _form_faults(scene, files)
            faults += target_faults(scene, files.root, targets)
        uids = [building.uid for building in scene.buildings] if scene else []
        checks.append(_PairCheck(faults, uid_digests(uids)))
    return checks


def _form_faults(scene: Scene, files: SceneFiles) -> Iterator[Fault]:
    for building in scene.buildings:
        if len(building.parts) > 1:
            found = f"{len(building.parts)} parts"
            yield files.fault(FaultKind.SEVERAL_PARTS, files.pre_label, found, building.uid)
        if holes := sum(len(polygon) - 1 for polygon in building.parts):
            yield files.fault(FaultKind.HAS_HOLES, files.pre_label, f"{holes} of them", building.uid)


def _doubled_uids(pairs: Sequence[SceneFiles], digests: Sequence[np.ndarray]) -> Iterator[Fault]:
    """A fault for each two scenes of different names that share uids."""
    owner = np.repeat(np.arange(len(pairs)), [len(part) for part in digests])
    every = np.concatenate([np.zeros(0, np.uint64), *digests])
    order = np.argsort(every, kind="stable")
    same = np.flatnonzero(every[order][1:] == every[order][:-1])
    together = zip(owner[order][same].tolist(), owner[order][same + 1].tolist(), strict=True)
    for first, second in sorted(Counter(together)):
        one, other = pairs[first], pairs[second]
        if one.name == other.name:
            continue
        shared = _shared_uids(one, other)
        if shared:
            more = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
            found = f"it{more} in {one.place(one.pre_label)} too"
            yield other.fault(FaultKind.UID_IN_TWO_SCENES, other.pre_label, found, shared[0])


def _shared_uids(one: SceneFiles, other: SceneFiles) -> list[str]:
    first, second = (
        [] if isinstance(read, InputError) else list(read[0].outlines)
        for read in read_labels([one.pre_label, other.pre_label])
    )
    known = set(first)
    return [uid for uid in second if uid in known]
