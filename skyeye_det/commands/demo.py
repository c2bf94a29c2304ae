"""Shows the released model at work on made-up scenes: pairs with a score and a gallery, a scene as a map.

With --train it learns a model of its own, and shows that on pairs. A killed run is taken up by the same
command.
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
    from skyeye_det.engine.demo import run_demo, run_scene

    print(run_demo(args.output, args.train))
    if args.train is None:
        print(run_scene(args.output))
        print(f"open {args.output / 'assessment' / 'report' / 'index.html'}: the map; correct it by")
        print(f"  skyeye review {args.output / 'assessment'}")
    print(f"open {args.output / 'gallery' / 'index.html'}: pairs, truth and prediction")
