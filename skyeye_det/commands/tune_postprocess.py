"""Tunes thresholds, areas and the decision rule of a trained model to the official score, cross-fitted.

  python tools/tune_postprocess.py --config-file F --weights W --xbd-root ROOT --splits val --output rule.yaml
  python tools/tune_postprocess.py --json THIS.json [...] --against OTHER.json [...]

The first form writes one small YAML for TEST.DECISIONS or tools/infer.py --decisions, and says what it is
worth: each tile is judged by a rule tuned without its fold. With --rule in place of --output it judges a rule
that was tuned on other tiles. Predictions are kept in --work, and taken up by the next run. The second
compares reports of the same tiles in paired bootstrap draws; of several seeds or deals the mean.

Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
from typing import Any

from skyeye_det.arguments import named_path, positive, report_file, whole
from skyeye_det.decision.rule import read_rule
from skyeye_det.decision.tuning.report import (
    compare_reports,
    format_comparison,
    format_tuning,
    read_counts,
)
from skyeye_det.decision.tuning.search import PAINT_FOR
from skyeye_det.decision.tuning.tune import TuningOptions
from skyeye_det.dependencies import require_detectron2
from skyeye_det.xview2.bootstrap import Resampling

MODEL = ("config_file", "weights", "xbd_root", "splits")
OPTIONS = ("folds", "seed", "workers", "draws", "paint_for")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    several: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--config-file", metavar="FILE", help="YAML of the model, one or one each", **several)
    parser.add_argument("--weights", metavar="FILE", help="checkpoint; several are an ensemble", **several)
    parser.add_argument("--tta", metavar="VIEWS", help="as for tools/infer.py, one or one each", **several)
    parser.add_argument("--xbd-root", type=named_path, help="xBD root with images and labels of the splits")
    parser.add_argument("--splits", nargs="+", default=[], help="tiles to tune on: folders")
    parser.add_argument("--split-file", type=named_path, metavar="FILE", help="--splits are parts of it")
    by_fold = "each checkpoint predicts the split at its place, unseen in training; ensembles model by model"
    parser.add_argument("--out-of-fold", action="store_true", help=by_fold)
    parser.add_argument("--output", type=named_path, metavar="YAML", help="the rule")
    parser.add_argument("--rule", type=named_path, metavar="YAML", help="judge this one; wants --work")
    paint_for = "where buildings are painted is tuned to this (default: score), their grades to the score"
    parser.add_argument("--paint-for", choices=PAINT_FOR, default=TuningOptions.paint_for, help=paint_for)
    parser.add_argument("--folds", type=positive, default=5, help="of the cross-fit (default: 5)")
    parser.add_argument("--seed", type=whole, default=0, help="of folds and draws (default: 0)")
    parser.add_argument("--draws", type=positive, default=1000, help="sets of tiles drawn (default: 1000)")
    reports = "report to write, with the counts of every tile; or those to compare"
    parser.add_argument("--json", type=report_file, nargs="+", default=[], help=reports)
    parser.add_argument(
        "--against", type=named_path, nargs="+", default=[], metavar="JSON", help="reports of another model"
    )
    parser.add_argument(
        "--work", type=named_path, metavar="DIR", help="kept predictions (default: OUTPUT's .tiles)"
    )
    parser.add_argument("--workers", type=positive, default=2, help="tiles painted at a time (default: 2)")
    parser.add_argument("--opts", nargs="+", default=[], metavar="KEY VALUE", help="changes to the configs")
    arguments = parser.parse_args(arguments)
    arguments.tunes = any(getattr(arguments, name) for name in (*MODEL, "output", "rule"))
    missing = [f"--{name.replace('_', '-')}" for name in MODEL if not getattr(arguments, name)]
    if arguments.rule and arguments.paint_for != TuningOptions.paint_for:
        parser.error("--paint-for is of a rule that is tuned; leave it out with --rule")
    if arguments.tunes and missing:
        parser.error(f"tuning also needs {', '.join(missing)}")
    if not arguments.tunes and not (arguments.json and arguments.against):
        parser.error("expected --config-file and the rest, or --json with --against, found neither")
    if arguments.against and not arguments.json:
        parser.error("--against goes with --json, the report that is compared")
    if arguments.tunes and len(arguments.json) > 1:
        parser.error("--json: expected one report to write, found several; compare them in a run of its own")
    if {path.resolve() for path in arguments.json} & {path.resolve() for path in arguments.against}:
        parser.error("--json and --against: expected different reports, found one in both")
    if arguments.json and arguments.output and arguments.json[0].resolve() == arguments.output.resolve():
        parser.error("--output and --json: expected two files, found one; name another for the report")
    return arguments


def main(arguments: list[str]) -> None:
    """Tunes, compares, or does both."""
    arguments = parse_arguments(arguments)
    if arguments.tunes:
        require_detectron2("tuning")
        from skyeye_det.engine.pair_predictor import ensemble
        from skyeye_det.engine.tuning_command import TunedModel, tune_postprocess

        tuned = TunedModel(
            ensemble(arguments.config_file, arguments.weights, arguments.tta),
            arguments.xbd_root,
            arguments.splits,
            arguments.opts,
            arguments.split_file,
            arguments.out_of_fold,
        )
        for path in arguments.against:
            read_counts(path)  # told before the work
        rule = read_rule(arguments.rule) if arguments.rule else None
        options = TuningOptions(**{name: getattr(arguments, name) for name in OPTIONS}, rule=rule)
        written = arguments.json[0] if arguments.json else None
        report = tune_postprocess(tuned, arguments.output, arguments.work, options, written)
        print(format_tuning(report) + ("" if rule else f"\n\nwritten to {arguments.output}"))
    if arguments.against:
        resampling = Resampling(arguments.draws, arguments.seed)
        compared = compare_reports(arguments.json, arguments.against, resampling)
        names = (", ".join(path.stem for path in paths) for paths in (arguments.json, arguments.against))
        print(format_comparison(compared, *names))
