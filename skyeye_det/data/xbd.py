"""xBD scenes: pairs of images and labels on disk, read into plain frozen values.

The pre label gives the buildings and their order, the post label their damage and their outlines on the post
image; both are joined by ``uid``. Every fault is handled by the rule of its ``FaultKind`` and reported.
Neither torch nor detectron2 is needed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyeye_det.damage import DAMAGE_BY_SUBTYPE
from skyeye_det.data.image_reading import ImageError, image_size
from skyeye_det.data.label_file import LabelFile, damage_of, is_scale, label_pair_faults, read_label
from skyeye_det.data.outlines import border_faults
from skyeye_det.data.pairs import scene_event
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.data.targets import Building
from skyeye_det.data.validation import Fault, FaultKind
from skyeye_det.errors import InputError, shown


@dataclass(frozen=True)
class Scene:
    """A pair and its buildings, in the order of the pre label."""

    name: str  # file name without _pre_disaster, such as "palu-tsunami_00000012"
    split: str  # folder below the root
    disaster: str  # event, such as "palu-tsunami"
    disaster_type: str  # such as "tsunami"; "unknown" where the label does not say
    gsd: float | None  # metres a pixel
    width: int  # px, of the images
    height: int
    pre_image: Path
    post_image: Path
    pre_label: Path
    post_label: Path
    buildings: tuple[Building, ...]


def read_scene(files: SceneFiles) -> tuple[Scene | None, list[Fault]]:
    """Reads a pair's labels and the sizes of its images.

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
    sizes = []
    for path in (files.pre_image, files.post_image):
        try:
            sizes.append(image_size(path))
        except ImageError as error:
            faults.append(files.fault(error.kind, path, error.found))
            return None
    size, post_size = sizes
    labels = [(files.pre_label, pre.size if pre else None), (files.post_label, post.size if post else None)]
    for path, other in ((files.post_image, post_size), *labels):
        if other and other != size:
            text = f"{other[0]} x {other[1]} px beside a pre image of {size[0]} x {size[1]} px"
            faults.append(files.fault(FaultKind.SIZES_DIFFER, path, text))
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
