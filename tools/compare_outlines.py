#!/usr/bin/env python
"""Compares outlines, fill rules and ways to set the damage inside under the official score, in one table.

Every instance that tools/infer.py found is drawn as its mask, and as its exact, its simplified and its
right-angled outline, with its own damage, the majority of the damage PNG's pixels inside, or its class
probabilities in proportion; by the official fill rule, by COCO's pixel centres, and eroded by half a pixel.
Intervals are bootstrapped over tiles, and each form is compared with the masks draw by draw.

Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det.arguments import named_path, positive, report_file
from skyeye_det.errors import run_command
from skyeye_det.evaluation.bootstrap import Resampling
from skyeye_det.evaluation.outline_table import compare_outlines, format_outlines
from skyeye_det.evaluation.submission_score import ScoreOptions
from skyeye_det.files import write_json


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--predictions", type=named_path, required=True, help="output folder of tools/infer.py"
    )
    parser.add_argument(
        "--xbd-root", type=named_path, required=True, help="xBD root whose labels are the truth"
    )
    parser.add_argument("--splits", nargs="+", help="only these splits (default: all that are there)")
    parser.add_argument(
        "--score-threshold",
        type=float,
        metavar="S",
        help="instances below it are not drawn (default: the score from which they were painted)",
    )
    parser.add_argument(
        "--tolerance", type=float, default=1.0, metavar="PX", help="of simplified outlines (default: 1)"
    )
    parser.add_argument(
        "--draws", type=int, default=1000, help="sets of tiles drawn for the intervals (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--json", type=report_file, help="write the report to this file too")
    parser.add_argument(
        "--workers", type=positive, default=1, help="processes; more than one blur the seconds (default: 1)"
    )
    return parser.parse_args()


def main() -> None:
    """Runs the command."""
    arguments = parse_arguments()
    report = compare_outlines(
        arguments.predictions,
        arguments.xbd_root,
        arguments.splits,
        arguments.tolerance,
        arguments.workers,
        ScoreOptions(arguments.score_threshold, Resampling(arguments.draws, arguments.seed)),
    )
    print(format_outlines(report))
    if arguments.json:
        write_json(arguments.json, report, pretty=True)


if __name__ == "__main__":
    run_command(main)
