"""Scores a folder of predictions, tile by tile.

What a tile leaves behind is some 2 KB of counts, and 24 bytes for each of its instances: these must all be
ranked in the end, to know the mask AP.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.errors import InputError
from skyeye_det.evaluation.found_buildings import find_instances
from skyeye_det.evaluation.instance_metrics import precision_and_recall
from skyeye_det.evaluation.object_counts import ObjectCounts
from skyeye_det.evaluation.object_match import LEAST_IOU
from skyeye_det.evaluation.prediction_files import count_others, match_predictions
from skyeye_det.evaluation.tile_score import TileJob, TileScore, score_tile
from skyeye_det.evaluation.truth import TrueTile, tiles_from_labels, tiles_from_targets
from skyeye_det.progress import progress
from skyeye_det.workers import ordered_map
from skyeye_det.xview2.bootstrap import Interval, Resampling, score_intervals
from skyeye_det.xview2.score import PixelCounts
from skyeye_det.xview2.submission import least_painted_score

NO_OBJECTS = "objects not scored: targets hold no single buildings; use --xbd-root"


@dataclass(frozen=True)
class ScoreOptions:
    """What can be chosen about a score.

    Attributes:
        score_threshold: instances below it, 0..1, count as no building; None: those that were painted, see
            ``least_painted_score``. Class images have no scores.
        resampling: of the confidence intervals; 0 draws for none.
    """

    score_threshold: float | None = None
    resampling: Resampling = field(default_factory=Resampling)

    def least_score(self, predictions: Path) -> float:
        """``score_threshold``, or that of a folder of predictions."""
        return least_painted_score(predictions) if self.score_threshold is None else self.score_threshold

    def check(self) -> None:
        """Raises InputError where a value has no meaning."""
        if self.score_threshold is not None and not 0 <= self.score_threshold <= 1:
            raise InputError(f"--score-threshold: expected 0..1, found {self.score_threshold:g}")
        self.resampling.check()


def score_submission(
    predictions: Path,
    targets: Path | None = None,
    xbd_root: Path | None = None,
    splits: Iterable[str] | None = None,
    workers: int = 2,
    options: ScoreOptions = ScoreOptions(),
) -> dict[str, Any]:
    """Scores predictions against targets or labels.

    Files are matched as :func:`skyeye_det.evaluation.prediction_files.match_predictions` does. Predictions
    without a target are counted and left alone. Single buildings are scored where the truth is labels: the
    instances of ``tools/infer.py`` if the folder has them, else the components of its class images.

    Args:
        predictions: folder of both PNGs of every tile.
        targets: folder of target PNGs, see :func:`skyeye_det.evaluation.truth.tiles_from_targets`.
        xbd_root: xBD root whose labels are the truth instead.
        splits: names of the splits that count; None for all.
        workers: tiles read at a time.
        options: threshold of instances and confidence intervals.

    Returns:
        ``official``: :meth:`PixelCounts.score` of all tiles; ``overall``: :meth:`PixelCounts.report` of all
        tiles; ``objects``: :meth:`ObjectCounts.report` with ``source`` (``instances`` or ``components``),
        ``least_iou`` and ``score_threshold``, None with targets; ``instances``:
        :func:`skyeye_det.evaluation.instance_metrics.precision_and_recall`, None without instances;
        ``intervals``: :func:`skyeye_det.xview2.bootstrap.score_intervals`; ``resampling``: its options;
        ``events``: the report of ``overall`` with ``tiles`` and ``objects`` per event, sorted by name;
        ``tiles``; ``tiles_without_target``; ``notes``: sentences on what was not scored.

    Raises:
        InputError: not exactly one of ``targets`` and ``xbd_root``; a prediction that is missing, of another
            size or with values that mean nothing; a fault of the truth or of an option.
    """
    options.check()
    if (targets is None) == (xbd_root is None):
        raise InputError("expected one of --targets and --xbd-root, found both or neither")
    if targets is not None:
        tiles = tiles_from_targets(targets, splits)
    else:
        assert xbd_root is not None
        tiles = tiles_from_labels(xbd_root, splits)
    return score_tiles(Path(predictions), tiles, workers, options)


def score_tiles(
    predictions: Path, tiles: list[TrueTile], workers: int = 2, options: ScoreOptions = ScoreOptions()
) -> dict[str, Any]:
    """Scores predictions against given tiles; report and errors as of :func:`score_submission`."""
    files = match_predictions(predictions, tiles)
    with_objects = all(tile.read_buildings is not None for tile in tiles)
    source = find_instances(predictions, files.keys()) if with_objects else None
    least = options.least_score(predictions) if source else 0.0
    jobs = [
        TileJob(tile, files[tile.scene], source.of_scene(tile.scene) if source else None, least)
        for tile in tiles
    ]
    scores = list(progress(_score(jobs, workers, with_objects), len(jobs), "score", "tile"))
    by_event: dict[str, list[TileScore]] = defaultdict(list)
    for tile, score in zip(tiles, scores, strict=True):
        by_event[tile.event].append(score)
    total = PixelCounts.total(score.pixels for score in scores)
    settings = {
        "source": "instances" if source else "components",
        "least_iou": LEAST_IOU,
        "score_threshold": least if source else None,
    }
    objects = _objects(scores)
    matches = [score.matches for score in scores if score.matches is not None]
    return {
        "official": total.score(),
        "overall": total.report(),
        "objects": settings | objects if objects else None,
        "instances": precision_and_recall(matches) if source else None,
        "intervals": _intervals(scores, options.resampling),
        "resampling": asdict(options.resampling),
        "events": {event: _event(by_event[event]) for event in sorted(by_event)},
        "tiles": len(tiles),
        "tiles_without_target": count_others(predictions, files),
        "notes": [] if with_objects else [NO_OBJECTS],
    }


def _score(jobs: list[TileJob], workers: int, with_objects: bool) -> Iterator[TileScore]:
    """Scores in the order of the jobs.

    Decoding PNGs leaves Python's lock free, and threads start at once; labels and single buildings are
    Python's work, and want processes.
    """
    if with_objects:
        yield from ordered_map(score_tile, jobs, workers)
        return
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            yield from pool.map(score_tile, jobs)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _objects(scores: Iterable[TileScore]) -> dict[str, Any] | None:
    counts = [score.objects for score in scores if score.objects is not None]
    return ObjectCounts.total(counts).report() if counts else None


def _event(scores: list[TileScore]) -> dict[str, Any]:
    pixels = PixelCounts.total(score.pixels for score in scores).report()
    return {"tiles": len(scores), **pixels, "objects": _objects(scores)}


def _intervals(scores: list[TileScore], resampling: Resampling) -> dict[str, Interval]:
    pixels = np.array([score.pixels.as_array() for score in scores])
    finding = [score.objects.finding for score in scores if score.objects is not None]
    return score_intervals(pixels, np.array(finding) if finding else None, resampling)
