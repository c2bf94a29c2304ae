"""The pairs of a split by the names of their files."""

import os
from dataclasses import dataclass
from pathlib import Path

from skyeye_det.data.split_listing import IMAGES, LABELS, list_split
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
    images, labels = listed.times[IMAGES], listed.times[LABELS]
    complete = []
    for name in sorted(images.keys() & labels.keys()):
        if len(images[name]) == len(labels[name]) == 2:
            paths = [
                root / split / kind / files[name][time]
                for kind, files in ((IMAGES, images), (LABELS, labels))
                for time in ("pre", "post")
            ]
            complete.append(SceneFiles(root, split, name, *paths))
    if not complete:
        raise InputError(
            f"{root / split}: expected images/<scene>_pre_disaster.png and _post_disaster.png with labels/ "
            f"of the same names, found no complete pair among {len(images.keys() | labels.keys())} scenes; "
            "see datasets/README.md"
        )
    noted = [fault for fault in listed.faults if fault.kind in _SEEN_BY_CONVERSION]
    return complete, listed.incomplete_pairs() + noted
