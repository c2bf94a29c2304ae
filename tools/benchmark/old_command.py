#!/usr/bin/env python
"""Measures speed and memory against floors taken on the same files in the same run.

Exit codes: 0 done, 1 done and a bar is missed, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
import tempfile
from pathlib import Path

from skyeye_det.benchmark.data_command import ROW_NAMES, run_data_benchmark
from skyeye_det.benchmark.model_command import run_model_benchmark
from skyeye_det.benchmark.model_settings import OPTIONS, PARTS, ModelSettings
from skyeye_det.benchmark.settings import Settings

from skyeye_det.arguments import named_path, report_file
from skyeye_det.errors import run_command

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PEER = CONFIGS / "semantic" / "unet_lite0.yaml"


def parse_arguments() -> argparse.Namespace:
    """Command line of the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    data = commands.add_parser("data", help="conversion, scoring, targets, rasteriser and loader")
    data.add_argument(
        "--labels", type=named_path, metavar="DIR", help="folder of xBD label pairs (default: --xbd-root's)"
    )
    data.add_argument(
        "--xbd-root",
        type=named_path,
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
        "--output", type=named_path, metavar="DIR", help="where files are made and removed (default: /tmp)"
    )
    data.add_argument("--json", type=report_file, metavar="FILE", help="write the table here too")
    add_model_arguments(commands.add_parser("model", help="inference, training and memory of the configs"))
    return parser.parse_args()


def add_model_arguments(model: argparse.ArgumentParser) -> None:
    """The options of ``model``."""
    # By name alone: ResNets, minutes a repeat on a CPU, and the second step of training, the first's model.
    left_out = "_r50", "_r101", "_damage"
    published = [path for path in sorted(CONFIGS.glob("*.yaml")) if not path.stem.endswith(left_out)]
    model.add_argument(
        "--configs", nargs="+", type=named_path, default=published, metavar="FILE", help="YAML of each model"
    )
    model.add_argument(
        "--peer",
        type=lambda text: None if text == "none" else Path(text),
        default=PEER,
        metavar="FILE",
        help="YAML of the semantic peer, or none (default: the U-Net)",
    )
    model.add_argument("--weights", default="", metavar="FILE", help="checkpoint of the one config")
    model.add_argument("--peer-weights", default="", metavar="FILE", help="checkpoint of the peer")
    model.add_argument(
        "--xbd-root", type=named_path, metavar="DIR", help="root with PNGs (default: made-up scenes)"
    )
    model.add_argument("--tiles", type=int, default=1, help="pairs in a run of inference (default: 1)")
    model.add_argument("--sample-size", type=int, default=1024, help="side of made-up scenes, px")
    model.add_argument(
        "--detections",
        type=int,
        help="instances forced upon each tile (default: 100, with --weights the config's thresholds)",
    )
    model.add_argument("--repeats", type=int, default=3, help="runs of each, in turns (default: 3)")
    model.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, dest="parts", help="what to measure"
    )
    model.add_argument(
        "--options",
        nargs="+",
        default=[],
        metavar="OPTION",
        help=f"{', '.join(OPTIONS)}; a+b for both at once",
    )
    model.add_argument(
        "--device", default="", help="cpu, cuda or cuda:N (default: the GPU where there is one)"
    )
    model.add_argument(
        "--opts", nargs="+", default=[], metavar="KEY VALUE", dest="overrides", help="changes to every config"
    )
    model.add_argument("--json", type=report_file, metavar="FILE", help="write the tables here too")


def main() -> int:
    """Measures and prints the table."""
    arguments = vars(parse_arguments())
    json_file = arguments.pop("json")
    if arguments.pop("command") == "model":
        for name in ("configs", "parts", "options", "overrides"):
            arguments[name] = tuple(arguments[name])
        text, met = run_model_benchmark(ModelSettings(**arguments), json_file)
    else:
        only = arguments.pop("only")
        arguments["output"] = arguments["output"] or Path(tempfile.gettempdir())
        text, met = run_data_benchmark(Settings(**arguments), only, json_file)
    print(text)
    return 0 if met else 1


if __name__ == "__main__":
    run_command(main)
