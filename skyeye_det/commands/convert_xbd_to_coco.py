r"""Converts splits of an xBD root, or new splits of its tiles, to COCO files; see datasets/README.md.

  python tools/convert_xbd_to_coco.py --xbd-root DIR --splits train tier3
  python tools/convert_xbd_to_coco.py --xbd-root DIR --splits train tier3 --split-by random \
      --fractions train=.8,val=.1,test=.1 --seed 0
  python tools/convert_xbd_to_coco.py --xbd-root DIR --splits train tier3 --leave-one-event-out
  python tools/convert_xbd_to_coco.py --xbd-root DIR --split-file FILE

Exit codes: 0 done, faults handled and listed; 2 wrong input, or a fault under --strict; 130 interrupted;
143 terminated.
"""

import argparse

from skyeye_det.arguments import command_parser, named_path, positive, report_file
from skyeye_det.data.conversion import ConversionOptions, convert_xbd


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Command line of the tool."""
    parser = command_parser(__doc__)
    add = parser.add_argument
    add("--xbd-root", type=named_path, required=True, help="folder with <split>/images and <split>/labels")
    add("--splits", nargs="+", default=[], help="folders below it, such as train tier3")
    add("--output", type=named_path, help="folder of the COCO files (default: <xbd-root>/annotations)")
    add("--strict", action="store_true", help="treat any fault graver than a note as an error")
    add("--workers", type=positive, help="reading processes (default: one for each 250 pairs)")
    add(
        "--json",
        type=report_file,
        metavar="FILE",
        help="write counts, faults by kind and files written as JSON",
    )
    new = parser.add_argument_group("a new split of the tiles of these folders")
    new.add_argument(
        "--split-by",
        choices=("random", "event", "location"),
        help="keep nothing but buildings together, whole events, or neighbouring tiles",
    )
    new.add_argument("--fractions", help="of each new part, such as train=.8,val=.1,test=.1")
    new.add_argument("--seed", type=int, help="of the new split (default: 0)")
    new.add_argument(
        "--name", help="files are xbd_<name>-<part>.json (default: random, events, location; event)"
    )
    new.add_argument(
        "--distance", type=float, help="m; by location, tiles no further apart stay together (default: 100)"
    )
    new.add_argument(
        "--leave-one-event-out", action="store_true", help="one part an event, and a fold for each"
    )
    new.add_argument("--split-file", type=named_path, help="convert the parts of this split_<name>.json")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Converts and prints the report."""
    given = vars(parse_arguments(arguments))
    root, report_file = given.pop("xbd_root"), given.pop("json")
    options = ConversionOptions(folders=tuple(given.pop("splits")), **given)
    print(convert_xbd(root, options, report_file))
