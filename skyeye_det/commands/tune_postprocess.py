"""Tunes the decision rule of a trained model, cross-fitted: to the official score, or for an assessment.

  python tools/tune_postprocess.py --config-file F --weights W --xbd-root ROOT --splits val --output rule.yaml
  python tools/tune_postprocess.py --json THIS.json [...] --against OTHER.json [...]

The first form writes one small YAML for TEST.DECISIONS or tools/infer.py --decisions, and says what it is
worth: each tile is judged by a rule tuned without its fold. With --rule in place of --output it judges a rule
that was tuned on other tiles. --purpose assessment tunes, or judges, for few wrong buildings and unbiased
totals by grade, in place of the score. Predictions are kept in --work, and taken up by the next run.
The second compares reports of the same tiles in paired bootstrap draws; of several seeds or deals the mean.

Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skyeye_det.arguments import command_parser, named_path, positive, report_file, whole
from skyeye_det.commands.infer import add_model_options
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.decision.results import PREDICTIONS_FOLDER
from skyeye_det.decision.rule import read_rule, write_rule
from skyeye_det.decision.tuning.report import (
    compare_reports,
    format_comparison,
    format_tuning,
    read_counts,
)
from skyeye_det.decision.tuning.search import PIXELS_FOR
from skyeye_det.decision.tuning.tune import TuningOptions, rule_remarks, tune_rule
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import InputError
from skyeye_det.evaluation.assessment import tune_assessment
from skyeye_det.evaluation.assessment_report import assessment_remarks, format_assessment
from skyeye_det.evaluation.known_windows import known_tiles, known_windows
from skyeye_det.evaluation.truth import labelled_scenes
from skyeye_det.files import require_writable, write_json
from skyeye_det.prediction.store import PredictionStore
from skyeye_det.released import PURPOSES
from skyeye_det.xview2.bootstrap import Resampling

OPTIONS = ("folds", "seed", "workers", "draws", "pixels_for")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = command_parser(__doc__)
    add_model_options(parser)
    kept = "folder of tools/infer.py whose predictions are taken, in place of models"
    parser.add_argument("--predictions", type=named_path, metavar="DIR", help=kept)
    parser.add_argument("--xbd-root", type=named_path, help="xBD root with images and labels of the splits")
    parser.add_argument("--splits", nargs="+", default=[], help="tiles to tune on: folders")
    parser.add_argument("--split-file", type=named_path, metavar="FILE", help="--splits are parts of it")
    by_fold = "each checkpoint predicts the split at its place, unseen in training; ensembles model by model"
    parser.add_argument("--out-of-fold", action="store_true", help=by_fold)
    parser.add_argument("--output", type=named_path, metavar="YAML", help="the rule")
    parser.add_argument("--rule", type=named_path, metavar="YAML", help="judge this one; wants --work")
    purpose = "what the rule is tuned or judged for (default: score)"
    parser.add_argument("--purpose", choices=PURPOSES, default=PURPOSES[0], help=purpose)
    pixels_for = "pixels are tuned to this (default: score), grades to the score"
    parser.add_argument("--pixels-for", choices=PIXELS_FOR, default=TuningOptions.pixels_for, help=pixels_for)
    parser.add_argument("--folds", type=positive, default=5, help="of the cross-fit (default: 5)")
    parser.add_argument("--seed", type=whole, default=0, help="of folds and draws (default: 0)")
    parser.add_argument("--draws", type=positive, default=1000, help="sets of tiles drawn (default: 1000)")
    reports = "report to write, with the counts of every tile; or those to compare"
    parser.add_argument("--json", type=report_file, nargs="+", default=[], help=reports)
    parser.add_argument(
        "--against", type=named_path, nargs="+", default=[], metavar="JSON", help="reports of another model"
    )
    parser.add_argument(
        "--work", type=named_path, metavar="DIR", help="kept predictions and truth (default: OUTPUT's .tiles)"
    )
    parser.add_argument("--workers", type=positive, default=2, help="tiles rasterized at a time (default: 2)")
    args = parser.parse_args(arguments)
    sources = args.config_file, args.weights, args.predictions, args.xbd_root
    args.tunes = any((*sources, args.output, args.rule))
    if args.tunes:
        _check_tuning(parser, args)
    elif not (args.json and args.against):
        parser.error("expected --config-file and the rest, or --json with --against, found neither")
    if args.against and not args.json:
        parser.error("--against goes with --json, the report that is compared")
    if {path.resolve() for path in args.json} & {path.resolve() for path in args.against}:
        parser.error("--json and --against: expected different reports, found one in both")
    return args


def _check_tuning(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses options that do not go together."""
    models = () if args.predictions else ("config_file", "weights")
    missing = [name for name in (*models, "xbd_root", "splits") if not getattr(args, name)]
    if args.predictions and (args.config_file or args.weights or args.out_of_fold):
        parser.error("--predictions takes the place of --config-file, --weights and --out-of-fold")
    if args.rule and args.pixels_for != TuningOptions.pixels_for:
        parser.error("--pixels-for is of a rule that is tuned; leave it out with --rule")
    if args.purpose == "assessment" and (args.against or args.pixels_for != TuningOptions.pixels_for):
        parser.error("--purpose assessment goes without --pixels-for and --against, which are of the score")
    if missing:
        parser.error(f"tuning also needs {', '.join('--' + name.replace('_', '-') for name in missing)}")
    if (args.output is None) != (args.rule is not None):
        parser.error("expected --output to tune a rule, or --rule and --work to judge one; name these")
    if args.rule and not args.work:
        parser.error("--rule: expected --work, where predictions are kept; name it")
    if len(args.json) > 1:
        parser.error("--json: expected one report to write, found several; compare them in a run of its own")
    if args.json and args.output and args.json[0].resolve() == args.output.resolve():
        parser.error("--output and --json: expected two files, found one; name another for the report")


def main(arguments: list[str]) -> None:
    """Tunes, compares, or does both."""
    args = parse_arguments(arguments)
    if args.tunes:
        _tune(args)
    if args.against:
        compared = compare_reports(args.json, args.against, Resampling(args.draws, args.seed))
        names = (", ".join(path.stem for path in paths) for paths in (args.json, args.against))
        print(format_comparison(compared, *names))


def _tune(args: argparse.Namespace) -> None:
    """Predicts, or takes up what an earlier run predicted, tunes a rule and writes it, or judges one."""
    for path in args.against:
        read_counts(path)  # reported before the work
    for written in (args.output, *args.json):
        if written is not None:
            if not written.name:
                raise InputError(f"--output {written}: expected a file, found a folder")
            require_writable(written)
    folder = args.work or args.output.with_name(f"{args.output.stem}.tiles")
    if folder == args.output:
        raise InputError(
            f"--output {folder}: expected another name than that of the kept tiles; call it .yaml"
        )
    rule = read_rule(args.rule) if args.rule else None
    options = TuningOptions(**{name: getattr(args, name) for name in OPTIONS}, rule=rule)
    scenes = labelled_scenes(args.xbd_root, args.splits, args.split_file)
    options.check(len(scenes))
    kept = _kept(args, scenes, folder)
    if args.purpose == "assessment":
        tiles = [tile for store, own, _ in kept for tile in known_tiles(store, own)]
        found, report = tune_assessment(sorted(tiles, key=lambda tile: tile.files.name), options)
        text, remarks = format_assessment(report), assessment_remarks(report, _source(args))
    else:
        windows = [window for each in kept for window in known_windows(*each)]
        if args.out_of_fold:
            windows.sort(key=lambda window: window.name)
        found, report = tune_rule(windows, options)
        text, remarks = format_tuning(report), rule_remarks(report, _source(args))
    report["model"] = {
        "config_files": args.config_file,
        "weights": args.weights,
        "predictions": str(args.predictions) if args.predictions else None,
        "splits": args.splits,
        "views": args.tta,
        "out_of_fold": args.out_of_fold,
    }
    if args.json:
        write_json(args.json[0], report, pretty=True)
    print(text)
    if args.output is not None:
        write_rule(args.output, found, remarks)
        print(f"\nwritten to {args.output}")


def _kept(
    args: argparse.Namespace, scenes: Sequence[SceneFiles], folder: Path
) -> list[tuple[PredictionStore, Sequence[SceneFiles], Path]]:
    """Predictions, made where they are not there yet; their scenes, and a folder for the truth of these."""
    if args.predictions:
        inner = args.predictions / PREDICTIONS_FOLDER
        store = PredictionStore.read(inner if inner.is_dir() else args.predictions)
        return [(store, scenes, folder / "truth")]
    require_detectron2("tuning")
    from skyeye_det.engine.model_files import ensemble
    from skyeye_det.engine.tuning import keep_labelled, models_by_fold

    files = ensemble(args.config_file, args.weights, args.tta)
    if not args.out_of_fold:
        store = keep_labelled(files, args.opts, scenes, folder)
        return [(store, scenes, folder / "truth")]
    found: list[tuple[PredictionStore, Sequence[SceneFiles], Path]] = []
    for number, (models, split) in enumerate(
        zip(models_by_fold(files, args.splits), args.splits, strict=True), start=1
    ):
        own = labelled_scenes(args.xbd_root, [split], args.split_file)
        store = keep_labelled(models, args.opts, own, folder / str(number))
        found.append((store, own, folder / str(number) / "truth"))
    return found


def _source(args: argparse.Namespace) -> str:
    """Model and tiles in words, for the remarks of a rule."""
    tiles = ", ".join(args.splits)
    if args.predictions:
        return f"{tiles} for the predictions in {args.predictions.name}"
    names: list[Any] = [Path(path).name for path in args.weights]
    configs = dict.fromkeys(Path(path).name for path in args.config_file)
    return f"{tiles} for {', '.join(names)} ({', '.join(configs)}, views {', '.join(args.tta or ['none'])})"
