"""Writes xBD tiles as GeoTIFFs and their labels as a GeoPackage: scenes whose buildings are known.

  skyeye georeference --xbd-root DIR --splits val --output DIR

DIR/pre and DIR/post hold a GeoTIFF a tile, DIR/truth.gpkg the outlines with their grades. A tile without
buildings has no place of its own and is named.
Exit codes: 0 done, 1 done but for tiles that are named, 2 wrong input, 130 interrupted, 143 terminated.
"""

import sys

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.errors import printable
from skyeye_det.evaluation.truth import labelled_scenes
from skyeye_det.scene.georeference import georeference


def main(arguments: list[str]) -> int:
    """Georeferences the tiles of splits."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--xbd-root", type=named_path, required=True, metavar="DIR", help="root of the splits"
    )
    parser.add_argument("--splits", nargs="+", required=True, help="folders below it")
    parser.add_argument("--output", type=named_path, required=True, metavar="DIR", help="folder to write to")
    args = parser.parse_args(arguments)
    placed, left = georeference(labelled_scenes(args.xbd_root, args.splits), args.output)
    for reason in left.values():
        print(f"not georeferenced: {printable(reason)}", file=sys.stderr)
    worst = max(max(each.errors) for each in placed)
    print(f"{len(placed)} pairs in {args.output}; vertices lie within {worst:.2f} px of their places")
    return 1 if left else 0
