"""Shows the released model at work on made-up scenes: generate, predict, score, gallery.

With --train it first learns a model of its own. A killed run is taken up by the same command.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

from pathlib import Path

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.dependencies import require_detectron2


def main(arguments: list[str]) -> None:
    """Runs the demo and prints its table."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--output", type=named_path, default=Path("output/demo"), metavar="DIR", help="default: output/demo"
    )
    parser.add_argument("--train", type=named_path, metavar="YAML", help="such as configs/sample_xbd.yaml")
    args = parser.parse_args(arguments)
    require_detectron2("the demo")
    from skyeye_det.engine.demo import run_demo

    print(run_demo(args.output, args.train))
    print(f"open {args.output / 'gallery' / 'index.html'}")
