"""A row of the benchmark's table, and the table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from skyeye_det.benchmark.measure import Cost

from skyeye_det.text_table import aligned


@dataclass(frozen=True)
class Row:
    """One thing measured against its bars.

    Attributes:
        name: short name, such as ``"conversion"``.
        what: what was done, how often, on what.
        floor_is: what ``floor`` did.
        ours: best cost of the package.
        floor: best cost of the floor, on the same files in the same run.
        bar: largest allowed ratio of the clock times.
        repeats: runs of each, of which the best counts.
        memory_mib: what ``memory_is`` says.
        memory_bar_mib: largest allowed.
        memory_is: how memory was measured.
        checks: what must hold besides -> whether it does.
        figures: further numbers, by name.
    """

    name: str
    what: str
    floor_is: str
    ours: Cost
    floor: Cost
    bar: float
    repeats: int
    memory_mib: float | None = None
    memory_bar_mib: float | None = None
    memory_is: str = ""
    checks: dict[str, bool] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Clock time of ours to the floor's."""
        return self.ours.wall / self.floor.wall

    @property
    def is_met(self) -> bool:
        """Whether time, memory and every check keep their bars."""
        within = (
            self.memory_mib is None or self.memory_bar_mib is None or self.memory_mib < self.memory_bar_mib
        )
        return self.ratio < self.bar and within and all(self.checks.values())

    def as_json(self) -> dict[str, Any]:
        """All of it, for machines."""
        return {
            "name": self.name,
            "what": self.what,
            "floor_is": self.floor_is,
            "seconds": {"ours": self.ours.wall, "floor": self.floor.wall},
            "cpu_seconds": {"ours": self.ours.cpu, "floor": self.floor.cpu},
            "ratio": self.ratio,
            "cpu_ratio": self.ours.cpu / self.floor.cpu if self.floor.cpu else None,
            "bar": self.bar,
            "best_of": self.repeats,
            "memory_mib": self.memory_mib,
            "memory_bar_mib": self.memory_bar_mib,
            "memory_is": self.memory_is,
            "checks": self.checks,
            "figures": self.figures,
            "met": self.is_met,
            "skipped": None,
        }


@dataclass(frozen=True)
class Skipped:
    """A row that could not be measured here, and why."""

    name: str
    why: str

    def as_json(self) -> dict[str, Any]:
        """Name and reason, for machines."""
        return {"name": self.name, "met": None, "skipped": self.why}


def table(rows: Sequence[Row | Skipped]) -> str:
    """Text of all rows: seconds by the clock and, in brackets, of CPU; then what each row is."""
    head = ["row", "ours s", "floor s", "ratio", "bar", "memory MiB", "bar", "met"]
    lines = [head, *(_cells(row) for row in rows if isinstance(row, Row))]
    text = [aligned(lines, ">")]
    text += [f"{row.name}: skipped, {row.why}" for row in rows if isinstance(row, Skipped)]
    for row in rows:
        if isinstance(row, Row):
            text += ["", *_notes(row)]
    return "\n".join(text)


def _cells(row: Row) -> list[str]:
    return [
        row.name,
        f"{row.ours.wall:.3f} ({row.ours.cpu:.3f})",
        f"{row.floor.wall:.3f} ({row.floor.cpu:.3f})",
        _number(row.ratio),
        _number(row.bar),
        "-" if row.memory_mib is None else f"{row.memory_mib:.1f}",
        "-" if row.memory_bar_mib is None else f"{row.memory_bar_mib:.0f}",
        "yes" if row.is_met else "NO",
    ]


def _number(ratio: float) -> str:
    """``1.25``; ``1/40`` below a tenth."""
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.1f}"


def _notes(row: Row) -> list[str]:
    notes = [f"{row.name}: {row.what}; best of {row.repeats}", f"  floor: {row.floor_is}"]
    if row.memory_is:
        notes.append(f"  memory: {row.memory_is}")
    notes += [f"  {name}: {'yes' if holds else 'NO'}" for name, holds in row.checks.items()]
    notes += [f"  {name}: {value:.4g}" for name, value in row.figures.items()]
    return notes
