"""Scores predictions by the official xView2 formula, per event, and building by building.

The truth: target PNGs, named as the scorer or as the download names them, or an xBD root's labels. Single
buildings are scored against labels: the instances that tools/infer.py wrote beside the PNGs, with the mask AP
of them and of the candidates that its rule left out, or, where there are none, the components of the
localization PNGs. Intervals are bootstrapped over tiles.

Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det.arguments import command_parser, named_path, positive, report_file
from skyeye_det.evaluation.report_table import format_report
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.files import write_json
from skyeye_det.xview2.bootstrap import Resampling


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--predictions", type=named_path, required=True, help="folder of both PNGs of every tile"
    )
    truth = parser.add_mutually_exclusive_group(required=True)
    truth.add_argument(
        "--targets", type=named_path, help="folder of target PNGs, a split folder or an xBD root"
    )
    truth.add_argument("--xbd-root", type=named_path, help="xBD root whose labels are the truth")
    parser.add_argument("--splits", nargs="+", help="only these splits (default: all that are there)")
    parser.add_argument(
        "--draws", type=int, default=1000, help="sets of tiles drawn for the intervals (default: 1000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    parser.add_argument("--json", type=report_file, help="write the report to this file too")
    parser.add_argument("--workers", type=positive, default=2, help="tiles read at a time (default: 2)")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    args = parse_arguments(arguments)
    report = score_submission(
        args.predictions,
        args.targets,
        args.xbd_root,
        args.splits,
        args.workers,
        Resampling(args.draws, args.seed),
    )
    print(format_report(report))
    if args.json:
        write_json(args.json, report, pretty=True)
