"""Finding pre/post image pairs in a folder: an xBD root, one split of it, or a flat folder of images."""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from skyeye_det.data.image_reading import IMAGE_SUFFIXES
from skyeye_det.errors import InputError

ANONYMOUS_EVENT = "anonymous"
"""Event of tiles that the competition numbers instead of naming."""

TIMES = "pre", "post"
"""Of the two images and labels of a scene, as their names tell it."""

_NAMED = re.compile(r"(?P<scene>.+)_(?P<time>pre|post)_disaster", re.DOTALL)
_NUMBERED = re.compile(r"(?P<prefix>test|hold)_(?P<time>pre|post)_(?P<number>\d{5})")
_NUMBERED_TARGET = re.compile(r"(?P<prefix>test|hold)_(?P<kind>localization|damage)_(?P<number>\d{5})")
_ANONYMOUS_SCENE = re.compile(r"(?P<prefix>test|hold)_(?P<number>\d{5})")
_EVENT = re.compile(r"(?P<event>.+)_\d{8}")
TARGET_ENDING = "_target"
"""Of the names of target images."""


@dataclass(frozen=True)
class ImagePair:
    """The two images of a scene.

    Attributes:
        name: the scene, ``<event>_<8 digits>``; ``test_00000`` for the competition's anonymous tiles.
        pre: image before the disaster.
        post: image after it.
        split: folder of the split where the layout has one.
    """

    name: str
    pre: Path
    post: Path
    split: str | None = None


def image_id(scene: str) -> int:
    """Number of a scene's image in every COCO file: a hash of its name, the same in whatever company.

    48 bits: among all 22,000 tiles of xBD the odds of two alike are one in a million.
    """
    return int.from_bytes(hashlib.blake2b(os.fsencode(scene), digest_size=6).digest(), "big")


def find_pairs(images: Path) -> tuple[list[ImagePair], dict[str, str]]:
    """Finds every pair under an xBD root (all its splits), a split folder or a flat folder.

    Names: ``<scene>_pre_disaster.*`` with ``<scene>_post_disaster.*``, and ``test_pre_00000.*`` with
    ``test_post_00000.*`` (``hold_`` likewise); png, jpg, jpeg, tif or tiff. Other files, target images among
    them, are passed over.

    Args:
        images: the folder.

    Returns:
        Pairs sorted by name; scene -> what is there and what is not, of those with one image.

    Raises:
        InputError: no such folder, no pairs, or a scene that is there twice.
    """
    images = Path(images)
    if not images.is_dir():
        raise InputError(f"{images}: expected a folder of images, found none; check the path")
    found: dict[str, dict[str, list[tuple[Path, str | None]]]] = defaultdict(lambda: {"pre": [], "post": []})
    for folder, split in split_folders(images, "images"):
        for scene, time, path in _preferred(folder):
            found[scene][time].append((path, split))
    if not found:
        raise InputError(
            f"{images}: found no image pairs; looked for *_pre_disaster and test_pre_00000"
            f" with their post images ({', '.join(IMAGE_SUFFIXES)}) here, in images/ and in */images/"
        )
    _refuse_doubles(images, found)
    pairs, halves = [], {}
    for scene, times in sorted(found.items()):
        if times["pre"] and times["post"]:
            ((pre, split),), ((post, _),) = times["pre"], times["post"]
            pairs.append(ImagePair(scene, pre, post, split))
        else:
            there, lacking = TIMES if times["pre"] else TIMES[::-1]
            halves[scene] = f"{times[there][0][0].name} without its {lacking}"
    return pairs, halves


def anonymous_id(scene: str) -> tuple[str, str] | None:
    """(prefix, digits) of an anonymous scene such as ``test_00000``; None for a scene that has a name."""
    match = _ANONYMOUS_SCENE.fullmatch(scene)
    return (match["prefix"], match["number"]) if match else None


def scene_and_time(stem: str) -> tuple[str, str] | None:
    """(scene, ``pre`` or ``post``) of a name without suffix, ``<scene>_pre_disaster``; None for any other."""
    match = _NAMED.fullmatch(stem)
    return (match["scene"], match["time"]) if match else None


def scene_and_target(name: str) -> tuple[str, str] | None:
    """(scene, ``localization`` or ``damage``) of a target's file name, by the download or by the scorer.

    ``<scene>_pre_disaster_target.png`` is localization, ``test_damage_00000_target.png`` damage; None for any
    other name and for hidden files.
    """
    stem = name.removesuffix(f"{TARGET_ENDING}.png")
    if stem == name or name.startswith("."):
        return None
    if match := _NUMBERED_TARGET.fullmatch(stem):
        return f"{match['prefix']}_{match['number']}", match["kind"]
    found = scene_and_time(stem)
    return (found[0], "localization" if found[1] == "pre" else "damage") if found else None


def scene_event(scene: str) -> str:
    """Event of a scene: its name without the trailing ``_<8 digits>``.

    Anonymous scenes are one group; a name without those digits is its own event.
    """
    if anonymous_id(scene) is not None:
        return ANONYMOUS_EVENT
    match = _EVENT.fullmatch(scene)
    return match["event"] if match else scene


def split_folders(root: Path, kind: str) -> Iterator[tuple[Path, str | None]]:
    """Folders of one kind (``images``, ``targets``) that a path can mean, with the split each belongs to.

    Args:
        root: a flat folder, a split folder or an xBD root.
        kind: name of the subfolder.

    Yields:
        ``root`` itself with no split (or, where it is called ``kind``, its parent's name), ``root/kind``,
        and every ``root/*/kind``.
    """
    whole = root.resolve()
    yield root, whole.parent.name if whole.name == kind else None
    if (root / kind).is_dir():
        yield root / kind, whole.name
    for folder in sorted(root.iterdir()):
        if (folder / kind).is_dir():
            yield folder / kind, folder.name


def _preferred(folder: Path) -> list[tuple[str, str, Path]]:
    """(scene, time, image); of files that differ only in suffix the first kind of ``IMAGE_SUFFIXES``."""
    by_rank = sorted(
        (IMAGE_SUFFIXES.index(path.suffix.lower()), path.name, image, path)
        for path in folder.iterdir()
        if (image := _scene_of_image(path)) is not None
    )
    kept = {path.stem: (*image, path) for _, _, image, path in reversed(by_rank)}
    return list(kept.values())


def _scene_of_image(path: Path) -> tuple[str, str] | None:
    """(scene, time) that a file's name tells, None for a file that is no image of a pair."""
    if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
        return None
    if match := _NUMBERED.fullmatch(path.stem):
        return f"{match['prefix']}_{match['number']}", match["time"]
    return scene_and_time(path.stem)


def _refuse_doubles(images: Path, found: dict[str, dict[str, list[tuple[Path, str | None]]]]) -> None:
    for scene, times in sorted(found.items()):
        for paths in times.values():
            if len(paths) > 1:
                first, second = sorted(path for path, _ in paths)[:2]
                raise InputError(
                    f"{images}: scene {scene} is there twice, as {first.relative_to(images)} and"
                    f" {second.relative_to(images)}; remove one, or name one split's folder"
                )
