#!/usr/bin/env python
"""Measures speed and memory against floors taken on the same files in the same run.

Exit codes: 0 done, 1 done and a bar is missed, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
import tempfile
from pathlib import Path

from skyeye_det.arguments import report_file
from skyeye_det.benchmark.data_command import ROW_NAMES, run_data_benchmark
from skyeye_det.benchmark.settings import Settings
from skyeye_det.errors import run_command


def parse_arguments() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="conversion, scoring, targets, rasteriser and loader")
    data.add_argument(
        "--labels", type=Path, metavar="DIR", help="folder of xBD label pairs (default: --xbd-root's)"
    )
    data.add_argument(
        "--xbd-root",
        type=Path,
        metavar="DIR",
        help="root with PNG images and labels (default: made-up scenes)",
    )
    data.add_argument("--pairs", type=int, default=11034, help="label pairs to convert (default: 11034)")
    data.add_argument("--tiles", type=int, default=400, help="tiles to score and to paint (default: 400)")
    data.add_argument("--workers", type=int, default=2, help="processes or threads of a row (default: 2)")
    data.add_argument("--repeats", type=int, default=3, help="runs of each, the best counts (default: 3)")
    data.add_argument("--only", nargs="+", choices=ROW_NAMES, default=ROW_NAMES, help="rows to measure")
    data.add_argument(
        "--sample-size", type=int, default=1024, help="side of made-up scenes, px (default: 1024)"
    )
    data.add_argument(
        "--output", type=Path, metavar="DIR", help="where files are made and removed (default: /tmp)"
    )
    data.add_argument("--json", type=report_file, metavar="FILE", help="write the table here too")
    return parser.parse_args()


def main() -> int:
    """Measures and prints the table."""
    arguments = vars(parse_arguments())
    del arguments["command"]
    only, json_file = arguments.pop("only"), arguments.pop("json")
    arguments["output"] = arguments["output"] or Path(tempfile.gettempdir())
    text, met = run_data_benchmark(Settings(**arguments), only, json_file)
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    run_command(main)
