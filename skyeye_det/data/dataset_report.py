"""The faults of a data set as a table and as JSON, and the exit code that tells how bad they are."""

from collections import Counter
from typing import Any

from skyeye_det.data.dataset_check import DatasetCheck
from skyeye_det.data.validation import Severity, count_faults
from skyeye_det.errors import printable
from skyeye_det.text_table import aligned

FORMAT_VERSION = 1
"""Of the JSON; raised when a field changes its meaning."""

EXIT_CODES = {Severity.ERROR: 3, Severity.WARNING: 1, Severity.NOTE: 0}
"""Worst severity -> exit code; 0 without any fault, 2 stays for a command that cannot run."""


def exit_code(check: DatasetCheck) -> int:
    """Exit code for the worst of the faults: 0 none or notes, 1 warnings, 3 errors."""
    return max((EXIT_CODES[fault.kind.severity] for fault in check.faults), default=0)


def check_table(check: DatasetCheck, limit: int = 50) -> str:
    """Counts by kind with severity and rule, then the first faults by name.

    Args:
        check: what was found.
        limit: how many faults are named.
    """
    numbers = {"pair": check.pairs, "building": check.buildings} | _severities(check)
    sums = ", ".join(f"{count} {name}{'s' if count != 1 else ''}" for name, count in numbers.items())
    lines = [f"{', '.join(map(printable, check.splits))}: {sums}"]
    if not check.decoded:
        lines.append("images: headers only, no pixel was decoded")
    counts = sorted(count_faults(check.faults).items(), key=lambda entry: -EXIT_CODES[entry[0].severity])
    rows = [("severity", "count", "kind", "rule")]
    rows += [(kind.severity.value, str(count), kind.value, kind.rule) for kind, count in counts]
    if counts:
        lines += ["", aligned(rows, "<><"), ""]
    lines += [f"{fault.kind.severity.value}: {fault}" for fault in check.faults[:limit]]
    if (more := len(check.faults) - limit) > 0:
        lines.append(f"... and {more} more; --json writes them all")
    return "\n".join(lines)


def check_json(check: DatasetCheck) -> dict[str, Any]:
    """The same with all faults, as plain values: the content of ``--json``."""
    return {
        "version": FORMAT_VERSION,
        "root": printable(str(check.root)),
        "splits": [printable(split) for split in check.splits],
        "images": "pixels" if check.decoded else "headers",
        "pairs": check.pairs,
        "buildings": check.buildings,
        "severities": _severities(check),
        "counts": {
            kind.value: {"count": count, "severity": kind.severity.value, "rule": kind.rule}
            for kind, count in count_faults(check.faults).items()
        },
        "exit_code": exit_code(check),
        "faults": [fault.as_json() for fault in check.faults],
    }


def _severities(check: DatasetCheck) -> dict[str, int]:
    counts = Counter(fault.kind.severity for fault in check.faults)
    return {severity.value: counts[severity] for severity in Severity}
