"""Conversion of an xBD split to one COCO file.

Geometry is the pre label's, damage the post label's. ``bbox`` and ``area`` are those of the official mask, in
whole pixels, so that they agree with the masks that are trained on, submitted and scored; COCO's own rule
would make a building about a pixel smaller.
"""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from tqdm import tqdm

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.targets import building_mask, segmentation_from_parts
from skyeye_det.data.validation import Fault, count_faults, fault_table
from skyeye_det.data.xbd import Scene, SceneFiles, find_scenes, read_scene
from skyeye_det.errors import InputError
from skyeye_det.files import write_json
from skyeye_det.workers import end_with_parent

CATEGORIES = [{"id": 1, "name": "building"}]
_PAIRS_PER_WORKER = 250
_NAMED_FAULTS = 10

_INFO = {
    "description": "xBD labels as COCO: pre-disaster outlines, post-disaster damage",
    "damage": {str(damage): subtype for damage, subtype in sorted(SUBTYPE_BY_DAMAGE.items())},
    "masks": (
        "Official xView2 rule: cv2.fillPoly of the coordinates rounded by np.round, edges included; bbox and "
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
    """What a conversion found and wrote.

    Attributes:
        split: name of the split.
        path: the COCO file.
        faults_path: the list of all faults.
        pairs: pairs converted.
        empty_pairs: of them, without any building.
        buildings: number by damage -1..3.
        faults: all faults, by scene.
    """

    split: str
    path: Path
    faults_path: Path
    pairs: int
    empty_pairs: int
    buildings: dict[int, int] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def convert_split(
    root: str | os.PathLike[str],
    split: str,
    output: str | os.PathLike[str],
    strict: bool = False,
    workers: int | None = None,
) -> ConversionSummary:
    """Writes ``xbd_<split>.json`` and ``xbd_<split>.faults.json`` into ``output``.

    The same input gives the same bytes, whatever the number of workers.

    Args:
        root: xBD root.
        split: folder below it.
        output: folder to write to; made where missing.
        strict: a fault ends the conversion, after its list is written and before the COCO file is.
        workers: number of reading processes; by default one for each 250 pairs, at most one a CPU.

    Returns:
        Counts and faults.

    Raises:
        InputError: no such split, nothing to convert, ``strict`` and a fault, or ``output`` is not writable.
    """
    found, missing = find_scenes(root, split)
    target = Path(output) / f"xbd_{split}.json"
    faults_path = target.with_suffix(".faults.json")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    faults = list(missing)
    for image, entries, scene_faults in _read_all(found, workers):
        faults += scene_faults
        if image is None:
            continue
        images.append({"id": len(images) + 1} | image)
        numbers = range(len(annotations) + 1, len(annotations) + 1 + len(entries))
        annotations += [
            {"id": number, "image_id": len(images)} | entry
            for number, entry in zip(numbers, entries, strict=True)
        ]
    faults.sort(key=lambda fault: fault.scene)
    write_json(faults_path, [fault.as_json() for fault in faults], indent=1)
    _refuse(Path(root) / split, faults, faults_path, bool(images), strict)
    info = {"split": split} | _INFO
    write_json(
        target,
        {
            "info": info,
            "licenses": [],
            "categories": CATEGORIES,
            "images": images,
            "annotations": annotations,
        },
    )
    return ConversionSummary(
        split=split,
        path=target,
        faults_path=faults_path,
        pairs=len(images),
        empty_pairs=len(images) - len({annotation["image_id"] for annotation in annotations}),
        buildings=dict(Counter(annotation["damage"] for annotation in annotations)),
        faults=tuple(faults),
    )


def summary_table(summaries: list[ConversionSummary]) -> str:
    """Table of pairs, buildings by class, empty tiles and faults, and the first faults by name.

    Args:
        summaries: one for each split.

    Returns:
        Text to print.
    """
    subtypes = {damage: SUBTYPE_BY_DAMAGE[damage] for damage in (0, 1, 2, 3, -1)}
    head = ["split", "pairs", "empty", "buildings", *subtypes.values(), "faults"]
    rows = [head]
    for summary in summaries:
        counts = [summary.buildings.get(damage, 0) for damage in subtypes]
        numbers = [summary.pairs, summary.empty_pairs, sum(counts), *counts, len(summary.faults)]
        rows.append([summary.split, *map(str, numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
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


def _refuse(folder: Path, faults: list[Fault], listed: Path, any_image: bool, strict: bool) -> None:
    if faults and (strict or not any_image):
        kinds = ", ".join(f"{count} {kind.value}" for kind, count in count_faults(faults).items())
        reason = "--strict allows no fault" if any_image else "no pair is left"
        mend = "mend them, or run again without --strict" if any_image else "mend them"
        raise InputError(f"{folder}: {reason}, found {kinds}, first {faults[0]}; all in {listed}: {mend}")


_Converted = tuple[dict[str, Any] | None, list[dict[str, Any]], list[Fault]]


def _read_all(found: list[SceneFiles], workers: int | None) -> Iterator[_Converted]:
    count = workers or min(os.cpu_count() or 1, -(-len(found) // _PAIRS_PER_WORKER))
    bar = {"total": len(found), "desc": found[0].split, "unit": "pair", "disable": None}
    if count == 1:
        yield from tqdm(map(_convert_scene, found), **bar)
        return
    # spawn: forking a process that has threads (OpenCV's, torch's) can lock up.
    context = get_context("spawn")
    with ProcessPoolExecutor(min(count, len(found)), context, initializer=end_with_parent) as pool:
        yield from tqdm(pool.map(_convert_scene, found, chunksize=8), **bar)


def _convert_scene(files: SceneFiles) -> _Converted:
    scene, faults = read_scene(files)
    if scene is None:
        return None, [], faults
    image = {
        "file_name": scene.pre_image.relative_to(files.root).as_posix(),
        "post_file_name": scene.post_image.relative_to(files.root).as_posix(),
        "width": scene.width,
        "height": scene.height,
        "scene": scene.name,
        "disaster": scene.disaster,
        "disaster_type": scene.disaster_type,
        "gsd": scene.gsd,
    }
    return image, _annotations(scene), faults


def _annotations(scene: Scene) -> list[dict[str, Any]]:
    entries = []
    for building in scene.buildings:
        mask, (x0, y0) = building_mask(building.parts, (scene.height, scene.width))
        entries.append(
            {
                "category_id": 1,
                "segmentation": segmentation_from_parts(building.parts),
                "bbox": [x0, y0, mask.shape[1], mask.shape[0]],
                "area": int(mask.sum()),
                "iscrowd": 0,
                "uid": building.uid,
                "damage": building.damage,
            }
        )
    return entries
