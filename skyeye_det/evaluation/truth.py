"""The true images of every tile to score: from target PNGs under either naming, or straight from labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.pairs import scene_and_target, scene_event, split_folders
from skyeye_det.data.scene_files import LABELS, SceneFiles, find_scenes, list_splits
from skyeye_det.data.split_file import check_tiles, read_split
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.validation import dropping_fault
from skyeye_det.data.xbd import Building, read_scene
from skyeye_det.errors import InputError
from skyeye_det.xview2.png import read_class_png

Images = tuple[np.ndarray, np.ndarray]
"""localization and damage, uint8 (h, w)"""


@dataclass(frozen=True)
class TrueTile:
    """What is known to be true of one tile.

    Attributes:
        scene: its name, ``test_00000`` where it is anonymous.
        event: group that it is reported with.
        read: gives localization (above 0: building) and damage 0..4, uint8 (h, w); raises InputError.
        read_buildings: gives these and the single buildings; None where the truth does not know them.
    """

    scene: str
    event: str
    read: Callable[[], Images]
    read_buildings: Callable[[], tuple[Images, tuple[Building, ...]]] | None = None


def tiles_from_targets(targets: Path, splits: Iterable[str] | None = None) -> list[TrueTile]:
    """Finds target PNGs in a folder, in its ``targets/`` or in every ``*/targets/`` of an xBD root.

    Args:
        targets: folder of ``test_localization_00000_target.png`` with ``test_damage_00000_target.png``
            (``hold_`` likewise), or of the download's ``<scene>_pre_disaster_target.png`` with
            ``<scene>_post_disaster_target.png``.
        splits: names of the splits that count; None for all.

    Returns:
        Tiles sorted by scene; nothing but names has been read.

    Raises:
        InputError: no such folder, no targets, one of the two missing, or a scene that is there twice.
    """
    targets = Path(targets)
    if not targets.is_dir():
        raise InputError(f"{targets}: expected a folder of target PNGs, found none; check the path")
    chosen = None if splits is None else set(splits)
    found: dict[str, dict[str, Path]] = {}
    folders = list(split_folders(targets, "targets"))
    if chosen and (unknown := chosen - {split for _, split in folders}):
        raise InputError(
            f"{targets}: expected targets of the splits {', '.join(sorted(chosen))}, found none of "
            f"{', '.join(sorted(unknown))}; check --splits, or score from labels with --xbd-root"
        )
    for folder, split in folders:
        if chosen is None or split in chosen:
            _collect(folder, found)
    if not found:
        where = "" if chosen is None else f" of the splits {', '.join(sorted(chosen))}"
        raise InputError(
            f"{targets}: found no targets{where}; looked for test_localization_00000_target.png and"
            " *_pre_disaster_target.png here, in targets/ and in */targets/; tier3 comes without: score from"
            " labels with --xbd-root"
        )
    for kinds in found.values():
        for kind, other in (("localization", "damage"), ("damage", "localization")):
            if kind not in kinds:
                raise InputError(
                    f"{kinds[other]}: expected the {kind} target of this tile beside it, found none;"
                    " complete the targets, or score from labels with --xbd-root"
                )
    return [
        TrueTile(scene, scene_event(scene), partial(_read_targets, kinds["localization"], kinds["damage"]))
        for scene, kinds in sorted(found.items())
    ]


def _collect(folder: Path, found: dict[str, dict[str, Path]]) -> None:
    for path in sorted(folder.glob("*_target.png")):
        known = scene_and_target(path.name)
        if known is None:
            continue
        scene, kind = known
        if kind in found.setdefault(scene, {}):
            raise InputError(
                f"{path}: the same target is in {found[scene][kind].parent} too; name one split with --splits"
            )
        found[scene][kind] = path


def _read_targets(localization: Path, damage: Path) -> Images:
    images = read_class_png(localization), read_class_png(damage)
    if images[0].shape != images[1].shape:
        raise InputError(
            f"{damage}: expected the size of {localization.name}, {images[0].shape[1]} x {images[0].shape[0]}"
            f" px, found {images[1].shape[1]} x {images[1].shape[0]}"
        )
    for path, image in zip((localization, damage), images, strict=True):
        if (highest := int(image.max())) > NUM_DAMAGE_CLASSES:
            raise InputError(f"{path}: expected values 0..{NUM_DAMAGE_CLASSES}, found up to {highest}")
    return images


def tiles_from_labels(xbd_root: Path, splits: Iterable[str] | None = None) -> list[TrueTile]:
    """Tiles of an xBD root whose true images are painted from the labels by the official fill rule.

    Args:
        xbd_root: root with ``<split>/images`` and ``<split>/labels``.
        splits: names of the splits; None for every folder that has labels.

    Returns:
        Tiles sorted by scene; nothing but names has been read.

    Raises:
        InputError: no such root or split, an incomplete pair, or a scene in two splits.
    """
    return [tile_of(files) for files in labelled_scenes(xbd_root, splits)]


def labelled_scenes(
    xbd_root: Path, splits: Iterable[str] | None = None, split_file: Path | None = None
) -> list[SceneFiles]:
    """The complete pairs of an xBD root's splits, or of parts of a split that was made of them.

    Args:
        xbd_root: root with ``<split>/images`` and ``<split>/labels``.
        splits: folders, or with ``split_file`` parts of it; None for all.
        split_file: ``split_<name>.json`` as ``tools/convert_xbd_to_coco.py --split-by`` writes it.

    Returns:
        Pairs sorted by scene; nothing but names and the split file has been read.

    Raises:
        InputError: no such root, split or part, an incomplete pair, a scene in two splits, or a split file
            that does not fit the root.
    """
    root = Path(xbd_root)
    if split_file is None:
        folders = list_splits(root, (LABELS,)) if splits is None else tuple(dict.fromkeys(splits))
        return sorted(_complete_scenes(root, folders).values(), key=lambda files: files.name)
    split = read_split(split_file)
    chosen = tuple(split.parts if splits is None else dict.fromkeys(splits))
    if unknown := [part for part in chosen if part not in split.parts]:
        raise InputError(
            f"{split_file}: expected parts {', '.join(split.parts)}, found {', '.join(unknown)}; check "
            "--splits"
        )
    found = {f"{files.split}/{name}": files for name, files in _complete_scenes(root, split.folders).items()}
    check_tiles(split_file, split, found)
    keys = (key for part in chosen for key in split.parts[part])
    return sorted((found[key] for key in keys), key=lambda files: files.name)


def tile_of(files: SceneFiles) -> TrueTile:
    """The true tile of a labelled pair."""
    return TrueTile(
        files.name,
        scene_event(files.name),
        partial(_paint_targets, files),
        partial(_paint_with_buildings, files),
    )


def _complete_scenes(root: Path, splits: Iterable[str]) -> dict[str, SceneFiles]:
    found: dict[str, SceneFiles] = {}
    for split in splits:
        scenes, faults = find_scenes(root, split)
        if faults:
            raise InputError(f"{root}: {faults[0]}, and {len(faults)} in all; a score needs every tile")
        for files in scenes:
            if files.name in found:
                other = found[files.name].split
                raise InputError(
                    f"{root}: scene {files.name} is in {other} and {split}; name one with --splits"
                )
            found[files.name] = files
    return found


def _paint_targets(files: SceneFiles) -> Images:
    return _paint_with_buildings(files)[0]


def _paint_with_buildings(files: SceneFiles) -> tuple[Images, tuple[Building, ...]]:
    scene, faults = read_scene(files)
    if scene is None:
        raise InputError(f"{files.root}: {dropping_fault(faults)}; a score needs every tile")
    return scene_targets(scene.buildings, (scene.height, scene.width)), scene.buildings
