#!/usr/bin/env python
"""Scores the damage head alone: every true building of a converted split is graded where it stands.

With --shifts the post images are moved, which shows what misregistration costs. Exit codes: 0 done, 2 wrong
input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det.arguments import named_path, report_file, whole
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import run_command
from skyeye_det.files import write_json


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", type=named_path, required=True, help="YAML of the model")
    parser.add_argument("--weights", required=True, help="checkpoint that training wrote")
    parser.add_argument("--dataset", default="xbd_val", help="name of a converted split (default: xbd_val)")
    parser.add_argument(
        "--shifts", type=whole, nargs="+", default=[0], help="px, such as 0 2 4 8 12 (default: 0)"
    )
    parser.add_argument(
        "--cross-fit",
        action="store_true",
        help="add a row, at shift 0, whose damage weights are tuned on the other tiles",
    )
    parser.add_argument("--json", type=report_file, help="write the rows to this file too")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... of the config")
    return parser.parse_args()


def main() -> None:
    """Runs the command."""
    arguments = parse_arguments()
    require_detectron2("grading")
    from skyeye_det.engine.footprint_score import format_footprint_scores, score_footprints

    rows = score_footprints(
        arguments.config_file,
        arguments.weights,
        arguments.dataset,
        arguments.shifts,
        arguments.opts,
        cross_fit=arguments.cross_fit,
    )
    print(format_footprint_scores(rows))
    if arguments.json:
        write_json(arguments.json, [row.as_dict() for row in rows], pretty=True)


if __name__ == "__main__":
    run_command(main)
