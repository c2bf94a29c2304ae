"""The file that keeps a split: which tile stands in which part, and how it was made.

It is written before the COCO files, so that a run that was broken off finds its own split when it is started
again, and a run with other settings is refused before it changes anything.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_json, write_json

FORMAT = "skyeye-split"
VERSION = 1

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_SHOWN = 3


@dataclass(frozen=True)
class Split:
    """A division of tiles into parts.

    Attributes:
        name: what the parts' COCO files are called by: part ``val`` of ``random`` is ``xbd_random-val.json``.
        folders: of the xBD root, whose tiles are divided.
        made: how: ``split_by``, ``seed``, ``fractions`` and so on; for people, and to tell two splits apart.
        parts: part -> sorted ``<folder>/<scene>``.
        folds: event that is left out -> parts to test on, the others being trained on; empty for a split
            that has no folds.
        counts: part -> what it holds; not read back.
    """

    name: str
    folders: tuple[str, ...]
    made: Mapping[str, Any]
    parts: Mapping[str, tuple[str, ...]]
    folds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict, compare=False)

    def coco_name(self, part: str) -> str:
        """Name of a part as a data set's split: the COCO file is ``xbd_<this>.json``."""
        return f"{self.name}-{part}"


def check_name(name: Any, place: str) -> str:
    """A name that a file and a data set can bear: letters, digits and ``-``, at most 100.

    The underscore separates folder and split in the name of a data set.

    Raises:
        InputError: the name cannot be used.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{place}: expected a name of letters, digits and '-', found {shown(name)}")
    return name


def split_file_path(output: Path, name: str) -> Path:
    """Where the split called ``name`` is kept, beside its COCO files."""
    return output / f"split_{name}.json"


def write_split(path: Path, split: Split) -> None:
    """Writes the split; the same split is written again, another one is not overwritten.

    Raises:
        InputError: another split is there already, a COCO file of a part is there without the split, or the
            file cannot be written.
    """
    if os.path.lexists(path):
        try:
            same = read_split(path) == split
        except InputError:
            same = False
        if not same:
            raise InputError(
                f"{path}: holds another split (other seed, fractions, folders or data); give the new one "
                "another name with --name, convert the old one with --split-file, or remove the file"
            )
    else:
        for part in split.parts:
            coco = path.parent / f"xbd_{split.coco_name(part)}.json"
            if os.path.lexists(coco):
                raise InputError(
                    f"{coco}: is there already, without {path.name}, so another conversion wrote it; choose "
                    "another name with --name, or remove it"
                )
    write_json(
        path,
        {
            "format": FORMAT,
            "version": VERSION,
            "name": split.name,
            "made": dict(split.made),
            "folders": split.folders,
            "counts": split.counts,
            "folds": split.folds,
            "parts": split.parts,
        },
        pretty=True,
    )


def read_split(path: str | os.PathLike[str]) -> Split:
    """Reads a split file, every value checked: it may come from a stranger.

    Raises:
        InputError: no such file, or one that is not as ``write_split`` writes it; a tile in two parts.
    """
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _fault(
            path, "format", repr(FORMAT), content.get("format") if isinstance(content, dict) else content
        )
    if type(content.get("version")) is not int or content["version"] != VERSION:
        raise _fault(path, "version", str(VERSION), content.get("version"))
    name = check_name(content.get("name"), f"{path}: name")
    folders = _strings(path, "folders", content.get("folders"))
    for folder in folders:
        if "/" in folder or "\\" in folder or "\0" in folder or folder in (".", ".."):
            raise _fault(path, "folders", "names of folders below the xBD root", folder)
    made = content.get("made")
    if not isinstance(made, dict):
        raise _fault(path, "made", "an object", made)
    parts = _mapping(path, "parts", content.get("parts"))
    if not parts:
        raise _fault(path, "parts", "one part or more", parts)
    folds = _mapping(path, "folds", content.get("folds", {}), known=set(parts))
    _check_once(path, parts, folders)
    return Split(name, folders, made, parts, folds)


def check_tiles(path: str | os.PathLike[str], split: Split, found: Mapping[str, SceneFiles]) -> None:
    """Holds a split against the tiles that its folders hold.

    Raises:
        InputError: a tile of the split is missing, or a tile of the folders is in no part.
    """
    dealt = {key for keys in split.parts.values() for key in keys}
    for others, what, mend in (
        (dealt - set(found), "tiles of the split are missing", "add their images and labels"),
        (set(found) - dealt, "tiles of its folders are in no part", "move them away, or make a new split"),
    ):
        if others:
            named = ", ".join(sorted(others)[:_SHOWN])
            more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
            raise InputError(f"{path}: {len(others)} {what}, {named}{more}; {mend}")


def _fault(path: str | os.PathLike[str], place: str, expected: str, found: Any) -> InputError:
    return InputError(
        f"{path}: {place}: expected {expected}, found {shown(found)}; make the file with "
        "python tools/convert_xbd_to_coco.py --split-by"
    )


def _strings(path: str | os.PathLike[str], place: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not values:
        raise _fault(path, place, "a list of one or more", values)
    for value in values:
        if not isinstance(value, str) or not value:
            raise _fault(path, place, "texts", value)
    if len(set(values)) < len(values):
        twice = Counter(values).most_common(1)[0][0]
        raise _fault(path, place, "each once", f"{twice} twice")
    return tuple(values)


def _mapping(
    path: str | os.PathLike[str], place: str, content: Any, known: set[str] | None = None
) -> dict[str, tuple[str, ...]]:
    """Lists of texts by name, in the order of the file; they are among ``known`` where it is given."""
    if not isinstance(content, dict):
        raise _fault(path, place, "an object", content)
    found = {}
    for name, values in content.items():
        check_name(name, f"{path}: {place}")
        found[name] = _strings(path, f"{place}.{name}", values)
        if known is not None and (unknown := set(found[name]) - known):
            raise _fault(path, f"{place}.{name}", "names of parts", min(unknown))
        if known is not None and known == set(found[name]):
            raise _fault(path, f"{place}.{name}", "a part to train on beside these", found[name])
    return found


def _check_once(
    path: str | os.PathLike[str], parts: Mapping[str, Sequence[str]], folders: Sequence[str]
) -> None:
    places: dict[str, str] = {}
    for part, keys in parts.items():
        for key in keys:
            folder, slash, scene = key.partition("/")
            if not slash or not scene or folder not in folders:
                raise _fault(path, f"parts.{part}", "<folder>/<scene> with one of its folders", key)
            if (first := places.setdefault(scene, part)) != part:
                raise InputError(
                    f"{path}: tile {shown(key)}: expected in one part, found in {first} and {part}; "
                    "leave it in one of them"
                )
