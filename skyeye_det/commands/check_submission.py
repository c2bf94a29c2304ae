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


def parse_arguments(argv: list[str]) -> argparse.Namespace:
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
    arguments = parser.parse_args(argv)
    if arguments.splits and not arguments.images:
        parser.error("--splits goes with --images")
    if arguments.images and (arguments.size, arguments.prefix) != (1024, "test"):
        parser.error("--size and --prefix go without --images, which tell both")
    return arguments


def main(argv: list[str]) -> int:
    """Runs the command."""
    arguments = parse_arguments(argv)
    expected = None
    if arguments.images:
        expected = expected_from_images(arguments.images, arguments.splits)
    elif arguments.tiles is not None:
        expected = expected_tiles(arguments.tiles, arguments.prefix)
    check = check_submission(arguments.predictions, expected, (arguments.size, arguments.size))
    if expected is None and not check.tiles and not check.findings:
        raise InputError(f"{arguments.predictions}: expected prediction PNGs, found none; check the path")
    print(format_check(check))
    if expected is None:
        print("missing tiles cannot be known without --images or --tiles")
    if arguments.json:
        write_json(arguments.json, asdict(check), pretty=True)
    return 1 if check.findings else 0
