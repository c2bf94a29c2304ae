"""What one tile adds to a score: pixels, single buildings, and instances by rank."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.errors import InputError
from skyeye_det.evaluation.found_buildings import (
    FoundComponents,
    FoundInstances,
    Ints,
    Results,
    read_instances,
)
from skyeye_det.evaluation.instance_metrics import TileMatches, match_tile
from skyeye_det.evaluation.object_counts import ObjectCounts, count_objects
from skyeye_det.evaluation.object_match import (
    Overlaps,
    TrueBuildings,
    match,
    overlaps_of_labels,
    overlaps_of_masks,
    rank,
)
from skyeye_det.evaluation.truth import Images, TrueTile
from skyeye_det.xview2.png import read_class_png
from skyeye_det.xview2.score import PixelCounts, count_pixels


@dataclass(frozen=True)
class TileJob:
    """One tile to score; can be handed to another process.

    Attributes:
        tile: its truth.
        images: localization and damage PNG.
        instances: file of its instances and, if they have been read, its results; None for components.
        score_threshold: instances below it count as no building.
    """

    tile: TrueTile
    images: tuple[Path, Path]
    instances: tuple[Path, Results | None] | None = None
    score_threshold: float = 0.0


@dataclass(frozen=True, eq=False)
class TileScore:
    """Counts of one tile; ``objects`` where the truth has single buildings, ``matches`` with instances."""

    pixels: PixelCounts
    objects: ObjectCounts | None = None
    matches: TileMatches | None = None


def score_tile(job: TileJob) -> TileScore:
    """Reads and counts one tile.

    Raises:
        InputError: a fault of the truth; a prediction that is missing, unreadable, of another size or with
            values that mean nothing.
    """
    if job.tile.read_buildings is None:
        truth = job.tile.read()
        return TileScore(count_pixels(*read_tile_images(job.images, truth[1].shape), *truth))
    truth, buildings = job.tile.read_buildings()
    shape = truth[1].shape
    images = read_tile_images(job.images, shape)
    pixels = count_pixels(*images, *truth)
    true = TrueBuildings.of(buildings, (shape[0], shape[1]))
    if job.instances is None:
        return TileScore(pixels, _score_components(true, FoundComponents.of(*images)))
    found = read_instances(*job.instances, job.tile.scene, (shape[0], shape[1]))
    return TileScore(pixels, *_score_instances(true, found, job.score_threshold))


def read_tile_images(paths: tuple[Path, Path], shape: tuple[int, ...]) -> Images:
    """Reads the localization and the damage PNG of a tile of ``shape`` (h, w).

    Raises:
        InputError: one that is missing, unreadable, of another size or with values that mean nothing.
    """
    return _read_image(paths[0], shape), _read_image(paths[1], shape)


def _read_image(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    image = read_class_png(path)
    if image.shape != shape:
        raise InputError(
            f"{path}: expected {shape[1]} x {shape[0]} px as in the target,"
            f" found {image.shape[1]} x {image.shape[0]}"
        )
    if (highest := int(image.max())) > NUM_DAMAGE_CLASSES:
        raise InputError(
            f"{path}: expected values 0..{NUM_DAMAGE_CLASSES}, found up to {highest};"
            " tools/check_submission.py lists all such files"
        )
    return image


def _score_components(true: TrueBuildings, found: FoundComponents) -> ObjectCounts:
    overlaps = overlaps_of_labels(true, found.labels, found.areas)
    # Components are numbered by place, whatever the order of the truth.
    pairs = match(overlaps, _rank_of_truth(true), np.arange(len(found.areas)))
    return count_objects(true, found.damage, pairs)


def _score_instances(
    true: TrueBuildings, found: FoundInstances, threshold: float
) -> tuple[ObjectCounts, TileMatches]:
    overlaps = overlaps_of_masks(true.run_lengths(), found.masks)
    matches = match_tile(overlaps, found.scores, found.areas, true.areas)
    kept = found.scores >= threshold
    number = np.cumsum(kept) - 1
    rows = kept[overlaps.found]
    likely = Overlaps(overlaps.true[rows], number[overlaps.found[rows]], overlaps.iou[rows])
    ranks = rank(-found.scores[kept], found.areas[kept], found.damage[kept])
    pairs = match(likely, _rank_of_truth(true), ranks)
    return count_objects(true, found.damage[kept], pairs), matches


def _rank_of_truth(true: TrueBuildings) -> Ints:
    return rank(true.corners[:, 1], true.corners[:, 0], true.areas, true.damage)
