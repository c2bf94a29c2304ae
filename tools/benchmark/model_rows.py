"""Rows of the model's benchmark, worked out from the timings of the children, and their table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from skyeye_det.text_table import aligned

INFERENCE_BAR = 1.9
"""Seconds a pair to those of the stock model on one image."""

POSTPROCESSING_BAR = 0.05
"""Share of post-processing, PNG writing included, in the seconds a pair."""

TRAINING_BAR = 2.1
"""Seconds of a training iteration to those of the stock model's on the pre images."""

MEMORY_BAR = 1.5
"""Peak memory with 1,000 detections in a tile to that with 100."""

OURS, STOCK, PEER, POST = "ours", "stock", "peer", "post-processing"
PASTED, FOLDED = "stock with pasting", "stock with folded BatchNorm"
"""Names of timings; ``POST`` is a part of ``OURS``."""


@dataclass(frozen=True)
class RatioRow:
    """One thing held against another that was measured in turns with it.

    Attributes:
        name: such as ``"xbd_mrcnn inference"``.
        what: what was done.
        against: what the other did.
        ours: measurements, one a run.
        floor: those of the other.
        bar: largest allowed ratio; None where there is none.
        unit: of the measurements.
        checks: what must hold besides -> whether it does.
        figures: further numbers, by name.
    """

    name: str
    what: str
    against: str
    ours: Sequence[float]
    floor: Sequence[float]
    bar: float | None = None
    unit: str = "s"
    checks: Mapping[str, bool] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Of the best runs."""
        return min(self.ours) / min(self.floor)

    @property
    def is_met(self) -> bool:
        """Whether the bar, where there is one, and every check are kept."""
        return (self.bar is None or self.ratio <= self.bar) and all(self.checks.values())

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "name": self.name,
            "what": self.what,
            "against": self.against,
            "unit": self.unit,
            "ours": _best_and_median(self.ours),
            "floor": _best_and_median(self.floor),
            "ratio": self.ratio,
            "ratio_of_medians": statistics.median(self.ours) / statistics.median(self.floor),
            "bar": self.bar,
            "checks": dict(self.checks),
            "figures": dict(self.figures),
            "met": self.is_met,
            "failed": None,
        }


@dataclass(frozen=True)
class FailedRow:
    """A row whose child broke off, and how."""

    name: str
    why: str
    is_met = False

    def as_json(self) -> dict[str, Any]:
        """Name and reason, for machines."""
        return {"name": self.name, "met": False, "failed": self.why}


Row = RatioRow | FailedRow


def speed_rows(name: str, measured: Mapping[str, Any]) -> list[Row]:
    """Rows of one config.

    Args:
        name: of the config.
        measured: what the child of kind ``"speed"`` wrote, see ``model_speed.measure_speed``.
    """
    rows: list[Row] = []
    if "inference" in measured:
        rows += _inference_rows(name, measured["inference"])
    if "training" in measured:
        rows += _training_rows(name, measured["training"])
    for choice, told in measured.get("options", {}).items():
        if "failed" in told:
            rows.append(FailedRow(f"{name} {choice}", told["failed"]))
            continue
        rows.append(
            RatioRow(
                name=f"{name} {choice}",
                what="as above, run with that option",
                against="the model as the package builds it, in float32",
                ours=told["seconds"],
                floor=told["plain"],
                figures=told["figures"],
            )
        )
    return rows


def memory_row(name: str, few: Mapping[str, Any], many: Mapping[str, Any]) -> RatioRow:
    """Peak memory of a tile dense with detections against that of an ordinary one, each of its own process.

    Args:
        name: of the config.
        few: what the child of kind ``"memory"`` wrote for the smaller number of detections.
        many: the same for the larger.
    """
    return RatioRow(
        name=f"{name} memory",
        what=f"one pair with {many['detections']:.0f} detections, both PNGs written; {few['memory_is']}",
        against=f"the same with {few['detections']:.0f} detections",
        ours=[many["mib"]],
        floor=[few["mib"]],
        bar=MEMORY_BAR,
        unit="MiB",
    )


def table(rows: Sequence[Row]) -> str:
    """Text of all rows: best and, in brackets, median of the runs; then what each row is."""
    head = ["row", "ours", "against", "ratio", "bar", "met"]
    text = [aligned([head, *(_cells(row) for row in rows if isinstance(row, RatioRow))], "<>")]
    text += [f"{row.name}: failed, {row.why}" for row in rows if isinstance(row, FailedRow)]
    for row in rows:
        if isinstance(row, RatioRow):
            text += ["", f"{row.name}: {row.what}; {len(row.ours)} runs", f"  against: {row.against}"]
            text += [f"  {check}: {'yes' if holds else 'NO'}" for check, holds in row.checks.items()]
            text += [f"  {figure}: {value:.4g}" for figure, value in row.figures.items()]
    return "\n".join(text)


def stage_table(name: str, stages: Mapping[str, Mapping[str, float]]) -> str:
    """Seconds and share of each stage.

    Args:
        name: of the config.
        stages: model -> stage -> seconds a pair (an image for the stock model).
    """
    models = list(stages)
    parts = list(dict.fromkeys(part for model in models for part in stages[model]))
    lines = [[f"{name}, stage", *(cell for model in models for cell in (f"{model} s", "share"))]]
    totals = {model: sum(stages[model].values()) for model in models}
    for part in parts:
        cells = [part]
        for model in models:
            seconds = stages[model].get(part)
            cells += ["-", "-"] if seconds is None else _share(seconds, totals[model])
        lines.append(cells)
    lines.append(["all", *(cell for model in models for cell in (f"{totals[model]:.4f}", "100.0 %"))])
    return aligned(lines, "<>")


def _inference_rows(name: str, told: Mapping[str, Any]) -> list[Row]:
    seconds, found = told["seconds"], told["detections"]
    rows: list[Row] = [
        RatioRow(
            name=f"{name} inference",
            what=f"{told['what']}, both images, to the two PNGs of the submission, as tools/infer.py runs it:"
            " BatchNorm folded",
            against="detectron2's Mask R-CNN of the same backbone and weights, as it comes, on the pre image,"
            " masks left in their boxes",
            ours=seconds[OURS],
            floor=seconds[STOCK],
            bar=INFERENCE_BAR,
            checks={"the stock model has every weight from ours": told["stock_is_ours"]},
            figures={
                "detections a tile, ours": found[OURS],
                "detections a tile, stock": found[STOCK],
                "ratio where the stock model pastes its masks into the tile": min(seconds[OURS])
                / min(seconds[PASTED]),
                "ratio where BatchNorm is folded in the stock model too": min(seconds[OURS])
                / min(seconds[FOLDED]),
            },
        ),
        RatioRow(
            name=f"{name} post-processing",
            what="from the model's output to the two PNGs",
            against="the whole pair",
            ours=seconds[POST],
            floor=seconds[OURS],
            bar=POSTPROCESSING_BAR,
        ),
    ]
    if PEER in seconds:
        rows.append(
            RatioRow(
                name=f"{name} inference / peer",
                what="as above",
                against=f"the semantic peer {told['peer']} on the same pair, to its two PNGs",
                ours=seconds[OURS],
                floor=seconds[PEER],
            )
        )
    return rows


def _training_rows(name: str, told: Mapping[str, Any]) -> list[Row]:
    seconds = told["seconds"]
    rows: list[Row] = [
        RatioRow(
            name=f"{name} training",
            what=f"an iteration: forward, backward and optimiser step, {told['what']}",
            against="the stock model on the pre images of the same crops",
            ours=seconds[OURS],
            floor=seconds[STOCK],
            bar=TRAINING_BAR,
        )
    ]
    if PEER in seconds:
        rows.append(
            RatioRow(
                name=f"{name} training / peer",
                what="as above",
                against=f"an iteration of the semantic peer, {told['peer_what']}",
                ours=seconds[OURS],
                floor=seconds[PEER],
            )
        )
    return rows


def _best_and_median(values: Sequence[float]) -> dict[str, Any]:
    return {"best": min(values), "median": statistics.median(values), "runs": list(values)}


def _cells(row: RatioRow) -> list[str]:
    digits = 0 if row.unit == "MiB" else 4
    measured = [
        f"{min(values):.{digits}f} ({statistics.median(values):.{digits}f}) {row.unit}"
        for values in (row.ours, row.floor)
    ]
    bar = "-" if row.bar is None else f"{row.bar:.2f}"
    return [row.name, *measured, f"{row.ratio:.3f}", bar, "yes" if row.is_met else "NO"]


def _share(seconds: float, total: float) -> list[str]:
    return [f"{seconds:.4f}", f"{100 * seconds / total:.1f} %" if total else "-"]
