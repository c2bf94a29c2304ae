"""xBD scenes: pairs of images and labels on disk, read into plain frozen values.

The pre label gives the buildings and their order, the post label their damage and their outlines on the post
image; both are joined by ``uid``. Every fault is handled by the rule of its ``FaultKind`` and reported.
Neither torch nor detectron2 is needed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from skyeye_det.damage import DAMAGE_BY_SUBTYPE
from skyeye_det.data.image_reading import image_size, size_fault
from skyeye_det.data.label_file import LabelFile, damage_of, is_scale, label_pair_faults, read_label
from skyeye_det.data.outlines import border_faults
from skyeye_det.data.pairs import scene_event
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.targets import Parts
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError, shown


class Building(NamedTuple):
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


def read_scene(files: SceneFiles) -> tuple[Scene | None, list[Fault]]:
    """Reads a pair's labels and the sizes of its images.

    Args:
        files: of ``find_scenes``.

    Returns:
        The scene, or ``None`` where the pair is left out, and its faults: of the pair, then in file order.
    """
    faults: list[Fault] = []
    pre = _label(files, files.pre_label, faults)
    post = _label(files, files.post_label, faults)
    size = _common_size(files, pre, post, faults)
    if pre is None or post is None:
        return None, faults
    odd = label_pair_faults(files, pre, post)
    faults += odd
    if size is None or any(fault.kind is FaultKind.SWAPPED_LABELS for fault in odd):
        return None, faults
    buildings = _on_image(files, _join(files, pre, post, faults), size, faults)
    disaster, kind = pre.metadata.get("disaster"), pre.metadata.get("disaster_type")
    gsd: Any = pre.metadata.get("gsd")
    scene = Scene(
        name=files.name,
        split=files.split,
        disaster=disaster if isinstance(disaster, str) and disaster else scene_event(files.name),
        disaster_type=kind if isinstance(kind, str) and kind else "unknown",
        gsd=float(gsd) if is_scale(gsd) else None,
        width=size[0],
        height=size[1],
        pre_image=files.pre_image,
        post_image=files.post_image,
        pre_label=files.pre_label,
        post_label=files.post_label,
        buildings=tuple(buildings),
    )
    return scene, faults


def _label(files: SceneFiles, path: Path, faults: list[Fault]) -> LabelFile | None:
    try:
        label, found = read_label(path)
    except InputError as error:
        text = "none: " + str(error).removeprefix(f"{path}: ")
        faults.append(files.fault(FaultKind.UNREADABLE_LABEL, path, text))
        return None
    faults += [files.fault(kind, path, text, uid) for kind, uid, text in found]
    return label


def _common_size(
    files: SceneFiles, pre: LabelFile | None, post: LabelFile | None, faults: list[Fault]
) -> tuple[int, int] | None:
    """Size of the pair; a label drawn for another size of image fits as little as another image."""
    size = _image_size(files, files.pre_image, faults)
    post_size = _image_size(files, files.post_image, faults) if size else None
    if size is None or post_size is None:
        return None
    of_labels = [(files.pre_label, pre), (files.post_label, post)]
    sizes = [(path, label.size) for path, label in of_labels if label and label.size]
    for path, (width, height) in ((files.post_image, post_size), *sizes):
        if (width, height) != size:
            text = f"{width} x {height} px beside a pre image of {size[0]} x {size[1]} px"
            faults.append(files.fault(FaultKind.SIZES_DIFFER, path, text))
            return None
    return size


def _image_size(files: SceneFiles, path: Path, faults: list[Fault]) -> tuple[int, int] | None:
    """Size of an image; None, and a fault, where it cannot be read."""
    size = image_size(path)
    if fault := size_fault(size):
        faults.append(files.fault(fault[0], path, fault[1]))
        return None
    return size


def _join(files: SceneFiles, pre: LabelFile, post: LabelFile, faults: list[Fault]) -> list[Building]:
    buildings = []
    for uid, parts in pre.outlines.items():
        subtype = post.subtypes.get(uid)
        if not isinstance(subtype, str) or subtype not in DAMAGE_BY_SUBTYPE:
            faults.append(_ungraded(files, uid, subtype, uid in post.subtypes))
        if parts:
            buildings.append(Building(uid, parts, damage_of(subtype), post.outlines.get(uid, ())))
    faults += [
        files.fault(FaultKind.ONLY_IN_POST, files.post_label, "it in the post label alone", uid)
        for uid in post.outlines
        if uid not in pre.outlines
    ]
    return buildings


def _ungraded(files: SceneFiles, uid: str, subtype: Any, is_in_post: bool) -> Fault:
    """Why a building has no damage grade."""
    if not is_in_post:
        return files.fault(FaultKind.ONLY_IN_PRE, files.pre_label, "it in the pre label alone", uid)
    kind = FaultKind.MISSING_SUBTYPE if subtype is None else FaultKind.UNKNOWN_SUBTYPE
    found = "none" if subtype is None else shown(subtype)
    return files.fault(kind, files.post_label, found, uid)


def _on_image(
    files: SceneFiles, buildings: list[Building], size: tuple[int, int], faults: list[Fault]
) -> list[Building]:
    """Leaves out buildings that fill no pixel, and notes those that reach beyond the image."""
    found = border_faults([building.parts for building in buildings], size)
    for index, (kind, text) in found.items():
        faults.append(files.fault(kind, files.pre_label, text, buildings[index].uid))
    lost = {index for index, (kind, _) in found.items() if kind is FaultKind.OUTSIDE_IMAGE}
    return [building for index, building in enumerate(buildings) if index not in lost]
