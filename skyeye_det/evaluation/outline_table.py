"""Outlines, fill rules and ways to set the damage inside, compared under the official score in one table."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skyeye_det.errors import InputError
from skyeye_det.evaluation.bootstrap import percentile_interval, resampled_totals, score_draws
from skyeye_det.evaluation.found_buildings import find_instances
from skyeye_det.evaluation.outline_rows import MASK_ROW, ROWS, OutlineCounts, OutlineJob, draw_tile
from skyeye_det.evaluation.prediction_files import match_predictions
from skyeye_det.evaluation.submission_score import ScoreOptions
from skyeye_det.evaluation.table_cells import figure, interval
from skyeye_det.evaluation.truth import tiles_from_labels
from skyeye_det.evaluation.xview2_metrics import CLASS_NAMES, PixelCounts
from skyeye_det.postprocessing.submission import PARTS_FOLDER
from skyeye_det.progress import progress
from skyeye_det.text_table import aligned
from skyeye_det.workers import ordered_map

_HEADINGS = (
    *("outline", "damage", "fill rule", "score", "against mask", "higher in", "local. F1", "damage F1"),
    *(*CLASS_NAMES, "vertices", "s a tile"),
)
_NONE = "-"


def compare_outlines(
    predictions: Path,
    xbd_root: Path,
    splits: Iterable[str] | None = None,
    tolerance: float = 1.0,
    workers: int = 1,
    options: ScoreOptions | None = None,
) -> dict[str, Any]:
    """Draws what was found in every tile in each form of ``outline_rows.ROWS``, and scores each.

    Args:
        predictions: output folder of ``tools/infer.py``: both PNGs and the instances of every tile.
        xbd_root: xBD root whose labels are the truth.
        splits: names of the splits that count; None for all.
        tolerance: px, of the simplified and the right-angled outlines.
        workers: processes; more than one blur the seconds.
        options: threshold of instances and draws of tiles; those of ``ScoreOptions()`` where None.

    Returns:
        ``rows``: for each form ``outline``, ``damage``, ``fill_rule``, ``official`` (``PixelCounts.score``),
        ``overall`` (``PixelCounts.report``), ``interval`` of the score, ``against_mask`` (difference of the
        scores), ``difference_interval``, ``higher_share`` (share of the draws of tiles in which the score is
        above that of the raw masks in the same draw; NaN for the masks themselves and for less than two
        tiles), ``vertices`` (mean of a building, NaN without), ``seconds`` (mean of a tile, NaN where nothing
        was drawn); ``tiles``; ``buildings`` that were drawn; ``score_threshold``; ``tolerance``;
        ``resampling``.

    Raises:
        InputError: predictions without instances; a fault of the predictions, the truth or an option.
    """
    options = options or ScoreOptions()
    options.check()
    if not 0 <= tolerance < math.inf:
        raise InputError(f"--tolerance: expected 0 px or more, found {tolerance:g}")
    tiles = tiles_from_labels(xbd_root, splits)
    files = match_predictions(predictions, tiles)
    source = find_instances(predictions, files.keys())
    if source is None:
        raise InputError(
            f"{predictions}: expected {PARTS_FOLDER}/<scene>.json beside the PNGs, found none;"
            " run tools/infer.py to get instances"
        )
    jobs = [OutlineJob(tile, files[tile.scene], source.of_scene(tile.scene)) for tile in tiles]
    least = options.least_score(predictions)
    draw = partial(draw_tile, score_threshold=least, tolerance=tolerance)
    drawn = ordered_map(draw, jobs, workers, chunk=2)
    counts = list(progress(drawn, len(jobs), "draw", "tile"))
    return {
        "rows": _score_rows(counts, options),
        "tiles": len(tiles),
        "buildings": sum(tile.buildings for tile in counts),
        "score_threshold": least,
        "tolerance": tolerance,
        "resampling": asdict(options.resampling),
    }


def format_outlines(report: dict[str, Any]) -> str:
    """One line a form; ``report`` is what ``compare_outlines`` returns. ``n/a``: not defined, ``-``: none."""
    share = f"{100 * report['resampling']['level']:g} % interval"
    rows = [(*_HEADINGS[:4], share, *_HEADINGS[4:])]
    for row in report["rows"]:
        overall = row["overall"]
        is_mask = (row["outline"], row["damage"], row["fill_rule"]) == MASK_ROW
        figures = [row["official"]["localization_f1"], row["official"]["damage_f1"]]
        figures += [overall["damage"][name]["f1"] for name in CLASS_NAMES]
        rows.append(
            (
                *(row[key] for key in ("outline", "damage", "fill_rule")),
                figure(row["official"]["score"]),
                interval(row["interval"]),
                _NONE if is_mask else f"{row['against_mask']:+.4f}",
                _NONE if math.isnan(row["higher_share"]) else f"{100 * row['higher_share']:.1f} %",
                *map(figure, figures),
                _NONE if math.isnan(row["vertices"]) else f"{row['vertices']:.1f}",
                _NONE if math.isnan(row["seconds"]) else f"{row['seconds']:.3f}",
            )
        )
    return "\n\n".join([aligned(rows, "<<<>"), "\n".join(_remarks(report))])


def _remarks(report: dict[str, Any]) -> list[str]:
    resampling = report["resampling"]
    lines = [
        f"{report['tiles']} tiles, {report['buildings']} instances of score {report['score_threshold']:g} and"
        f" above; outlines simplified by {report['tolerance']:g} px; written: the PNGs as they are; labels:"
        " the true outlines and damage",
        "higher in: share of the draws of tiles in which the score is above that of the masks in the same"
        f" draw; {resampling['draws']:,} draws, seed {resampling['seed']}; vertices: mean of a building",
    ]
    if absent := report["rows"][0]["overall"]["absent_classes"]:
        lines.append(f"the truth has no {', '.join(absent)} (n/a): the official score counts 0 for it")
    return lines


def _score_rows(counts: list[OutlineCounts], options: ScoreOptions) -> list[dict[str, Any]]:
    pixels = np.stack([tile.pixels for tile in counts])  # (tiles, rows, 3, 5)
    resampling = options.resampling
    number = resampling.draws if len(counts) > 1 else 0
    present = (pixels[:, 0, 0] + pixels[:, 0, 2]).sum(axis=0)[1:] > 0
    draws = [
        score_draws(resampled_totals(pixels[:, row], number, resampling.seed), present)["score"]
        for row in range(len(ROWS))
    ]
    totals = [PixelCounts(*pixels[:, row].sum(axis=0)) for row in range(len(ROWS))]
    reference = ROWS.index(MASK_ROW)
    against = totals[reference].score()["score"]
    vertices = np.array([tile.vertices for tile in counts]).sum(axis=0)
    seconds = np.array([tile.seconds for tile in counts]).mean(axis=0)
    drawn = np.array([tile.drawn for tile in counts]).sum(axis=0)
    rows = []
    for index, row in enumerate(ROWS):
        official = totals[index].score()
        difference = draws[index] - draws[reference]
        rows.append(
            row._asdict()
            | {
                "official": official,
                "overall": totals[index].report(),
                "interval": percentile_interval(draws[index], resampling.level),
                "against_mask": official["score"] - against,
                "difference_interval": percentile_interval(difference, resampling.level),
                "higher_share": _share_above(difference) if index != reference else math.nan,
                "vertices": float(vertices[index] / drawn[index]) if drawn[index] else math.nan,
                "seconds": float(seconds[index]),
            }
        )
    return rows


def _share_above(difference: NDArray[np.float64]) -> float:
    return float((difference > 0).mean()) if len(difference) else math.nan
