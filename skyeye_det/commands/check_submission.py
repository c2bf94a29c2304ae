"""Lists every missing, misnamed, mis-sized, mis-typed, mis-valued or unreadable file of a submission.

Exit codes: 0 done, 1 done with findings, 2 wrong input, 130 interrupted, 143 terminated. A note (damage
outside localization, values above 1 in it) is no finding.
"""

import argparse
from dataclasses import asdict

from skyeye_det.arguments import command_parser, named_path, positive, report_file, whole
from skyeye_det.errors import InputError
from skyeye_det.files import write_json
from skyeye_det.xview2.submission import PREFIXES
from skyeye_det.xview2.submission_check import (
    check_submission,
    expected_from_images,
    expected_tiles,
    format_check,
)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("predictions", type=named_path, help="folder of the submission's PNGs")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--images", type=named_path, help="xBD root, split or flat folder whose pairs must all be there"
    )
    what.add_argument("--tiles", type=whole, help="number of anonymous tiles, from 00000 on (xView2: 933)")
    parser.add_argument("--splits", nargs="+", help="with --images: only these splits")
    parser.add_argument(
        "--prefix", choices=PREFIXES, default=PREFIXES[0], help="with --tiles (default: test)"
    )
    parser.add_argument(
        "--size", type=positive, default=1024, help="side in px without --images (default: 1024)"
    )
    parser.add_argument("--json", type=report_file, help="write findings and notes to this file too")
    args = parser.parse_args(arguments)
    if args.splits and not args.images:
        parser.error("--splits goes with --images")
    if args.images and (args.size, args.prefix) != (1024, "test"):
        parser.error("--size and --prefix go without --images, which tell both")
    return args


def main(arguments: list[str]) -> int:
    """Runs the command."""
    args = parse_arguments(arguments)
    expected = None
    if args.images:
        expected = expected_from_images(args.images, args.splits)
    elif args.tiles is not None:
        expected = expected_tiles(args.tiles, args.prefix)
    check = check_submission(args.predictions, expected, (args.size, args.size))
    if expected is None and not check.tiles and not check.findings:
        raise InputError(f"{args.predictions}: expected prediction PNGs, found none; check the path")
    print(format_check(check))
    if expected is None:
        print("missing tiles cannot be known without --images or --tiles")
    if args.json:
        write_json(args.json, asdict(check), pretty=True)
    return 1 if check.findings else 0
