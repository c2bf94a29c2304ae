"""The pairs of a split by the names of their files."""

import os
from dataclasses import dataclass
from pathlib import Path

from skyeye_det.data.pairs import TIMES
from skyeye_det.data.split_listing import IMAGES, LABELS, SplitFiles, list_split
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError

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
