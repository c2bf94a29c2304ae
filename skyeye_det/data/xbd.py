"""xBD scenes: pairs of images and labels on disk, read into plain frozen values.

The pre label gives the buildings and their order, the post label their damage and their outlines on the post
image; both are joined by ``uid``. Every fault is handled by the rule of its ``FaultKind`` and reported.
Neither torch nor detectron2 is needed.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyeye_det.damage import DAMAGE_BY_SUBTYPE, IGNORE_DAMAGE
from skyeye_det.data.image_size import IMAGE_SUFFIXES, image_size
from skyeye_det.data.label_file import LabelFile, read_label
from skyeye_det.data.targets import Parts, building_mask
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError

_STEM = re.compile(r"(?P<scene>.+)_(?P<time>pre|post)_disaster")
# px; xBD itself draws outlines that end on the border, 0 to 1024, give or take a rounding.
_SLACK = 1.0


@dataclass(frozen=True)
class Building:
    """One building of a scene.

    Attributes:
        uid: joins the pre and post label.
        parts: polygons on the pre image, each (exterior, hole, ...) of float64 (n, 2) rings of (x, y) in px,
            closed without repeating the first vertex.
        damage: 0..3, or -1 for un-classified.
        post_parts: the same on the post image; empty where the post label has no usable outline.
    """

    uid: str
    parts: Parts
    damage: int
    post_parts: Parts = ()


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


@dataclass(frozen=True)
class Scene:
    """A pair and its buildings.

    Attributes:
        name: file name without ``_pre_disaster``, such as ``"palu-tsunami_00000012"``.
        split: folder below the root.
        disaster: event, such as ``"palu-tsunami"``.
        disaster_type: such as ``"tsunami"``; ``"unknown"`` where the label does not say.
        gsd: metres a pixel, or ``None``.
        width: px, of the images.
        height: px, of the images.
        buildings: in the order of the pre label.
    """

    name: str
    split: str
    disaster: str
    disaster_type: str
    gsd: float | None
    width: int
    height: int
    pre_image: Path
    post_image: Path
    pre_label: Path
    post_label: Path
    buildings: tuple[Building, ...]


def find_scenes(root: str | os.PathLike[str], split: str) -> tuple[list[SceneFiles], list[Fault]]:
    """Lists the pairs of a split by the names of their files.

    Args:
        root: xBD root, with ``<split>/images`` and ``<split>/labels``.
        split: folder name, such as ``"train"``.

    Returns:
        Complete pairs sorted by scene, and a fault for each incomplete one.

    Raises:
        InputError: no such root or split, or no complete pair in it.
    """
    root = Path(root)
    if not split or Path(split).name != split:
        raise InputError(f"--splits {split!r}: expected the name of a folder below {root}, such as train")
    images = _by_stem(root / split / "images", IMAGE_SUFFIXES)
    labels = _by_stem(root / split / "labels", (".json",))
    names = sorted({match["scene"] for stem in images | labels if (match := _STEM.fullmatch(stem))})
    complete: list[SceneFiles] = []
    faults: list[Fault] = []
    for name in names:
        stems = f"{name}_pre_disaster", f"{name}_post_disaster"
        paths = [folder.get(stem) for folder in (images, labels) for stem in stems]
        pre_image, post_image, pre_label, post_label = paths
        if pre_image and post_image and pre_label and post_label:
            complete.append(SceneFiles(root, split, name, pre_image, post_image, pre_label, post_label))
        else:
            faults += _missing_files(split, name, paths)
    if not complete:
        raise InputError(
            f"{root / split}: expected images/<scene>_pre_disaster.png and _post_disaster.png with labels/ "
            f"of the same names, found no complete pair among {len(names)} scenes; see datasets/README.md"
        )
    return complete, faults


def read_scene(files: SceneFiles) -> tuple[Scene | None, list[Fault]]:
    """Reads a pair's labels and the sizes of its images.

    Args:
        files: of ``find_scenes``.

    Returns:
        The scene, or ``None`` where the pair is left out, and its faults: of the pair, then in file order.
    """
    faults: list[Fault] = []
    pre, post = (_label(path, files, faults) for path in (files.pre_label, files.post_label))
    size = _common_size(files, pre, post, faults)
    if pre is None or post is None or size is None:
        return None, faults
    buildings = _join(files, pre, post, faults)
    buildings = _on_image(files, buildings, size, faults)
    metadata = pre.metadata
    scene = Scene(
        name=files.name,
        split=files.split,
        disaster=_text(metadata.get("disaster"), files.name.rpartition("_")[0] or files.name),
        disaster_type=_text(metadata.get("disaster_type"), "unknown"),
        gsd=_positive(metadata.get("gsd")),
        width=size[0],
        height=size[1],
        pre_image=files.pre_image,
        post_image=files.post_image,
        pre_label=files.pre_label,
        post_label=files.post_label,
        buildings=tuple(buildings),
    )
    return scene, faults


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Files of a folder by stem; of several suffixes the first in ``suffixes``."""
    try:
        paths = [Path(entry.path) for entry in os.scandir(folder) if entry.is_file()]
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder of an xBD split, found none ({error.strerror}); see "
            "datasets/README.md for the layout, and name the root with --xbd-root"
        ) from error
    known = [path for path in paths if path.suffix.lower() in suffixes and not path.name.startswith(".")]
    known.sort(key=lambda path: (suffixes.index(path.suffix.lower()), path.name), reverse=True)
    return {path.stem: path for path in known}


def _missing_files(split: str, name: str, paths: list[Path | None]) -> list[Fault]:
    wanted = [
        f"{split}/{kind}/{name}_{time}_disaster" for kind in ("images", "labels") for time in ("pre", "post")
    ]
    missing = [stem for stem, path in zip(wanted, paths, strict=True) if path is None]
    return [Fault(FaultKind.INCOMPLETE_PAIR, name, missing[0], None, "no " + ", no ".join(missing))]


def _relative(files: SceneFiles, path: Path) -> str:
    return path.relative_to(files.root).as_posix()


def _label(path: Path, files: SceneFiles, faults: list[Fault]) -> LabelFile | None:
    try:
        label, found = read_label(path)
    except InputError as error:
        text = "none: " + str(error).removeprefix(f"{path}: ")
        faults.append(Fault(FaultKind.UNREADABLE_LABEL, files.name, _relative(files, path), None, text))
        return None
    faults += [Fault(kind, files.name, _relative(files, path), uid, text) for kind, uid, text in found]
    return label


def _common_size(
    files: SceneFiles, pre: LabelFile | None, post: LabelFile | None, faults: list[Fault]
) -> tuple[int, int] | None:
    """Size of the pair; a label drawn for another size of image fits as little as another image."""
    size = image_size(files.pre_image)
    for path, found in ((files.pre_image, size), (files.post_image, image_size(files.post_image))):
        if found is None:
            text = "a file that is none, or cut off"
            faults.append(Fault(FaultKind.UNREADABLE_IMAGE, files.name, _relative(files, path), None, text))
            return None
        if found != size:
            text = (
                f"{found[0]} x {found[1]} px beside a pre image of {size[0]} x {size[1]} px" if size else ""
            )
            faults.append(Fault(FaultKind.SIZES_DIFFER, files.name, _relative(files, path), None, text))
            return None
    for path, label in ((files.pre_label, pre), (files.post_label, post)):
        if size and label and label.size not in (None, size):
            text = f"width and height {label.size} in the label of an image of {size[0]} x {size[1]} px"
            faults.append(Fault(FaultKind.SIZES_DIFFER, files.name, _relative(files, path), None, text))
            return None
    return size


def _join(files: SceneFiles, pre: LabelFile, post: LabelFile, faults: list[Fault]) -> list[Building]:
    pre_file, post_file = _relative(files, files.pre_label), _relative(files, files.post_label)
    buildings = []
    for uid, feature in pre.features.items():
        twin = post.features.get(uid)
        if twin is None:
            faults.append(
                Fault(FaultKind.ONLY_IN_PRE, files.name, pre_file, uid, "it in the pre label alone")
            )
        damage, kind = _damage(twin.subtype) if twin else (IGNORE_DAMAGE, None)
        if twin and kind:
            found = "none" if kind is FaultKind.MISSING_SUBTYPE else repr(twin.subtype)
            faults.append(Fault(kind, files.name, post_file, uid, found))
        if feature.parts:
            buildings.append(Building(uid, feature.parts, damage, twin.parts if twin else ()))
    faults += [
        Fault(FaultKind.ONLY_IN_POST, files.name, post_file, uid, "it in the post label alone")
        for uid in post.features
        if uid not in pre.features
    ]
    return buildings


def _damage(subtype: Any) -> tuple[int, FaultKind | None]:
    if subtype is None:
        return IGNORE_DAMAGE, FaultKind.MISSING_SUBTYPE
    if isinstance(subtype, str) and subtype in DAMAGE_BY_SUBTYPE:
        return DAMAGE_BY_SUBTYPE[subtype], None
    return IGNORE_DAMAGE, FaultKind.UNKNOWN_SUBTYPE


def _on_image(
    files: SceneFiles, buildings: list[Building], size: tuple[int, int], faults: list[Fault]
) -> list[Building]:
    """Leaves out buildings that fill no pixel, and notes those that reach beyond the image."""
    kept = []
    width, height = size
    for building in buildings:
        exteriors = [polygon[0] for polygon in building.parts]
        low = min(float(ring.min()) for ring in exteriors)
        right, bottom = (max(float(ring[:, axis].max()) for ring in exteriors) for axis in (0, 1))
        kind = None
        if low < -_SLACK or right > width + _SLACK or bottom > height + _SLACK:
            kind = FaultKind.BEYOND_IMAGE
        if (low < 0 or right > width - 1 or bottom > height - 1) and not building_mask(
            building.parts, (height, width)
        )[0].size:
            kind = FaultKind.OUTSIDE_IMAGE
        if kind:
            text = f"coordinates from {low:.1f} to ({right:.1f}, {bottom:.1f}) on {width} x {height} px"
            file = _relative(files, files.pre_label)
            faults.append(Fault(kind, files.name, file, building.uid, text))
        if kind is not FaultKind.OUTSIDE_IMAGE:
            kept.append(building)
    return kept


def _text(value: Any, default: str) -> str:
    return value if isinstance(value, str) and value else default


def _positive(value: Any) -> float | None:
    valid = (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    )
    return float(value) if valid else None
