"""The forms that are compared, and what each of them counts in one tile."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.targets import Parts
from skyeye_det.data.xbd import Building
from skyeye_det.errors import InputError, shown
from skyeye_det.evaluation.found_buildings import Results, read_instances
from skyeye_det.evaluation.tile_score import read_tile_images
from skyeye_det.evaluation.truth import Images, TrueTile
from skyeye_det.evaluation.xview2_metrics import count_pixels
from skyeye_det.files import read_json
from skyeye_det.postprocessing.outline_forms import (
    EXACT,
    FILL_RULES,
    MAJORITY,
    OFFICIAL,
    OWN,
    PROPORTIONAL,
    RIGHT_ANGLED,
    SIMPLIFIED,
    Crop,
    FoundBuildings,
    count_vertices,
    fill_outlines,
    outline_crops,
    paint_forms,
)

WRITTEN, MASK, LABELS = "written", "mask", "labels"
_NONE = "-"
_DAMAGE = (OWN, MAJORITY, PROPORTIONAL)


class OutlineRow(NamedTuple):
    """One form: outline, what sets the damage of the pixels inside, and fill rule."""

    outline: str
    damage: str
    fill_rule: str


MASK_ROW = OutlineRow(MASK, OWN, _NONE)
"""What all others are compared with."""

_OTHER_RULES = tuple(rule for rule in FILL_RULES if rule != OFFICIAL)

ROWS: tuple[OutlineRow, ...] = (
    OutlineRow(WRITTEN, _NONE, _NONE),
    *(OutlineRow(MASK, damage, _NONE) for damage in _DAMAGE),
    OutlineRow(EXACT, OWN, OFFICIAL),
    *(OutlineRow(EXACT, OWN, rule) for rule in _OTHER_RULES),
    *(
        row
        for outline in (SIMPLIFIED, RIGHT_ANGLED)
        for row in (
            *(OutlineRow(outline, damage, OFFICIAL) for damage in _DAMAGE),
            *(OutlineRow(outline, OWN, rule) for rule in _OTHER_RULES),
        )
    ),
    *(OutlineRow(LABELS, OWN, rule) for rule in FILL_RULES),
)
"""The table's lines. ``written``: both PNGs as they are. ``mask``: the instances' masks. ``exact``,
``simplified``, ``right-angled``: outlines of these. ``labels``: the true outlines and damage, which shows
what a fill rule alone is worth. ``majority`` takes the damage PNG's."""


@dataclass(frozen=True)
class OutlineJob:
    """One tile to draw; can be handed to another process.

    Attributes:
        tile: its truth, from labels.
        images: localization and damage PNG.
        instances: file of its instances and, if they have been read, its results.
    """

    tile: TrueTile
    images: tuple[Path, Path]
    instances: tuple[Path, Results | None]


@dataclass(frozen=True, eq=False)
class OutlineCounts:
    """What one tile adds.

    Attributes:
        pixels: int64 (rows, 3, 5), TP, FP and FN as in ``PixelCounts``.
        vertices: int64 (rows,), of all buildings; 0 where the row has no outlines.
        drawn: int64 (rows,), buildings that these are of.
        seconds: float64 (rows,), for outlining, filling and painting; NaN where none of it is done.
        buildings: found ones that count.
    """

    pixels: NDArray[np.int64]
    vertices: NDArray[np.int64]
    drawn: NDArray[np.int64]
    seconds: NDArray[np.float64]
    buildings: int


class _Drawn(NamedTuple):
    """Crops of one outline and fill rule, vertices of its outlines, and the seconds they took."""

    crops: Sequence[Crop]
    vertices: int
    seconds: float


def draw_tile(job: OutlineJob, score_threshold: float, tolerance: float) -> OutlineCounts:
    """Draws and counts one tile in every form.

    Raises:
        InputError: a fault of the truth or of the predictions.
    """
    assert job.tile.read_buildings is not None
    truth, true_buildings = job.tile.read_buildings()
    shape = (truth[1].shape[0], truth[1].shape[1])
    written = read_tile_images(job.images, shape)
    found = read_found(*job.instances, job.tile.scene, shape, score_threshold)
    labels = _true_buildings(true_buildings, shape)
    outlines_of_labels = [building.parts for building in true_buildings]
    drawn: dict[tuple[str, str], _Drawn] = {(MASK, _NONE): _Drawn(found.crops, 0, 0.0)}
    for outline in (EXACT, SIMPLIFIED, RIGHT_ANGLED):
        start = time.perf_counter()
        outlines = outline_crops(found.crops, outline, tolerance)
        drawn |= _filled(outline, outlines, shape, time.perf_counter() - start)
    drawn |= _filled(LABELS, outlines_of_labels, shape, math.nan)
    counts, vertices, numbers, seconds = [], [], [], []
    earlier = written[1] * (written[0] > 0)
    for row in ROWS:
        buildings = labels if row.outline == LABELS else found
        form = drawn.get((row.outline, row.fill_rule), _Drawn([], 0, math.nan))
        start = time.perf_counter()
        images: Images = written
        if row.outline != WRITTEN:
            images = paint_forms(buildings, form.crops, row.damage, earlier)
        seconds.append(form.seconds + time.perf_counter() - start)
        counts.append(count_pixels(*images, *truth).as_array())
        vertices.append(form.vertices)
        numbers.append(len(form.crops) if form.vertices else 0)
    return OutlineCounts(
        np.stack(counts), np.array(vertices), np.array(numbers), np.array(seconds), len(found.crops)
    )


def read_found(
    path: Path, results: Results | None, scene: str, shape: tuple[int, int], score_threshold: float
) -> FoundBuildings:
    """Instances of ``tools/infer.py`` from a score on, with what they are drawn from.

    Args:
        path: file they stand in.
        results: what was read from it before; None to read it.
        scene: name that each result must bear.
        shape: (h, w) of the tile, px.
        score_threshold: 0..1.

    Raises:
        InputError: no such file, or a value that is not what it should be.
    """
    content = read_json(path) if results is None else results
    instances = read_instances(path, content, scene, shape)
    kept = np.flatnonzero(instances.scores >= score_threshold)
    probs = [_damage_probs(path, index, content[index]) for index in kept.tolist()]
    return FoundBuildings(
        crops=[_decoded(instances.masks[index]) for index in kept.tolist()],
        scores=instances.scores[kept],
        damage=instances.damage[kept],
        damage_probs=np.array(probs, np.float64).reshape(-1, NUM_DAMAGE_CLASSES),
        shape=shape,
    )


def _damage_probs(path: Path, index: int, result: dict[str, Any]) -> list[float]:
    probs: Any = result.get("damage_probs")
    is_row = isinstance(probs, list) and len(probs) == NUM_DAMAGE_CLASSES
    if is_row and all(type(p) in (int, float) and 0 <= p <= 1 for p in probs) and sum(probs) > 0:
        return probs
    raise InputError(
        f"{path}: expected damage_probs of {NUM_DAMAGE_CLASSES} numbers 0..1, one of them above 0, for"
        f" instance {index + 1} of the file, found {shown(probs)}; run tools/infer.py again"
    )


def _decoded(run_lengths: dict[str, Any]) -> Crop:
    x, y, width, height = (int(side) for side in coco_mask.toBbox(run_lengths))
    return (x, y), coco_mask.decode(run_lengths)[y : y + height, x : x + width] > 0


def _true_buildings(buildings: Sequence[Building], shape: tuple[int, int]) -> FoundBuildings:
    """Labels as if found, un-classified ones as no-damage, which costs nothing; later ones lie on top."""
    damage = np.maximum(np.array([building.damage for building in buildings], np.int64), 0)
    probs = np.eye(NUM_DAMAGE_CLASSES)[damage]
    return FoundBuildings([], np.arange(len(buildings), dtype=np.float64), damage, probs, shape)


def _filled(
    outline: str, outlines: list[Parts], shape: tuple[int, int], seconds: float
) -> dict[tuple[str, str], _Drawn]:
    drawn = {}
    vertices = count_vertices(outlines)
    for rule in FILL_RULES:
        start = time.perf_counter()
        crops = fill_outlines(outlines, rule, shape)
        drawn[outline, rule] = _Drawn(crops, vertices, seconds + time.perf_counter() - start)
    return drawn
