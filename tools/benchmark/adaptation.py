#!/usr/bin/env python
"""Compares ways to adapt a model to an event that it has not learnt from, by how many labels there are.

    python tools/benchmark/adaptation.py --event michael PREDICTIONS XBD_ROOT --csv table.csv

--event, which can be given again, names a folder of tools/infer.py and the root with its labels. Labels are
drawn from one half of an event's tiles and judged on the other, 20 times; and, as `skyeye review --sample`
draws them, from all tiles, judged on all other buildings. Each line of the table is such a place of
judgement, a way to draw, a number of labels and a method: mean, 5th and 95th percentile over the draws.

Draws: random; balanced, suggested: half of the labels at random, 10 at least, the others by their true
grades, or uncertain, unlike those labelled and spread over the tiles: these count as picked. Methods: none;
prior; features (held to the model); adapt (which of these `skyeye adapt` chooses); probe (the regression on
features, without the model's answer); neighbours (five, and the model's answer as a sixth). All buildings
that were found and have a true grade count; grades are those of the rule.
"""

import argparse
import csv
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from events import Event, event_parser, named_events
from skyeye_det.arguments import named_path, positive
from skyeye_det.decision.adaptation import (
    FEATURES,
    LEAST_LABELS,
    NONE,
    PRIOR,
    Adaptation,
    Labels,
    choose,
    fit,
)
from skyeye_det.decision.calibration import Reliability
from skyeye_det.decision.label_groups import random_groups
from skyeye_det.errors import run_command
from skyeye_det.evaluation.buildings import damage_figures
from skyeye_det.evaluation.suggestion import suggest
from skyeye_det.files import whole_file

COUNTS = (10, 30, 100, 300)
DRAWS = ("random", "balanced", "suggested")
TILES, BUILDINGS = JUDGED = ("tiles", "buildings")
"""Judged on other tiles, or on other buildings of the same tiles too."""

Answers = dict[str, Callable[[np.ndarray], np.ndarray]]
"""Method -> probabilities (K, 4) of buildings' numbers (K,)."""

GROUPS = 8
NEIGHBOURS = 5
FIGURES = ("log_loss", "ece", "totals_error", "macro_f1", "harmonic_f1")


def drawn(
    how: str, judged_on: str, event: Event, there: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[Labels, list[int]]:
    """Draws labels among the buildings ``there``; gives their numbers too."""
    order = generator.permutation(there)
    sampled = count if how == "random" else max(count // 2, LEAST_LABELS)
    chosen = order[:sampled].tolist()
    if how == "balanced":
        chosen += _balanced(event, chosen, order[sampled:], count)
    elif how == "suggested":
        chosen += _suggested(event, chosen, order[sampled:], count)
    groups = random_groups(len(chosen))
    if judged_on == TILES:  # whole tiles are left out
        groups = generator.permutation(int(event.tiles.max()) + 1)[event.tiles[chosen]] % GROUPS
    is_sampled = np.arange(len(chosen)) < sampled
    labels = Labels(event.probs[chosen], event.grades[chosen], groups, is_sampled, event.features[chosen])
    return labels, chosen


def _balanced(event: Event, chosen: list[int], others: np.ndarray, count: int) -> list[int]:
    """Of the grade that has the fewest labels, as long as there are others of it."""
    left = {grade: others[event.grades[others] == grade].tolist() for grade in range(4)}
    sizes = np.bincount(event.grades[chosen], minlength=4)
    found: list[int] = []
    while len(chosen) + len(found) < count and any(left.values()):
        grade = min((each for each in left if left[each]), key=lambda each: sizes[each])
        found.append(left[grade].pop())
        sizes[grade] += 1
    return found


def _suggested(event: Event, chosen: list[int], others: np.ndarray, count: int) -> list[int]:
    """As `skyeye review --suggest`; all tiles are equally far from each other."""
    numbers = np.concatenate([np.array(chosen, np.int64), others])
    tiles = np.unique(event.tiles[numbers], return_inverse=True)[1]
    found = suggest(
        event.probs[numbers],
        event.features[numbers],
        np.eye(int(tiles.max()) + 1)[tiles],
        np.arange(len(numbers)) < len(chosen),
        count - len(chosen),
    )
    return numbers[found].tolist()


def methods(event: Event, labels: Labels) -> Answers:
    """Those that need no look at an image."""

    def by(adaptation: Adaptation) -> Callable[[np.ndarray], np.ndarray]:
        return lambda numbers: adaptation.apply(event.probs[numbers], event.features[numbers])

    uniform = np.full_like(labels.probs, 0.25)
    probe = fit(FEATURES, replace(labels, probs=uniform), event.features)

    def probed(numbers: np.ndarray) -> np.ndarray:
        return probe.apply(np.full((len(numbers), 4), 0.25), event.features[numbers])

    def neighbours(numbers: np.ndarray) -> np.ndarray:
        assert labels.features is not None
        known, others = labels.features.astype(np.float32), event.features[numbers].astype(np.float32)
        away = (others**2).sum(axis=1)[:, None] - 2 * others @ known.T + (known**2).sum(axis=1)
        nearest = np.argsort(away, axis=1)[:, :NEIGHBOURS]
        votes = np.eye(4)[labels.grades][nearest].sum(axis=1) + event.probs[numbers]
        return votes / votes.sum(axis=1, keepdims=True)

    return {
        "none": by(Adaptation()),
        "prior": by(fit(PRIOR, labels, event.features)),
        "features": by(fit(FEATURES, labels, event.features)),
        "adapt": by(choose(labels, event.features).adaptation),
        "probe": probed,
        "neighbours": neighbours,
    }


def judged(event: Event, numbers: np.ndarray, probs: np.ndarray) -> list[float]:
    """``FIGURES``; the error of the totals is the sum of the grades' differences a building."""
    grades = event.grades[numbers]
    report = Reliability.of(probs, grades).report()
    found = event.rule.graded(probs)
    confusion = np.zeros((4, 4), np.int64)
    np.add.at(confusion, (grades, found), 1)
    damage = damage_figures(confusion)
    totals = np.abs(probs.sum(axis=0) - np.bincount(grades, minlength=4)).sum() / len(grades)
    return [report["nll"], report["ece"], float(totals), damage["macro_f1"], damage["harmonic_f1"]]


def study(
    event: Event,
    draws: int,
    more: Callable[[Labels, list[int]], Answers] = lambda *_: {},
    ways: Sequence[str] = DRAWS,
    counts: Sequence[int] = COUNTS,
) -> Iterator[dict[str, object]]:
    """Rows of the table: of ``methods`` and of those that ``more`` makes of labels and their numbers."""
    for judged_on, how, count in itertools.product(JUDGED, ways, counts):
        figures: dict[str, list[list[float]]] = {}
        for seed in range(draws):
            generator = np.random.default_rng(seed)
            tiles = generator.permutation(np.unique(event.tiles))
            some = tiles if judged_on == BUILDINGS else tiles[: len(tiles) // 2]
            is_open = np.isin(event.tiles, some)
            if is_open.sum() < count + LEAST_LABELS:
                continue
            labels, chosen = drawn(how, judged_on, event, np.flatnonzero(is_open), count, generator)
            others = np.flatnonzero(~is_open)
            if judged_on == BUILDINGS:
                others = np.setdiff1d(np.arange(len(event.grades)), chosen)
            answers = methods(event, labels) | more(labels, chosen)
            for name, answer in answers.items():
                figures.setdefault(name, []).append(judged(event, others, answer(others)))
        for name, rows in figures.items():
            values = np.array(rows)
            changed = values - np.array(figures[NONE])
            row: dict[str, object] = {"event": event.name, "judged_on": judged_on, "drawn": how}
            row |= {"labels": count, "method": name, "draws": len(rows)}
            for each, column, change in zip(FIGURES, values.T, changed.T, strict=True):
                low, high = np.nanpercentile(column, [5, 95])
                row |= {each: f"{np.nanmean(column):.4f}", f"{each}_low": f"{low:.4f}"}
                row |= {f"{each}_high": f"{high:.4f}", f"{each}_change": f"{np.nanmean(change):.4f}"}
            yield row


def write_table(
    path: str, events: Iterable[Event], rows: Callable[[Event], Iterable[dict[str, object]]]
) -> None:
    """Writes and prints the rows of every event."""
    with whole_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = None
        for event in events:
            by_grade = np.bincount(event.grades, minlength=4).tolist()
            print(f"{event.name}: {len(event.grades)} buildings, {by_grade}")
            for row in rows(event):
                writer = writer or csv.DictWriter(file, list(row))
                if not file.tell():
                    writer.writeheader()
                writer.writerow(row)
                told = "  ".join(f"{figure} {row[figure]}" for figure in FIGURES)
                print(
                    f"{row['judged_on']:10}{row['drawn']:10}{row['labels']:>4} {row['method']:11}{told}",
                    flush=True,
                )


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Of a study: events, draws and the table."""
    parser = event_parser(description)
    parser.add_argument("--draws", type=positive, default=20, help="of labels (default: 20)")
    parser.add_argument("--csv", type=named_path, required=True, metavar="FILE", help="where the table goes")
    return parser


def main() -> None:
    """Reads the events, and writes and prints the table."""
    given = command_line(__doc__).parse_args()
    write_table(given.csv, map(Event.graded, named_events(given)), partial(study, draws=given.draws))


if __name__ == "__main__":
    run_command(main)
