"""What became of a mutant, and the table of many."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sandbox import ROLES, Sandbox, leftovers

DONE, REPORTED, REFUSED, FAILED = "done", "mended and reported", "refused", "FAILED"
OUTCOMES = (DONE, REPORTED, REFUSED, FAILED)
LONGEST_SENTENCE = 1000
SECONDS = 5.0
MEGABYTES = 1024.0
"""Growth of the peak memory that a mutant may cause; the undamaged input needs less than one."""


@dataclass(frozen=True)
class Verdict:
    """Outcome of a mutant.

    Attributes:
        number: of the mutant.
        damage: kind of damage.
        role: of the file that was damaged.
        step: what was run.
        outcome: one of ``OUTCOMES``.
        text: the sentence of a refusal, or what failed.
        seconds: CPU time of the step.
        megabytes: growth of the peak memory.
    """

    number: int
    damage: str
    role: str
    step: str
    outcome: str
    text: str = ""
    seconds: float = 0.0
    megabytes: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """The same as a dict."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.number}: {self.damage} ({self.role}) -> {self.step}: {self.text}"


def fault_of_sentence(text: str, box: Sandbox, victim: Path) -> str | None:
    """What is wrong with the sentence of a refusal; None where nothing is."""
    if len(text) > LONGEST_SENTENCE:
        return f"a sentence of {len(text)} characters: {text[:200]!r}..."
    if bad := [sign for sign in text if not sign.isprintable()]:
        return f"a sentence with {bad[0]!r} in it: {text!r}"
    files = {path.name for folder, _ in ROLES.values() for path in (box.folder / folder).glob("*")}
    named = (str(box.folder), victim.name[:20], ascii(victim.name)[1:20], "train/", *files)
    if not text.startswith("--") and not any(name in text for name in named):
        return f"a sentence that names no file: {text!r}"
    return None


def fault_of_text(text: str) -> str | None:
    """What is wrong with a printed table; None where nothing is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"a table that cannot be printed ({error})"
    bad = {sign for sign in text if not sign.isprintable()} - {"\n"}
    return f"a table with {sorted(bad)} in it" if bad else None


def fault_of_files(
    box: Sandbox, output: Path, before: dict[Path, tuple[int, ...]], partial: set[Path]
) -> str | None:
    """A file changed or made beside the output folder, or left half-written; None where there is none.

    Args:
        box: after the step.
        output: where it may write.
        before: ``box.state(output)`` before the step.
        partial: half-written files that were there before.
    """
    after = box.state(output)
    if changed := [
        path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)
    ]:
        return f"{str(changed[0].relative_to(box.folder))!r} changed or made outside the output folder"
    if left := sorted(leftovers(output) - partial):
        return f"half-written {left[0].name!r} left in the output folder"
    return None


def outcome_table(verdicts: Iterable[Verdict]) -> str:
    """Table of outcomes by kind of damage, the sum last."""
    by_kind: dict[str, Counter[str]] = {}
    slowest: dict[str, float] = {}
    for verdict in verdicts:
        by_kind.setdefault(verdict.damage, Counter())[verdict.outcome] += 1
        slowest[verdict.damage] = max(slowest.get(verdict.damage, 0.0), verdict.seconds)
    rows = [["damage", "mutants", *OUTCOMES, "slowest, s"]]
    for damage, counts in (*sorted(by_kind.items()), ("all", sum(by_kind.values(), Counter()))):
        time = f"{slowest.get(damage, max(slowest.values(), default=0.0)):.2f}"
        rows.append([damage, str(counts.total()), *(str(counts[outcome]) for outcome in OUTCOMES), time])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows
    )
