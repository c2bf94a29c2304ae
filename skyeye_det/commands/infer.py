"""Predicts the damage of every building of image pairs, as competition PNGs and COCO results.

  python tools/infer.py --config-file F --weights W --images DIR --output DIR [--decisions RULE] [--tta d4]
  python tools/infer.py --config-file F --weights W PRE POST LOC_OUT DMG_OUT

The first form takes an xBD root, one split of it, or a flat folder (*_pre_disaster* with *_post_disaster*,
test_pre_00000 with test_post_00000) and goes on where a killed run stopped. The second is the competition's
container entry. --weights given several times is an ensemble; --config-file then once, or as often.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det.arguments import named_path
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import InputError


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--config-file", required=True, action="append", metavar="FILE", help="YAML of the model"
    )
    parser.add_argument(
        "--weights", required=True, action="append", metavar="FILE", help="checkpoint that training wrote"
    )
    parser.add_argument(
        "--decisions", metavar="FILE", help="YAML of tools/tune_postprocess.py; '': the default rule"
    )
    parser.add_argument(
        "--tta",
        action="append",
        default=[],
        metavar="VIEWS",
        help="none, flips or d4, also with scales: d4@1.0,1.25; of all models, or one each",
    )
    parser.add_argument(
        "--precision",
        default="fp32",
        metavar="P",
        help="fp32, bf16 or fp16 (default: fp32); bf16 takes 0.6 of the time where there are such units",
    )
    parser.add_argument(
        "--images", type=named_path, metavar="DIR", help="xBD root, split or flat folder of pairs"
    )
    parser.add_argument("--output", type=named_path, metavar="DIR", help="folder of the results")
    parser.add_argument("--numbered", action="store_true", help="PNGs as test_*_00000, with numbering.csv")
    parser.add_argument("--prefix", choices=("test", "hold"), help="of the numbered names (default: test)")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="changes to the config")
    parser.add_argument(
        "paths", nargs="*", type=named_path, metavar="PRE POST LOC_OUT DMG_OUT", help="one pair"
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Predicts a folder or a pair."""
    args = parse_arguments(arguments)
    folder_form = args.images is not None and args.output is not None and not args.paths
    pair_form = len(args.paths) == 4 and args.images is None and args.output is None
    if not (folder_form or pair_form):
        raise InputError(
            "expected either --images and --output, or four paths PRE POST LOC_OUT DMG_OUT, found --images "
            f"{args.images}, --output {args.output} and {len(args.paths)} paths; see tools/infer.py --help"
        )
    if pair_form and len({path.resolve() for path in args.paths}) < 4:
        raise InputError("PRE POST LOC_OUT DMG_OUT: expected four files, found one of them named twice")
    if pair_form and args.numbered:
        raise InputError("--numbered: expected with --images and --output alone, found it with four paths")
    if args.prefix and not args.numbered:
        raise InputError(f"--prefix {args.prefix}: expected with --numbered, found without; add that")
    require_detectron2("inference")
    from skyeye_det.engine.pair_predictor import ensemble
    from skyeye_det.engine.predictor import InferenceOptions, infer_folder, infer_pair

    models = ensemble(args.config_file, args.weights, args.tta)
    overrides = [*args.opts, *(["TEST.DECISIONS", args.decisions] if args.decisions is not None else [])]

    if pair_form:
        pre, post, localization, damage = args.paths
        options = InferenceOptions(precision=args.precision)
        infer_pair(models, (pre, post), (localization, damage), options, overrides)
        return
    options = InferenceOptions(args.numbered, args.prefix or InferenceOptions.prefix, args.precision)
    count = infer_folder(models, args.images, args.output, options, overrides)
    print(f"{count} pairs predicted; {args.output} holds their PNGs and instances.json")
