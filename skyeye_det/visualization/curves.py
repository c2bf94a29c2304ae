"""Learning curves from the ``metrics.json`` that detectron2's trainer writes."""

import json
import math
import os
from collections import defaultdict
from pathlib import Path
from typing import Any

from skyeye_det.errors import InputError, MissingDependencyError
from skyeye_det.files import whole_file

Series = dict[str, tuple[list[int], list[float]]]
"""name -> (iterations, values)"""

_LOSS = ("total_loss", "loss_")
_SCORES = ("score", "localization_f1", "damage_f1")
_PRECISIONS = ("AP", "AP50")


def read_metrics(path: str | os.PathLike[str]) -> Series:
    """Reads losses and scores from ``metrics.json``, one JSON object with ``iteration`` a line.

    An iteration written twice, as after a resumed run, counts as written last. A last line cut short by a
    kill is left out; values that are no finite number too.

    Raises:
        InputError: the file is missing, has a broken line before its last, or no iteration at all.
    """
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for record in _records(Path(path)):
        iteration = record["iteration"]
        for name, value in record.items():
            if name != "iteration" and isinstance(value, int | float) and math.isfinite(value):
                values[name][iteration] = float(value)
    if not values:
        raise InputError(
            f"{path}: expected losses by iteration, found none; wait for the first logged iterations"
        )
    return {name: (sorted(points), [points[i] for i in sorted(points)]) for name, points in values.items()}


def draw_curves(metrics: str | os.PathLike[str], output: str | os.PathLike[str]) -> None:
    """Draws losses, and below them evaluation scores where there are any, over iterations.

    Args:
        metrics: detectron2's ``metrics.json``.
        output: PNG to write.

    Raises:
        InputError: the metrics cannot be read, or the picture not written.
        MissingDependencyError: matplotlib is not installed.
    """
    series = read_metrics(metrics)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib is needed to draw learning curves; install it with: pip install matplotlib"
        ) from error
    losses = {name: series[name] for name in sorted(series) if name.startswith(_LOSS) and "val" not in name}
    # Official scores are 0..1, detectron2's average precision is 0..100: no common axis.
    groups = ("loss", losses), ("score", _ending(series, _SCORES)), ("AP in %", _ending(series, _PRECISIONS))
    charts = [(name, lines) for name, lines in groups if lines]
    if not charts:
        raise InputError(f"{metrics}: expected total_loss, loss_* or evaluation scores, found none of them")
    figure = Figure(figsize=(9, 4 * len(charts)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, (name, lines) in enumerate(charts, start=1):
        _draw_chart(figure.add_subplot(len(charts), 1, row), name, lines)
    with whole_file(output) as partial:
        figure.savefig(partial, format="png", dpi=120)


def _draw_chart(axes: Any, name: str, lines: Series) -> None:
    for label, (iterations, values) in lines.items():
        total = label == "total_loss"
        marker = "o" if len(iterations) < 30 else None
        axes.plot(
            iterations, values, marker=marker, markersize=3, label=label, linewidth=2.2 if total else 1.2
        )
    if name == "loss" and min(min(values) for _, values in lines.values()) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _ending(series: Series, endings: tuple[str, ...]) -> Series:
    return {
        name: series[name] for name in sorted(series) if "/" in name and name.rsplit("/", 1)[1] in endings
    }


def _records(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    records = [_record(line) for line in lines]
    broken = [number for number, record in enumerate(records[:-1], start=1) if record is None]
    if broken:
        raise InputError(f"{path}: expected one JSON object a line, found something else in line {broken[0]}")
    return [record for record in records if record and isinstance(record.get("iteration"), int)]


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
