"""The files of an xBD root: its splits, what lies in their folders, and the complete pairs among it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from skyeye_det.data.image_reading import IMAGE_SUFFIXES
from skyeye_det.data.pairs import TARGET_ENDING, TIMES, scene_and_target, scene_and_time
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError

IMAGES, LABELS, TARGETS = "images", "labels", "targets"
_SUFFIXES = {IMAGES: IMAGE_SUFFIXES, LABELS: (".json",), TARGETS: (".png",)}
_SEEN_BY_CONVERSION = FaultKind.BAD_NAME, FaultKind.LINK_OUT_OF_ROOT


@dataclass(frozen=True)
class SceneFiles:
    """The four files of a complete pair, and the root they are named from."""

    root: Path
    split: str
    name: str
    pre_image: Path
    post_image: Path
    pre_label: Path
    post_label: Path

    @property
    def paths(self) -> tuple[Path, Path, Path, Path]:
        """All four."""
        return self.pre_image, self.post_image, self.pre_label, self.post_label

    def place(self, path: Path) -> str:
        """A file of the scene as faults name it: relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def fault(self, kind: FaultKind, path: Path, found: str, uid: str | None = None) -> Fault:
        """A fault in a file of the scene."""
        return Fault(kind, self.name, self.place(path), uid, found)


@dataclass
class SplitFiles:
    """The files of a split by what they are.

    Attributes:
        root: xBD root.
        split: folder below it.
        times: folder name -> scene -> time -> file name; of several suffixes the first of ``IMAGE_SUFFIXES``.
        faults: found while listing: stray files, bad names, links that lead out of the root.
    """

    root: Path
    split: str
    times: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def targets(self, scene: str) -> tuple[Path | None, Path | None]:
        """(pre, post) target image of a scene."""
        found = self.times[TARGETS].get(scene, {})
        folder = self.root / self.split / TARGETS
        pre, post = (folder / found[time] if time in found else None for time in TIMES)
        return pre, post

    def incomplete_pairs(self) -> list[Fault]:
        """A fault for each scene that lacks an image or a label."""
        faults = []
        for scene in sorted(self.times[IMAGES].keys() | self.times[LABELS].keys()):
            missing = [
                f"{self.split}/{kind}/{scene}_{time}_disaster"
                for kind in (IMAGES, LABELS)
                for time in TIMES
                if time not in self.times[kind].get(scene, {})
            ]
            if missing:
                found = "no " + ", no ".join(missing)
                faults.append(Fault(FaultKind.INCOMPLETE_PAIR, scene, missing[0], None, found))
        return faults

    def target_faults(self, scenes: set[str]) -> list[Fault]:
        """Faults of the target files as such, their names alone being read.

        Args:
            scenes: names of the complete pairs.
        """
        targets, faults = self.times[TARGETS], []
        for scene, times in targets.items():
            for time, name in times.items():
                file = f"{self.split}/{TARGETS}/{name}"
                if scene not in scenes:
                    found = "a target of no complete pair"
                    faults.append(Fault(FaultKind.STRAY_FILE, scene, file, None, found))
                elif len(times) == 1:
                    faults.append(Fault(FaultKind.LONE_TARGET, scene, file, None, f"the {time} target alone"))
        without = len(scenes - targets.keys())
        if targets and without:
            found = f"{without} of {len(scenes)} scenes without any"
            faults.append(Fault(FaultKind.MISSING_TARGETS, "", f"{self.split}/{TARGETS}", None, found))
        return faults


def list_split(root: Path, split: str, kinds: tuple[str, ...] = (IMAGES, LABELS, TARGETS)) -> SplitFiles:
    """Lists folders of a split of an xBD root; no file is opened. ``InputError`` where it does not exist."""
    files = SplitFiles(root, split)
    if not split or Path(split).name != split or not (root / split).is_dir():
        raise InputError(
            f"--splits {split!r}: expected the name of a folder below {root} with images and labels, found "
            "none; see datasets/README.md"
        )
    _note_link(files, root / split, split)
    for kind in kinds:
        files.times[kind] = {}
        _note_link(files, root / split / kind, f"{split}/{kind}")
        for entry in _entries(root / split / kind, kind):
            _sort_in(files, kind, entry)
    return files


def list_splits(root: Path, kinds: tuple[str, ...] = (IMAGES, LABELS)) -> list[str]:
    """Folders of the root that hold one of ``kinds``; ``InputError`` where none does."""
    found = {path.parent.name for kind in kinds for path in root.glob(f"[!.]*/{kind}")}
    if not found:
        raise InputError(
            f"{root}: expected an xBD root with <split>/images and <split>/labels, found none; see "
            "datasets/README.md"
        )
    return sorted(found)


def _entries(folder: Path, kind: str) -> list["os.DirEntry[str]"]:
    """Entries so sorted that of several images of one stem the preferred one comes first."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return []

    def preference(entry: "os.DirEntry[str]") -> tuple[int, str]:
        suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - 66,000 of them
        return (_SUFFIXES[kind].index(suffix) if suffix in _SUFFIXES[kind] else 9, entry.name)

    return sorted(entries, key=preference)


def _sort_in(files: SplitFiles, kind: str, entry: "os.DirEntry[str]") -> None:
    file = f"{files.split}/{kind}/{entry.name}"
    if not os.path.isfile(entry.path):  # noqa: PTH113 - a link to itself is none, without an error
        note = "a folder" if Path(entry.path).is_dir() else "a link to nothing, or no plain file"
        files.faults.append(Fault(FaultKind.STRAY_FILE, "", file, None, note))
        return
    scene_time = _scene_and_time(kind, entry.name)
    if scene_time is None:
        if not (kind == TARGETS and scene_and_target(entry.name)):
            files.faults.append(Fault(FaultKind.STRAY_FILE, "", file, None, "a file of no scene"))
        return
    scene, time = scene_time
    if not scene.isprintable():
        files.faults.append(Fault(FaultKind.BAD_NAME, scene, file, None, ascii(entry.name)))
        return
    known = files.times[kind].setdefault(scene, {})
    if time in known:
        found = f"it beside {known[time]}, which is taken"
        files.faults.append(Fault(FaultKind.STRAY_FILE, scene, file, None, found))
        return
    known[time] = entry.name
    if entry.is_symlink():
        _note_link(files, Path(entry.path), file, scene)


def _scene_and_time(kind: str, name: str) -> tuple[str, str] | None:
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    if name.startswith(".") or suffix.lower() not in _SUFFIXES[kind]:
        return None
    if kind == TARGETS:
        stem = stem.removesuffix(TARGET_ENDING) if stem.endswith(TARGET_ENDING) else ""
    return scene_and_time(stem)


def _note_link(files: SplitFiles, path: Path, file: str, scene: str = "") -> None:
    """Notes a symbolic link that leads out of the root."""
    if path.is_symlink() and not Path(target := os.path.realpath(path)).is_relative_to(files.root.resolve()):
        files.faults.append(Fault(FaultKind.LINK_OUT_OF_ROOT, scene, file, None, f"a link to {target}"))


def doubled_scenes(splits: list[tuple[str, list[str]]]) -> Iterator[Fault]:
    """A fault for each scene that an earlier one of the splits, (name, scenes), has too."""
    first: dict[str, str] = {}
    for split, scenes in splits:
        for scene in scenes:
            if (other := first.setdefault(scene, split)) != split:
                file = f"{split}/{LABELS}/{scene}_pre_disaster.json"
                yield Fault(FaultKind.SCENE_IN_TWO_SPLITS, scene, file, None, f"it in {other} too")


def find_scenes(root: str | os.PathLike[str], split: str) -> tuple[list[SceneFiles], list[Fault]]:
    """Lists the pairs of a split by the names of their files.

    Args:
        root: xBD root, with ``<split>/images`` and ``<split>/labels``.
        split: folder name, such as ``"train"``.

    Returns:
        Complete pairs sorted by scene; a fault for each incomplete one, for each name that cannot be used and
        for each link that leads out of the root.

    Raises:
        InputError: no such root or split, or no complete pair in it.
    """
    root = Path(root)
    listed = list_split(root, split, (IMAGES, LABELS))
    complete = complete_pairs(listed)
    if not complete:
        scenes = listed.times[IMAGES].keys() | listed.times[LABELS].keys()
        raise InputError(
            f"{root / split}: expected images/<scene>_pre_disaster.png and _post_disaster.png with labels/ "
            f"of the same names, found no complete pair among {len(scenes)} scenes; see datasets/README.md"
        )
    noted = [fault for fault in listed.faults if fault.kind in _SEEN_BY_CONVERSION]
    return complete, listed.incomplete_pairs() + noted


def complete_pairs(listed: SplitFiles) -> list[SceneFiles]:
    """Scenes of a split that have both images and both labels, sorted by name."""
    found: list[SceneFiles] = []
    kinds = [(listed.root / listed.split / kind, listed.times[kind]) for kind in (IMAGES, LABELS)]
    for name in sorted(kinds[0][1].keys() & kinds[1][1].keys()):
        if all(len(scenes[name]) == len(TIMES) for _, scenes in kinds):
            paths = [folder / scenes[name][time] for folder, scenes in kinds for time in TIMES]
            found.append(SceneFiles(listed.root, listed.split, name, *paths))
    return found
