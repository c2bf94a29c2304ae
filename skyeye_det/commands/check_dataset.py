"""Lists every fault of an xBD root, worst first, with what is done about each; see datasets/README.md.

Exit codes, by the worst fault: 0 none, or notes only; 1 warnings; 3 errors. 2 wrong input: no such root or
split; 130 interrupted; 143 terminated. Nothing in the root is changed.
"""

import argparse

from skyeye_det.arguments import command_parser, named_path, positive, report_file, whole
from skyeye_det.data.dataset_check import check_dataset, check_json, check_table, exit_code
from skyeye_det.files import write_json


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--xbd-root", type=named_path, required=True, help="folder with <split>/images and <split>/labels"
    )
    parser.add_argument("--splits", nargs="+", help="folders below it (default: all that are there)")
    parser.add_argument(
        "--images",
        choices=("pixels", "headers"),
        default="pixels",
        help="decode every image, or read the headers alone, which is several times faster",
    )
    parser.add_argument("--limit", type=whole, default=50, help="faults named in the table (default: 50)")
    parser.add_argument("--json", type=report_file, help="write all faults to this file too")
    parser.add_argument(
        "--workers", type=positive, help="processes (default: one for each 50 pairs, at most one a CPU)"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Checks and prints the table."""
    args = parse_arguments(arguments)
    check = check_dataset(args.xbd_root, args.splits, args.workers, decode=args.images == "pixels")
    print(check_table(check, args.limit))
    if args.json:
        write_json(args.json, check_json(check), pretty=True)
    return exit_code(check)
