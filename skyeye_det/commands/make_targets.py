"""Writes the target PNGs that splits of an xBD root come without, or compares those that exist.

Targets follow the official fill rule: <split>/targets/<scene>_pre_disaster_target.png is localization 0/1,
<scene>_post_disaster_target.png damage 0..4. PNGs that exist are left alone: a killed run is taken up by the
same command. Exit codes: 0 done, 1 a pair left without targets, or under --check a target that differs by
more than --tolerance pixels or cannot be compared, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det.arguments import named_path, positive, report_file, whole
from skyeye_det.data.validation import LARGEST_TARGET_DIFFERENCE as TOLERANCE
from skyeye_det.files import write_json
from skyeye_det.xview2.target_check import check_targets, checked_table
from skyeye_det.xview2.target_images import made_table, make_targets


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--xbd-root", type=named_path, required=True, help="folder with <split>/images and <split>/labels"
    )
    parser.add_argument("--splits", nargs="+", required=True, help="folders below it, such as tier3")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--overwrite", action="store_true", help="paint PNGs that exist anew, official ones too")
    how.add_argument("--check", action="store_true", help="compare the PNGs that exist; nothing is written")
    parser.add_argument(
        "--tolerance", type=whole, help=f"with --check: px that may differ in a PNG (default: {TOLERANCE})"
    )
    parser.add_argument(
        "--scorer-names",
        type=named_path,
        help="folder for the official scorer: test_localization_00000_target.png",
    )
    parser.add_argument("--workers", type=positive, help="processes (default: one for each 50 pairs)")
    parser.add_argument("--json", type=report_file, help="write the result to this file too")
    arguments = parser.parse_args(arguments)
    if arguments.tolerance is not None and not arguments.check:
        parser.error("--tolerance goes with --check")
    if arguments.scorer_names and (arguments.check or len(arguments.splits) > 1):
        parser.error("--scorer-names goes with one split and without --check")
    return arguments


def main(arguments: list[str]) -> int:
    """Runs the command."""
    arguments = parse_arguments(arguments)
    return _check(arguments) if arguments.check else _make(arguments)


def _make(arguments: argparse.Namespace) -> int:
    results = [
        make_targets(
            arguments.xbd_root, split, arguments.workers, arguments.overwrite, arguments.scorer_names
        )
        for split in dict.fromkeys(arguments.splits)
    ]
    print(made_table(results))
    if arguments.json:
        write_json(arguments.json, {"splits": [result.as_json() for result in results]}, pretty=True)
    return int(any(result.has_findings for result in results))


def _check(arguments: argparse.Namespace) -> int:
    tolerance = TOLERANCE if arguments.tolerance is None else arguments.tolerance
    results = [
        check_targets(arguments.xbd_root, split, arguments.workers)
        for split in dict.fromkeys(arguments.splits)
    ]
    print(checked_table(results, tolerance))
    if arguments.json:
        splits = [result.as_json() for result in results]
        write_json(arguments.json, {"tolerance": tolerance, "splits": splits}, pretty=True)
    return int(any(result.has_findings(tolerance) for result in results))
