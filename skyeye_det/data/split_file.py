"""The file that keeps a split: which tile stands in which part, and how it was made.

It is written before the COCO files, so that a run that was broken off finds its own split when it is started
again, and a run with other settings is refused before it changes anything.
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.validation import read_as
from skyeye_det.errors import InputError, shown
from skyeye_det.files import write_bytes, write_json

_NAME = r"[A-Za-z0-9][A-Za-z0-9-]{0,99}"
_MEND = "make the file with python tools/convert_xbd_to_coco.py --split-by"
_SHOWN = 3


@dataclass(frozen=True)
class Split:
    """A division of tiles into parts.

    Attributes:
        made: how: ``split_by``, ``seed``, ``fractions`` and so on; for people, and to tell two splits apart.
        parts: part -> sorted ``<folder>/<scene>``.
        folds: event that is left out -> parts to test on, the others being trained on.
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


_Name = Annotated[str, Meta(pattern=rf"\A{_NAME}\Z")]
_Names = Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(min_length=1)]


class _SplitFile(Struct):
    """``Split`` as it is written."""

    format: Literal["skyeye-split"]
    version: Literal[1]
    name: _Name
    folders: _Names
    made: dict[str, Any]
    parts: Annotated[dict[_Name, _Names], Meta(min_length=1)]
    folds: dict[_Name, _Names] = {}
    counts: dict[str, Any] = {}


def check_name(name: Any, place: str) -> str:
    """A name that a file and a data set can bear: letters, digits and ``-``, at most 100.

    The underscore separates folder and split in the name of a data set.

    Raises:
        InputError: the name cannot be used.
    """
    if not isinstance(name, str) or not re.fullmatch(_NAME, name):
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
    write_json(path, {"format": "skyeye-split", "version": 1} | vars(split), pretty=True)


def read_split(path: str | os.PathLike[str]) -> Split:
    """Reads a split file, every value checked: it may come from a stranger.

    Raises:
        InputError: no such file, or one that is not as ``write_split`` writes it; a tile in two parts.
    """
    content, _ = read_as(path, _SplitFile, _MEND)
    for folder in content.folders:
        if "/" in folder or "\\" in folder or "\0" in folder or folder in (".", ".."):
            raise _fault(path, "folders", "names of folders below the xBD root", folder)
    for place, names in (
        ("folders", content.folders),
        *((f"parts.{part}", keys) for part, keys in content.parts.items()),
        *((f"folds.{event}", tests) for event, tests in content.folds.items()),
    ):
        if len(set(names)) < len(names):
            raise _fault(path, place, "each once", f"{Counter(names).most_common(1)[0][0]} twice")
    for event, tests in content.folds.items():
        if unknown := set(tests) - content.parts.keys():
            raise _fault(path, f"folds.{event}", "names of parts", min(unknown))
        if set(tests) == content.parts.keys():
            raise _fault(path, f"folds.{event}", "a part to train on beside these", tests)
    _check_once(path, content.parts, content.folders)
    return Split(content.name, content.folders, content.made, content.parts, content.folds)


def write_fold_commands(root: Path, output: Path, split: Split) -> Path | None:
    """One command a fold; none where the data sets cannot be found by their names."""
    place = Path(os.path.abspath(root))  # noqa: PTH100 - without following links, as the name is meant
    if not split.folds or Path(os.path.abspath(output)) != place / "annotations":  # noqa: PTH100
        return None
    lines = ["#!/bin/sh", "# Trains on all events but one and tests on that one; run in the repository."]
    for event, tests in split.folds.items():
        train = tuple(f"{place.name}_{split.coco_name(part)}" for part in split.parts if part not in tests)
        test = tuple(f"{place.name}_{split.coco_name(part)}" for part in tests)
        lines.append(
            f"DETECTRON2_DATASETS={shlex.quote(str(place.parent))} python tools/train_net.py --config-file "
            f"configs/xbd_mrcnn.yaml DATASETS.TRAIN {_quoted(train)} DATASETS.TEST {_quoted(test)} "
            f"OUTPUT_DIR output/without-{event}"
        )
    path = output / f"folds_{split.name}.sh"
    write_bytes(path, ("\n".join(lines) + "\n").encode())
    return path


def _quoted(names: tuple[str, ...]) -> str:
    """A tuple for the shell and then for Python; readable where the names allow it."""
    text = repr(names)
    return f'"{text}"' if re.fullmatch(r"[\w', ().-]*", text) else shlex.quote(text)


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
    return InputError(f"{path}: {place}: expected {expected}, found {shown(found)}; {_MEND}")


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
