"""What is true of every tile to score: from target PNGs under either naming, or straight from labels."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.data.pairs import scene_and_target, scene_event, split_folders
from skyeye_det.data.scene_files import LABELS, SceneFiles, find_scenes, list_splits
from skyeye_det.data.split_file import check_tiles, read_split
from skyeye_det.data.targets import Building, building_mask, parts_from_segmentation, scene_targets
from skyeye_det.data.validation import dropping_fault
from skyeye_det.data.xbd import read_scene
from skyeye_det.errors import InputError
from skyeye_det.prediction.masks import encode_crop
from skyeye_det.xview2.submission import read_class_png

Truth = tuple[tuple[np.ndarray, np.ndarray], tuple[Building, ...] | None]


@dataclass(frozen=True)
class TrueTile:
    """What is known to be true of one tile.

    Attributes:
        scene: its name, ``test_00000`` where it is anonymous.
        event: group that it is reported with.
        read: gives localization (above 0: building) and damage 0..4, uint8 (h, w), and the single buildings,
            None where the truth does not know them; raises InputError.
    """

    scene: str
    event: str
    read: Callable[[], Truth]


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


def _read_targets(localization: Path, damage: Path) -> Truth:
    image = read_class_png(localization)
    return (image, read_class_png(damage, image.shape)), None


def tiles_from_labels(xbd_root: Path, splits: Iterable[str] | None = None) -> list[TrueTile]:
    """Tiles of ``labelled_scenes`` whose true images follow from the labels by the official fill rule."""
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
    return TrueTile(files.name, scene_event(files.name), partial(_read_labels, files))


def _complete_scenes(root: Path, splits: Iterable[str]) -> dict[str, SceneFiles]:
    found: dict[str, SceneFiles] = {}
    for split in splits:
        scenes, faults = find_scenes(root, split)
        if lost := [fault for fault in faults if fault.kind.drops_pair]:
            raise InputError(f"{root}: {lost[0]}, and {len(lost)} in all; a score needs every tile")
        for files in scenes:
            if files.name in found:
                other = found[files.name].split
                raise InputError(
                    f"{root}: scene {files.name} is in {other} and {split}; name one with --splits"
                )
            found[files.name] = files
    return found


def _read_labels(files: SceneFiles) -> Truth:
    scene, faults = read_scene(files)
    if scene is None:
        raise InputError(f"{files.root}: {dropping_fault(faults)}; a score needs every tile")
    return scene_targets(scene.buildings, (scene.height, scene.width)), scene.buildings


@dataclass(frozen=True, eq=False)
class TrueBuildings:
    """Official masks of the buildings of a tile that fill a pixel.

    Attributes:
        crops: T bool or 0/1 arrays, each the box of a mask.
        corners: int64 (T, 2), first column and row of the crops, px.
        areas: int64 (T,), px.
        damage: int64 (T,), -1..3.
        shape: (h, w) of the tile, px.
    """

    crops: list[NDArray[np.uint8]]
    corners: NDArray[np.int64]
    areas: NDArray[np.int64]
    damage: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(cls, buildings: Iterable[Building], shape: tuple[int, int]) -> "TrueBuildings":
        """Masks of the pre outlines by the official fill rule."""
        drawn = [(*building_mask(building.parts, shape), building.damage) for building in buildings]
        drawn = [item for item in drawn if item[0].size]
        return cls(
            crops=[mask for mask, _, _ in drawn],
            corners=np.array([corner for _, corner, _ in drawn], np.int64).reshape(-1, 2),
            areas=np.array([np.count_nonzero(mask) for mask, _, _ in drawn], np.int64),
            damage=np.array([damage for _, _, damage in drawn], np.int64),
            shape=shape,
        )

    def run_lengths(self) -> list[dict[str, Any]]:
        """COCO run lengths of the masks."""
        return [
            encode_crop((x, y), crop, self.shape)
            for (x, y), crop in zip(self.corners.tolist(), self.crops, strict=True)
        ]


def annotated_buildings(tile: dict[str, Any]) -> tuple[Building, ...]:
    """The buildings of a dataset dict with ``annotations``."""
    return tuple(
        Building(a["uid"], parts_from_segmentation(a["segmentation"]), a["damage"])
        for a in tile["annotations"]
    )
