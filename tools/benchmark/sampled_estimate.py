#!/usr/bin/env python
"""How often the intervals of `skyeye review --sample` hold the truth, on events with labels.

    python tools/benchmark/sampled_estimate.py --event michael PREDICTIONS XBD_ROOT

--event, which can be given again, names a folder of tools/infer.py and the root with its labels. Buildings
that the model predicted are sampled and answered by their labels; one without a true building at an IoU of
0.5 is none. Un-classified ones are left out. Each line: share of the samples whose 90 % interval holds the
true number of each grade, of buildings, and the model's accuracy; then how wide these are beside a simple
random sample of as many buildings (Wilson's interval at the truth).
"""

import numpy as np

from events import NO_BUILDING, Event, event_parser, named_events
from skyeye_det.arguments import positive
from skyeye_det.errors import run_command
from skyeye_det.evaluation.check_estimate import NOT_A_BUILDING, CheckSample, estimate, wilson
from skyeye_det.evaluation.check_sample import draw, strata

SIZES = (100, 200)
FIGURES = ("no-damage", "minor", "major", "destroyed", "buildings", "accuracy")


def coverage_and_width(event: Event, size: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Share of samples that hold the truth, and mean width beside a simple sample's, of each figure."""
    truth = np.where(event.grades == NO_BUILDING, NOT_A_BUILDING, event.grades)
    labelled = event.rule.graded(event.probs)
    counts = np.array([(truth == grade).sum() for grade in range(4)])
    true = np.array([*counts, counts.sum(), (truth == labelled).mean()])
    stratum = strata(labelled, event.probs, size)
    sizes = np.bincount(stratum)
    sums = np.zeros((len(sizes), 4))
    np.add.at(sums, stratum, event.probs)
    hits, width = np.zeros(len(FIGURES)), np.zeros(len(FIGURES))
    for seed in range(samples):
        chosen = draw(stratum, size, seed)
        own = stratum[chosen]
        found = estimate(CheckSample(own, sizes[own], event.probs[chosen], sums[own]), truth[chosen])
        assert found is not None
        ends = np.array([each[1:] for each in (*found.counts, found.buildings, found.accuracy)])
        hits += (ends[:, 0] <= true + 1e-9) & (true - 1e-9 <= ends[:, 1])
        width += ends[:, 1] - ends[:, 0]
    scale = np.array([len(truth)] * 5 + [1])
    simple = np.array([np.subtract(*wilson(share, size)[::-1]) for share in true / scale]) * scale
    return hits / samples, width / samples / simple


def main() -> None:
    """Prints the shares and widths of each event and size of sample."""
    parser = event_parser(__doc__)
    parser.add_argument("--samples", type=positive, default=500, help="of each size (default: 500)")
    given = parser.parse_args()
    for predicted in named_events(given):
        event = predicted.of((predicted.grades >= 0) | (predicted.grades == NO_BUILDING))
        false = int((event.grades == NO_BUILDING).sum())
        print(f"{event.name}: {len(event.grades)} predicted, {false} no buildings")
        for size in SIZES:
            figures = coverage_and_width(event, size, given.samples)
            for what, row in zip(("coverage", "width"), figures, strict=True):
                told = "  ".join(f"{figure} {value:.3f}" for figure, value in zip(FIGURES, row, strict=True))
                print(f"{size:>5} {what:9}{told}", flush=True)


if __name__ == "__main__":
    run_command(main)
