"""Draws a made-up georeferenced scene for skyeye assess, with known buildings; needs no licence.

  skyeye sample-scene --output DIR
  skyeye assess --pre DIR/pre --post DIR/post.tif --output OUT

DIR/pre holds four GeoTIFFs of the scene before, DIR/post.tif the scene after: in another projection, a known
shift off its place, with missing data along an edge and a cloud. DIR/truth.gpkg holds the outlines with their
grades; null where the scene after shows less than half of a building. DIR/sample.json says what was made.
The same seed and size give the same scene. A killed run is begun anew by the same command.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.scene.made_up import make_scene


def main(arguments: list[str]) -> None:
    """Draws the scene."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--output", type=named_path, required=True, metavar="DIR", help="folder to write to: empty or new"
    )
    parser.add_argument(
        "--size", type=int, default=4096, help="edge of the scene, px of half a metre (default: 4096)"
    )
    parser.add_argument("--seed", type=int, default=0, help="0 or more (default: 0)")
    args = parser.parse_args(arguments)
    count = make_scene(args.output, args.size, args.seed)
    print(f"{args.output}: " + ("holds this scene already" if count is None else f"{count} buildings"))
