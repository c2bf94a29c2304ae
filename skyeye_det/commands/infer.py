"""Predicts the damage of every building of image pairs, as competition PNGs and COCO results.

  python tools/infer.py --images DIR --output DIR [--quality] [--decisions RULE] [--tta d4]
  python tools/infer.py --output DIR --decide-only [--decisions RULE]
  python tools/infer.py PRE POST LOC_OUT DMG_OUT

The first form takes an xBD root, one split of it, or a flat folder (*_pre_disaster* with *_post_disaster*,
test_pre_00000 with test_post_00000) and goes on where a killed run stopped. The second decides anew what the
first has predicted, by another rule, --outline or --fill. The third is the competition's container entry; its
paths come last.
A released model predicts, or one of your own by --config-file and --weights; several --weights are an
ensemble, with one --config-file or as many.
Exit codes: 0 done, 1 done but for pairs that are named, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from skyeye_det.arguments import command_parser, named_path, positive, whole
from skyeye_det.data.footprint_file import FootprintFile
from skyeye_det.decision.results import PREDICTIONS_FOLDER, ResultWriter, recorded_rule
from skyeye_det.decision.rule import FILLS, OUTLINES, DecisionRule, read_rule
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import InputError, printable
from skyeye_det.files import sole_writer
from skyeye_det.prediction.store import PredictionStore
from skyeye_det.prediction.windows import OVERLAP, WINDOW
from skyeye_det.released import DEFAULT, QUALITY, require_released
from skyeye_det.xview2.submission import PREFIXES, number_scenes, read_numbering


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options that name models and how they see a window, here and in ``tune_postprocess``."""
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--config-file", metavar="FILE", help="YAML of the model, one or one each", **several)
    parser.add_argument("--weights", metavar="FILE", help="checkpoint; several are an ensemble", **several)
    views = "none, flips or d4, also with scales: d4@1.0,1.25; of all models, or one each"
    parser.add_argument("--tta", metavar="VIEWS", help=views, **several)
    parser.add_argument("--opts", metavar="KEY VALUE", help="changes to the configs", **several)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line; the four paths of the pair form are its last four words."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--model", metavar="NAME", help=f"released model (default: {DEFAULT}); see skyeye models"
    )
    parser.add_argument(
        "--quality", action="store_true", help=f"the best, not the fastest: --model {QUALITY}"
    )
    add_model_options(parser)
    parser.add_argument(
        "--decisions", metavar="FILE", help="rule, YAML of tools/tune_postprocess.py; '': the default rule"
    )
    parser.add_argument("--outline", choices=OUTLINES, help="in place of the rule's: what is rasterized")
    parser.add_argument("--fill", choices=FILLS, help="in place of the rule's: the value of its pixels")
    precision = "fp32, bf16 or fp16 (default: fp32); bf16 takes 0.6 of the time where there are such units"
    parser.add_argument("--precision", default="fp32", metavar="P", help=precision)
    parser.add_argument("--window", type=positive, default=WINDOW, help=f"side, px (default: {WINDOW})")
    parser.add_argument(
        "--overlap", type=whole, default=OVERLAP, help=f"of neighbouring windows, px (default: {OVERLAP})"
    )
    parser.add_argument(
        "--images", type=named_path, metavar="DIR", help="xBD root, split or flat folder of pairs"
    )
    parser.add_argument("--output", type=named_path, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--footprints", type=named_path, metavar="FILE", help="COCO file: classify its outlines, find none"
    )
    parser.add_argument(
        "--decide-only", action="store_true", help="decide what OUTPUT holds, predict nothing"
    )
    parser.add_argument("--numbered", action="store_true", help="PNGs as test_*_00000, with numbering.csv")
    parser.add_argument("--prefix", choices=PREFIXES, help="of the numbered names (default: test)")
    named = {word.partition("=")[0] for word in arguments}
    of_pair = not named & {"--images", "--output", "--decide-only", "-h", "--help"}
    count = len(arguments) - 4 if of_pair else len(arguments)
    parsed = parser.parse_args(arguments[: max(count, 0)])
    parsed.paths = [Path(word) for word in arguments[max(count, 0) :]]
    return parsed


def main(arguments: list[str]) -> int:
    """Predicts a folder or a pair, or decides what was predicted."""
    args = parse_arguments(arguments)
    _check(args)
    if args.decide_only:
        store = PredictionStore.read(args.output / PREDICTIONS_FOLDER)
        rule = recorded_rule(args.output) if args.decisions is None else read_rule(args.decisions)
        _decide(args, store, _changed(rule, args))
        print(f"{len(store.images)} pairs decided; {args.output} holds their PNGs and instances.json")
        return 0
    name = args.model or (QUALITY if args.quality else DEFAULT)
    if not args.weights:
        require_released(name)  # told without detectron2, too
    require_detectron2("inference")
    from skyeye_det.engine.inference import InferenceOptions, infer_folder, infer_pair
    from skyeye_det.engine.models import open_models

    models = open_models(
        name,
        config_files=args.config_file,
        weights=args.weights,
        views=args.tta,
        overrides=args.opts,
        precision=args.precision,
    )
    rule = _changed(models.rule("score") if args.decisions is None else read_rule(args.decisions), args)
    options = InferenceOptions(
        args.numbered, args.prefix or PREFIXES[0], args.window, args.overlap, args.footprints
    )
    if args.paths:
        pre, post, localization, damage = args.paths
        found = infer_pair(models, (pre, post), (localization, damage), rule, options)
        print(f"{len(found)} buildings; {localization} and {damage} show them")
        if ungraded := int((found.damage < 0).sum()):
            print(
                f"{ungraded} of them have no grade, and 0 in {damage}: an image shows nothing, or nothing new"
            )
        return 0
    count, unreadable = infer_folder(models, args.images, args.output, rule, options)
    for reason in unreadable.values():
        print(f"not predicted: {printable(reason)}", file=sys.stderr)
    print(f"{count} pairs predicted; {args.output} holds their PNGs and instances.json")
    return 1 if unreadable else 0


def _check(args: argparse.Namespace) -> None:
    """Refuses options that contradict each other."""
    folder_form = args.output is not None and (args.decide_only or args.images is not None)
    if not (folder_form or args.paths):
        raise InputError(
            "expected --images and --output, or --output with --decide-only, or four paths PRE POST LOC_OUT"
            f" DMG_OUT, found --images {args.images}, --output {args.output}; see tools/infer.py --help"
        )
    if bool(args.config_file) != bool(args.weights):
        raise InputError("expected --config-file and --weights of a model, found one of them; name both")
    if sum(map(bool, (args.weights, args.model, args.quality))) > 1:
        raise InputError("expected one of --weights, --model and --quality, found several; leave one out")
    if args.paths:
        odd = [str(path) for path in args.paths if not str(path) or str(path).startswith("-")]
        if odd or len({path.resolve() for path in args.paths}) < 4:
            raise InputError(
                "PRE POST LOC_OUT DMG_OUT: expected four different files as the last words, found"
                f" {' '.join(map(str, args.paths))}"
            )
        if args.numbered or args.footprints:
            raise InputError(
                "--numbered and --footprints: expected with --images and --output, found four paths"
            )
    if args.prefix and not args.numbered:
        raise InputError(f"--prefix {args.prefix}: expected with --numbered, found without; add that")


def _changed(rule: DecisionRule, args: argparse.Namespace) -> DecisionRule:
    return replace(rule, outline=args.outline or rule.outline, fill=args.fill or rule.fill)


def _decide(args: argparse.Namespace, store: PredictionStore, rule: DecisionRule) -> None:
    """Decides a folder's kept predictions, without any model; PNGs that are numbered stay so."""
    with sole_writer(args.output):
        if not store.images:
            raise InputError(f"{args.output}: expected predictions of a pair, found none; predict first")
        lacking = [image.scene for image in store.images if store.missing(image)]
        if lacking:
            raise InputError(
                f"{args.output}: expected predictions of {len(store.images)} pairs, {len(lacking)} are"
                f" missing, such as {lacking[0]}; run the same command without --decide-only first"
            )
        prefix = args.prefix or PREFIXES[0]
        scenes = (image.scene for image in store.images)
        names = read_numbering(args.output) if args.prefix is None else {}
        if args.numbered and not names:
            names = number_scenes(scenes, prefix)
        footprints = FootprintFile(args.footprints) if args.footprints else None
        store.check_footprints(footprints.path if footprints else None)
        ResultWriter(args.output, rule, names).write_all(store, footprints)
