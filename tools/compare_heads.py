#!/usr/bin/env python
"""Compares damage heads (alignment, mask pooling, context, ordinal form, fusion) or mask heads on one model.

Each variant's head is trained on the same features of the same crops, on the true footprints, while the rest
of the model stays as it is, and is scored on the true footprints, or in the true boxes, of a converted split.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
from pathlib import Path

from skyeye_det.arguments import named_path, report_file, whole
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import run_command
from skyeye_det.files import write_json


def parse_arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="YAML of the trained model")
    parser.add_argument("--weights", required=True, help="its checkpoint")
    parser.add_argument(
        "--variants",
        type=named_path,
        default=Path("configs/ablations/damage_heads.yaml"),
        help="YAML of names and changes (default: configs/ablations/damage_heads.yaml; mask_heads.yaml beside"
        " it is for mask heads)",
    )
    parser.add_argument("--dataset", default="xbd_val", help="converted split to score on (default: xbd_val)")
    parser.add_argument("--shifts", type=whole, nargs="+", default=[0], help="px of the post images")
    parser.add_argument("--json", type=report_file, help="write the figures to this file too")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... of the config")
    return parser.parse_args()


def main() -> None:
    """Runs the command."""
    arguments = parse_arguments()
    require_detectron2("training")
    from skyeye_det.engine.head_comparison import compare_heads, format_comparison

    results = compare_heads(
        arguments.config_file,
        arguments.weights,
        arguments.variants,
        arguments.dataset,
        arguments.shifts,
        arguments.opts,
    )
    print(format_comparison(results))
    if arguments.json:
        write_json(arguments.json, results, pretty=True)


if __name__ == "__main__":
    run_command(main)
