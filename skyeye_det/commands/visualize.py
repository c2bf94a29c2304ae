"""Draws scenes as pre | post | truth | prediction: a PNG each, a contact sheet, a page to open from disk."""

import argparse
import sys

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.errors import InputError, printable
from skyeye_det.report.gallery import PanelLook
from skyeye_det.report.sources import SceneSource, scenes_of_coco, scenes_of_folder, scenes_of_xbd
from skyeye_det.report.visualize import ORDERS, SceneChoice, visualize

_EXAMPLES = """examples:
  python tools/visualize.py --xbd-root DIR --split val --output pictures --scenes hurricane-michael_00000447
  python tools/visualize.py --annotations DIR/annotations/xbd_val.json --predictions results --output pictures
  python tools/visualize.py --images DIR --predictions results --output pictures --order random --limit 10

Columns for which there is nothing (no labels, scene not predicted) are left out.
Exit codes: 0 done, 1 done but for scenes that are named, 2 wrong input, 130 interrupted, 143 terminated."""


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = command_parser(__doc__, _EXAMPLES)
    source = parser.add_argument_group("where scenes come from (one of --xbd-root, --annotations, --images)")
    source.add_argument(
        "--xbd-root", type=named_path, metavar="DIR", help="xBD root; images and labels, with --split"
    )
    source.add_argument("--split", metavar="NAME", help="train, tier3, test, hold, val")
    source.add_argument(
        "--annotations", type=named_path, metavar="FILE", help="xbd_<split>.json of convert_xbd_to_coco.py"
    )
    source.add_argument(
        "--images",
        type=named_path,
        metavar="DIR",
        help="folder of pairs; with --annotations the root of its file names",
    )
    source.add_argument("--predictions", type=named_path, metavar="DIR", help="output folder of infer.py")
    choice = parser.add_argument_group("which scenes")
    choice.add_argument(
        "--scenes", "--scene", nargs="+", default=[], metavar="NAME", help="these scenes only"
    )
    choice.add_argument("--limit", type=int, metavar="N", help="at most N scenes")
    choice.add_argument("--order", choices=ORDERS, default="name", help="worst: most wrong pixels first")
    choice.add_argument("--seed", type=int, default=0, help="of --order random")
    look = parser.add_argument_group("how they are drawn")
    look.add_argument(
        "--zoom", type=int, metavar="Z", help="whole enlargement (default: small images to 512 px)"
    )
    look.add_argument(
        "--crop", type=int, nargs=4, metavar=("X0", "Y0", "X1", "Y1"), help="part of each image, in px"
    )
    look.add_argument(
        "--background", choices=("post", "pre"), default="post", help="image under the outlines"
    )
    parser.add_argument("--scores", type=named_path, metavar="FILE", help="text shown above the pictures")
    parser.add_argument("--output", type=named_path, required=True, metavar="DIR", help="folder to write to")
    return parser.parse_args(arguments)


def scenes_of(args: argparse.Namespace) -> dict[str, SceneSource]:
    """Scenes of the one source of images that is given, by name.

    Raises:
        InputError: none given, more than one, or a root without its split.
    """
    if args.xbd_root and (args.annotations or args.images):
        raise InputError(
            "expected --xbd-root or --annotations or --images, found --xbd-root with another of them"
        )
    if args.xbd_root:
        if not args.xbd_root.is_dir():
            raise InputError(f"{args.xbd_root}: expected an xBD root, found no such folder; check the path")
        if not args.split:
            raise InputError(f"{args.xbd_root}: expected a split of it, found none; add --split val")
        return scenes_of_xbd(args.xbd_root, args.split)
    if args.annotations:
        return scenes_of_coco(args.annotations, args.images)
    if args.images:
        return scenes_of_folder(args.images)
    raise InputError("expected images, found none; give --xbd-root with --split, --annotations, or --images")


def main(arguments: list[str]) -> int:
    """Draws what the command line asks for."""
    args = _parse(arguments)
    count, unreadable = visualize(
        scenes_of(args),
        args.output,
        args.predictions,
        choice=SceneChoice(args.scenes, args.limit, args.order, args.seed),
        look=PanelLook(args.zoom, tuple(args.crop) if args.crop else None, args.background),
        scores=args.scores,
    )
    for reason in unreadable.values():
        print(f"not drawn: {printable(reason)}", file=sys.stderr)
    print(f"{count} scenes drawn; open {args.output / 'index.html'}")
    return 1 if unreadable else 0
