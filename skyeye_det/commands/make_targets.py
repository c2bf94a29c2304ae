"""Writes the target PNGs that splits of an xBD root come without, or compares those that exist.

Targets follow the official fill rule: <split>/targets/<scene>_pre_disaster_target.png is localization 0/1,
<scene>_post_disaster_target.png damage 0..4. PNGs that exist are left alone: a killed run is taken up by the
same command. Exit codes: 0 done, 1 a pair left without targets, or under --check a target that differs by
more than --tolerance pixels or cannot be compared, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
from collections import Counter

from skyeye_det.arguments import command_parser, named_path, positive, report_file, whole
from skyeye_det.data.validation import LARGEST_TARGET_DIFFERENCE as TOLERANCE
from skyeye_det.data.validation import FaultKind, fault_table
from skyeye_det.files import write_json
from skyeye_det.text_table import aligned
from skyeye_det.xview2.targets import TargetsChecked, TargetsMade, check_targets, make_targets, worst_first

_SHOWN = 50  # lines of a table at most; --json has the rest


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Command line of the tool."""
    parser = command_parser(__doc__)
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
    args = parser.parse_args(arguments)
    if args.tolerance is not None and not args.check:
        parser.error("--tolerance goes with --check")
    if args.scorer_names and (args.check or len(args.splits) > 1):
        parser.error("--scorer-names goes with one split and without --check")
    return args


def main(arguments: list[str]) -> int:
    """Runs the command."""
    args = parse_arguments(arguments)
    return _check(args) if args.check else _make(args)


def _make(args: argparse.Namespace) -> int:
    results = [
        make_targets(args.xbd_root, split, args.workers, args.overwrite, args.scorer_names)
        for split in dict.fromkeys(args.splits)
    ]
    print(made_table(results))
    if args.json:
        write_json(args.json, {"splits": [result.as_json() for result in results]}, pretty=True)
    return int(any(result.left_out for result in results))


def _check(args: argparse.Namespace) -> int:
    tolerance = TOLERANCE if args.tolerance is None else args.tolerance
    results = [check_targets(args.xbd_root, split, args.workers) for split in dict.fromkeys(args.splits)]
    print(checked_table(results, tolerance))
    if args.json:
        splits = [result.as_json() for result in results]
        write_json(args.json, {"tolerance": tolerance, "splits": splits}, pretty=True)
    return int(any(result.has_findings(tolerance) for result in results))


def made_table(results: list[TargetsMade]) -> str:
    """Counts by split, the pairs without targets, and the faults that were mended by their rule."""
    rows: list[tuple[str, ...]] = [("split", "pairs", "painted", "copied", "kept", "left out")]
    for made in results:
        counts = (made.pairs, made.painted, made.copied, made.kept, len({f.scene for f in made.left_out}))
        rows.append((made.split, *map(str, counts)))
    lines = [aligned(rows, "<")]
    left_out = [fault for made in results for fault in made.left_out]
    lines += [f"  {fault}" for fault in left_out[:_SHOWN]]
    if len(left_out) > _SHOWN:
        lines.append(f"  ... and {len(left_out) - _SHOWN} more; --json writes them all")
    mended = sum((Counter(made.mended) for made in results), start=Counter())
    if mended:
        lines.append(fault_table({kind: mended[kind.value] for kind in FaultKind if mended[kind.value]}))
    return "\n".join(lines)


def checked_table(results: list[TargetsChecked], tolerance: int = TOLERANCE) -> str:
    """Every PNG that differs, the worst first, and counts by split."""
    differences = worst_first(each for result in results for each in result.differences)
    rows = [("pixels", "kind", "target", "first pixel, or why not compared")]
    rows += [
        ("-" if d.pixels is None else str(d.pixels), d.kind, d.file, d.detail) for d in differences[:_SHOWN]
    ]
    lines = [aligned(rows, "<")] if differences else []
    if len(differences) > _SHOWN:
        lines.append(f"... and {len(differences) - _SHOWN} more; --json writes them all")
    lines += [
        f"{result.split}: {result.compared} targets compared, {result.identical} identical, worst "
        f"{result.worst} px of {tolerance} allowed; {result.absent} absent"
        for result in results
    ]
    return "\n".join(lines)
