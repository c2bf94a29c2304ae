"""Scores a folder of predictions, tile by tile.

What a tile leaves behind is some 2 KB of counts, and about 1 KB for each of its instances: these must all be
ranked in the end, to know the mask AP.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.errors import InputError
from skyeye_det.evaluation.buildings import (
    LEAST_IOU,
    BuildingCounts,
    FoundComponents,
    count_buildings,
    finding_figures,
    match_components,
    match_masks,
)
from skyeye_det.evaluation.instance_metrics import TileMatches, match_tile, precision_and_recall
from skyeye_det.evaluation.predictions import InstanceFile, count_others, find_instances, match_predictions
from skyeye_det.evaluation.truth import TrueBuildings, TrueTile, tiles_from_labels, tiles_from_targets
from skyeye_det.progress import progress
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.bootstrap import (
    Interval,
    Resampling,
    percentile_interval,
    resampled_totals,
    score_draws,
)
from skyeye_det.xview2.score import PixelCounts, count_pixels
from skyeye_det.xview2.submission import read_class_png

NO_BUILDINGS = "single buildings not scored: target PNGs do not tell them apart; use --xbd-root"


@dataclass(frozen=True)
class TileJob:
    """One tile to score: localization and damage PNG; files of instances and candidates, or components."""

    tile: TrueTile
    images: tuple[Path, Path]
    instances: list[InstanceFile] | None = None


@dataclass(frozen=True, eq=False)
class TileScore:
    """Counts of one tile; ``buildings`` where the truth has single buildings, ``matches`` with instances."""

    pixels: PixelCounts
    buildings: BuildingCounts | None = None
    matches: TileMatches | None = None


def score_submission(
    predictions: Path,
    targets: Path | None = None,
    xbd_root: Path | None = None,
    splits: Iterable[str] | None = None,
    workers: int = 2,
    resampling: Resampling | None = None,
) -> dict[str, Any]:
    """Scores predictions against targets or labels.

    Files are matched as :func:`skyeye_det.evaluation.predictions.match_predictions` does. Predictions
    without a target are counted and left alone. Single buildings are scored where the truth is labels: the
    instances of ``tools/infer.py`` if the folder has them, else the components of its class images.

    Args:
        predictions: folder of both PNGs of every tile.
        targets: folder of target PNGs, see :func:`skyeye_det.evaluation.truth.tiles_from_targets`.
        xbd_root: xBD root whose labels are the truth instead.
        splits: names of the splits that count; None for all.
        workers: tiles read at a time.
        resampling: of the confidence intervals, 0 draws for none; None for the default.

    Returns:
        ``official``: :meth:`PixelCounts.score` of all tiles; ``overall``: :meth:`PixelCounts.report` of all
        tiles; ``buildings``: :meth:`BuildingCounts.report` with ``source`` (``instances`` or ``components``)
        and ``least_iou``, None with targets; ``instances``:
        :func:`skyeye_det.evaluation.instance_metrics.precision_and_recall` of instances and candidates, None
        without instances; ``intervals``: see :func:`score_intervals`; ``resampling``: its options;
        ``events``: the report of ``overall`` with ``tiles`` and ``buildings`` per event, sorted by name;
        ``tiles``; ``tiles_without_target``; ``notes``: sentences on what was not scored.

    Raises:
        InputError: not exactly one of ``targets`` and ``xbd_root``; a prediction that is missing, of another
            size or with values that mean nothing; a fault of the truth or of an option.
    """
    resampling = resampling or Resampling()
    resampling.check()
    if targets is not None and xbd_root is None:
        tiles = tiles_from_targets(targets, splits)
    elif xbd_root is not None and targets is None:
        tiles = tiles_from_labels(xbd_root, splits)
    else:
        raise InputError("expected one of --targets and --xbd-root, found both or neither")
    predictions = Path(predictions)
    files = match_predictions(predictions, [tile.scene for tile in tiles])
    instances = find_instances(predictions, files) if targets is None else None
    jobs = [TileJob(tile, files[tile.scene], instances[tile.scene] if instances else None) for tile in tiles]
    scores = list(progress(ordered_map(score_tile, jobs, workers), len(jobs), "score", "tile"))
    by_event: dict[str, list[TileScore]] = defaultdict(list)
    for tile, score in zip(tiles, scores, strict=True):
        by_event[tile.event].append(score)
    total = PixelCounts.total(score.pixels for score in scores)
    buildings = _buildings(scores)
    settings = {"source": "instances" if instances else "components", "least_iou": LEAST_IOU}
    matches = [score.matches for score in scores if score.matches is not None]
    finding = [score.buildings.finding for score in scores if score.buildings is not None]
    return {
        "official": total.score(),
        "overall": total.report(),
        "buildings": settings | buildings if buildings else None,
        "instances": precision_and_recall(matches) if instances else None,
        "intervals": score_intervals(
            np.array([score.pixels.as_array() for score in scores]),
            np.array(finding) if finding else None,
            resampling,
        ),
        "resampling": asdict(resampling),
        "events": {event: _event(by_event[event]) for event in sorted(by_event)},
        "tiles": len(tiles),
        "tiles_without_target": count_others(predictions, files),
        "notes": [NO_BUILDINGS] if targets is not None else [],
    }


def score_intervals(
    pixels: np.ndarray, finding: np.ndarray | None, resampling: Resampling
) -> dict[str, Interval]:
    """Intervals of every figure that is printed beside them.

    Args:
        pixels: int64 (T, 3, 5), TP, FP and FN of each tile as in ``PixelCounts``.
        finding: int64 (T, 3), buildings found, true and predicted in each tile; None where not counted.
        resampling: draws and seed.

    Returns:
        The keys of ``PixelCounts.score``; with ``finding`` also ``building_precision``, ``building_recall``
        and ``building_f1``. NaN for less than two tiles or no draws.
    """
    present = (pixels[:, 0] + pixels[:, 2]).sum(axis=0)[1:] > 0
    figures = score_draws(resampled_totals(pixels, resampling), present)
    if finding is not None:
        names = ("building_precision", "building_recall", "building_f1")
        drawn = finding_figures(resampled_totals(finding, resampling))
        figures |= dict(zip(names, drawn, strict=True))
    return {name: percentile_interval(values) for name, values in figures.items()}


def score_tile(job: TileJob) -> TileScore:
    """Reads and counts one tile; InputError as ``score_submission``."""
    truth, buildings = job.tile.read()
    shape = truth[1].shape[0], truth[1].shape[1]
    images = read_class_png(job.images[0], shape), read_class_png(job.images[1], shape)
    pixels = count_pixels(*images, *truth)
    if buildings is None:
        return TileScore(pixels)
    true = TrueBuildings.of(buildings, shape)
    if job.instances is None:
        components = FoundComponents.of(*images)
        pairs = match_components(true, components)
        return TileScore(pixels, count_buildings(true, components.damage, pairs))
    painted, *candidates = (instances.read(shape) for instances in job.instances)
    pairs = match_masks(true, painted.masks, painted.scores, painted.damage)
    every = [painted, *candidates]
    masks = [mask for instances in every for mask in instances.masks]
    matches = match_tile(true, masks, np.concatenate([instances.scores for instances in every]))
    return TileScore(pixels, count_buildings(true, painted.damage, pairs), matches)


def _buildings(scores: Iterable[TileScore]) -> dict[str, Any] | None:
    counts = [score.buildings for score in scores if score.buildings is not None]
    return BuildingCounts.total(counts).report() if counts else None


def _event(scores: list[TileScore]) -> dict[str, Any]:
    pixels = PixelCounts.total(score.pixels for score in scores).report()
    return {"tiles": len(scores), **pixels, "buildings": _buildings(scores)}
