"""Conversion of an xBD split to one COCO file.

Geometry is the pre label's, damage the post label's. ``bbox`` and ``area`` are those of the official mask, in
whole pixels, so that they agree with the masks that are trained on, submitted and scored; COCO's own rule
would make a building about a pixel smaller.
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.pairs import image_id
from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.targets import building_mask, segmentation_from_parts
from skyeye_det.data.validation import Fault, Severity, count_faults, fault_table
from skyeye_det.data.xbd import read_scene
from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes, whole_file, write_json
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned
from skyeye_det.workers import ordered_map, worker_count

CATEGORIES = [{"id": 1, "name": "building"}]
_PAIRS_PER_WORKER = 250
_NAMED_FAULTS = 10

_INFO = {
    "description": "xBD labels as COCO: pre-disaster outlines, post-disaster damage",
    "damage": {str(damage): subtype for damage, subtype in sorted(SUBTYPE_BY_DAMAGE.items())},
    "masks": (
        "Official xView2 rule: cv2.fillPoly of the coordinates rounded, halves up, edges included; bbox and "
        "area are those of that mask. COCO's own rasteriser makes smaller masks. In Python: "
        "fill_polygons(parts_from_segmentation(annotation['segmentation']), (height, width)) of "
        "skyeye_det.data.targets."
    ),
    "segmentation": (
        "One polygon a part. A hole is joined to its exterior by a bridge of no width; even-odd filling "
        "leaves it open."
    ),
}


@dataclass(frozen=True)
class ConversionSummary:
    """What a conversion found and wrote."""

    split: str
    path: Path  # the COCO file
    faults_path: Path  # the list of all faults
    pairs: int  # converted
    empty_pairs: int  # of them, without any building
    buildings: dict[int, int]  # number by damage -1..3
    faults: tuple[Fault, ...]  # by scene


def convert_split(
    root: str | os.PathLike[str],
    split: str,
    output: str | os.PathLike[str],
    strict: bool = False,
    workers: int | None = None,
) -> ConversionSummary:
    """Converts folder ``split`` of an xBD root by :func:`convert_scenes`.

    Raises:
        InputError: no such split, nothing to convert, ``strict`` and a fault, or ``output`` is not writable.
    """
    found, missing = find_scenes(root, split)
    return convert_scenes(Path(root), found, split, output, strict, workers, missing)


def convert_scenes(
    root: Path,
    found: Sequence[SceneFiles],
    name: str,
    output: str | os.PathLike[str],
    strict: bool = False,
    workers: int | None = None,
    missing: Sequence[Fault] = (),
) -> ConversionSummary:
    """Writes the pairs of any folders to ``xbd_<name>.json``, and all faults to ``xbd_<name>.faults.json``.

    The same input gives the same bytes, whatever the number of workers. Buildings are written as they come:
    memory holds the images, the faults and the pairs under way.

    Args:
        root: xBD root that the pairs lie in.
        found: the pairs, in the order in which they are written.
        name: of the split that is written.
        output: folder to write to; made where missing.
        strict: a fault graver than a note ends the conversion: its list is written, the COCO file is not.
        workers: number of reading processes; by default one for each 250 pairs, at most one a CPU.
        missing: faults found before, reported with the others.

    Raises:
        InputError: nothing to convert, ``strict`` and a fault, or ``output`` is not writable.
    """
    target = Path(output) / f"xbd_{name}.json"
    faults_path = target.with_suffix(".faults.json")
    faults, counts = list(missing), Counter[int]()
    images: list[bytes] = []
    ids: set[int] = set()
    annotated = empty = 0
    with whole_file(target) as partial, partial.open("wb") as file:
        file.write(
            json_bytes({"info": {"split": name} | _INFO, "licenses": [], "categories": CATEGORIES})[:-1]
        )
        file.write(b',"annotations":[')
        count = worker_count(workers, len(found), _PAIRS_PER_WORKER)
        converted = ordered_map(_convert, found, count, chunk=8)
        for scene, image, buildings, damage, scene_faults in progress(
            converted, len(found), f"convert {name}", "pair"
        ):
            faults += scene_faults
            if image is None:
                continue
            id_ = image_id(scene)
            if id_ in ids:
                raise InputError(f"{root / name}: expected each scene once, found {scene} again")
            ids.add(id_)
            images.append(b'{"id":%d,%s' % (id_, image[1:]))
            entries = [
                b'{"id":%d,"image_id":%d,%s' % (number, id_, entry[1:])
                for number, entry in enumerate(buildings.splitlines(), start=annotated + 1)
            ]
            file.write((b"," if annotated and entries else b"") + b",".join(entries))
            annotated += len(entries)
            empty += not entries
            counts.update(damage)
        file.write(b'],"images":[' + b",".join(images) + b"]}\n")
        faults.sort(key=lambda fault: fault.scene)
        write_json(faults_path, [fault.as_json() for fault in faults], pretty=True)
        _refuse(root, name, faults, faults_path, bool(images), strict)
    return ConversionSummary(name, target, faults_path, len(images), empty, dict(counts), tuple(faults))


def summary_table(summaries: list[ConversionSummary]) -> str:
    """Table of pairs, buildings by class, empty tiles and faults, and the first faults by name."""
    subtypes = {damage: SUBTYPE_BY_DAMAGE[damage] for damage in (0, 1, 2, 3, -1)}
    head = ["split", "pairs", "empty", "buildings", *subtypes.values(), "faults"]
    rows = [head]
    for summary in summaries:
        counts = [summary.buildings.get(damage, 0) for damage in subtypes]
        numbers = [summary.pairs, summary.empty_pairs, sum(counts), *counts, len(summary.faults)]
        rows.append([summary.split, *map(str, numbers)])
    lines = [aligned(rows, ">")]
    for summary in summaries:
        lines += ["", f"{summary.split}: {summary.path}", *_fault_lines(summary)]
    return "\n".join(lines)


def _fault_lines(summary: ConversionSummary) -> list[str]:
    if not summary.faults:
        return []
    named = [f"  {fault}" for fault in summary.faults[:_NAMED_FAULTS]]
    more = len(summary.faults) - len(named)
    rest = f"and {more} more; all" if more else "all"
    return [fault_table(count_faults(summary.faults)), *named, f"  {rest} in {summary.faults_path}"]


def _refuse(root: Path, name: str, faults: list[Fault], listed: Path, any_image: bool, strict: bool) -> None:
    graver = [fault for fault in faults if fault.kind.severity is not Severity.NOTE]
    if (strict and graver) or not any_image:
        faults = graver if any_image else faults
        graver.sort(key=lambda fault: not fault.kind.drops_pair)
        kinds = ", ".join(f"{count} {kind.value}" for kind, count in count_faults(faults).items())
        reason = "--strict allows no fault" if any_image else "no pair is left"
        mend = "mend them, or run again without --strict" if any_image else "mend them"
        raise InputError(
            f"{root / name}: {reason}, found {kinds}, first {(graver or faults)[0]}; all in {listed}: {mend}"
        )


class _Annotation(msgspec.Struct):
    """A building as COCO has it, without its ids."""

    category_id: int
    segmentation: list[list[float]]
    bbox: list[int]
    area: int
    iscrowd: int
    uid: str
    damage: int


_Converted = tuple[str, bytes | None, bytes, list[int], list[Fault]]
"""(scene; image and, a line each, its buildings, as JSON without ids; damage of each building; faults)"""


def _convert(files: SceneFiles) -> _Converted:
    scene, faults = read_scene(files)
    if scene is None:
        return files.name, None, b"", [], faults
    image = {
        "file_name": f"{scene.split}/images/{scene.pre_image.name}",
        "post_file_name": f"{scene.split}/images/{scene.post_image.name}",
        "width": scene.width,
        "height": scene.height,
        "scene": scene.name,
        "disaster": scene.disaster,
        "disaster_type": scene.disaster_type,
        "gsd": scene.gsd,
    }
    annotations = []
    for uid, parts, grade, _ in scene.buildings:
        mask, (x, y) = building_mask(parts, (scene.height, scene.width))
        outlines = [ring.tolist() for ring in segmentation_from_parts(parts)]
        box, area = [x, y, mask.shape[1], mask.shape[0]], int(np.count_nonzero(mask))
        annotations.append(_Annotation(1, outlines, box, area, 0, uid, grade))
    lines = msgspec.json.Encoder().encode_lines(annotations)
    damage = [building.damage for building in scene.buildings]
    return scene.name, json_bytes(image), lines, damage, faults
