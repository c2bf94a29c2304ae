#!/usr/bin/env python
"""Converts splits of an xBD root to COCO files xbd_<split>.json; see datasets/README.md.

Exit codes: 0 done, 2 wrong input, or a fault under --strict.
"""

import argparse
from pathlib import Path

from skyeye_det.data.coco import convert_split, summary_table
from skyeye_det.errors import run_command


def parse_arguments() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--xbd-root", type=Path, required=True, help="folder with <split>/images and <split>/labels"
    )
    parser.add_argument("--splits", nargs="+", required=True, help="folders below it, such as train tier3")
    parser.add_argument(
        "--output", type=Path, help="folder of the COCO files (default: <xbd-root>/annotations)"
    )
    parser.add_argument("--strict", action="store_true", help="treat any fault in the data as an error")
    parser.add_argument(
        "--workers", type=_positive, help="reading processes (default: one for each 250 pairs)"
    )
    return parser.parse_args()


def main() -> None:
    """Converts and prints the table."""
    arguments = parse_arguments()
    output = arguments.output or arguments.xbd_root / "annotations"
    summaries = [
        convert_split(arguments.xbd_root, split, output, strict=arguments.strict, workers=arguments.workers)
        for split in arguments.splits
    ]
    print(summary_table(summaries))


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, found {value}")
    return value


if __name__ == "__main__":
    run_command(main)
