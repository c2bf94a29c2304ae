"""Releases a trained model into the package: weights in half precision, config, rules, card, hashes.

  python tools/release_model.py --name hybrid --summary TEXT --config-file F --weights W --learned-from COCO
      --score-rule R --assessment-rule A --report out-of-fold=JSON --facts YAML
  python tools/release_model.py --name ensemble --summary TEXT --member hybrid --member fpn=flips ...

The second form takes networks that are released already, in the views that follow the name. A report is the
JSON of tools/tune_postprocess.py; facts are what no file tells: command, commit, seed, hardware, hours,
licence, limits. Exit codes: 0 done, 2 wrong input.
"""

import argparse
from pathlib import Path

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import InputError
from skyeye_det.released import MODELS, PURPOSES


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, found {text!r}")
    return name, value


def _member(text: str) -> tuple[str, str]:
    return _named(text) if "=" in text else (text, "none")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = command_parser(__doc__)
    parser.add_argument("--name", required=True, help="of the model and of its folder")
    parser.add_argument("--summary", required=True, help="one sentence")
    parser.add_argument("--config-file", type=named_path, metavar="FILE", help="YAML of the network")
    parser.add_argument("--weights", type=named_path, metavar="FILE", help="its checkpoint")
    parser.add_argument("--tta", default="none", metavar="VIEWS", help="in which it is used (default: none)")
    parser.add_argument(
        "--member", type=_member, action="append", default=[], metavar="NAME[=VIEWS]", help="of an ensemble"
    )
    for purpose in PURPOSES:
        parser.add_argument(f"--{purpose}-rule", type=named_path, required=True, metavar="YAML")
    learned = "COCO files of the pairs that it has learnt"
    parser.add_argument(
        "--learned-from", type=named_path, nargs="+", default=[], metavar="JSON", help=learned
    )
    parser.add_argument(
        "--report", type=_named, action="append", default=[], metavar="NAME=JSON", help="figures for the card"
    )
    parser.add_argument("--facts", type=named_path, required=True, metavar="YAML", help="for the card")
    parser.add_argument(
        "--models",
        type=named_path,
        default=MODELS,
        metavar="DIR",
        help="of all of them (default: the package's)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Writes the folder of the model."""
    args = parse_arguments(arguments)
    single = bool(args.config_file and args.weights and args.learned_from)
    if single == bool(args.member) or (args.member and (args.config_file or args.weights)):
        raise InputError(
            "expected --config-file, --weights and --learned-from of a network, or --member of released ones,"
            " found neither or both; give one of them"
        )
    require_detectron2("a release")
    from skyeye_det.engine.model_files import ModelFiles
    from skyeye_det.engine.release import Release, write_release

    rules = {purpose: getattr(args, f"{purpose}_rule") for purpose in PURPOSES}
    files = ModelFiles(str(args.config_file), str(args.weights), args.tta) if single else None
    reports = {name: Path(path) for name, path in args.report}
    release = Release(
        args.name,
        args.summary,
        args.models,
        files,
        dict(args.member),
        rules,
        args.learned_from,
        reports,
        args.facts,
    )
    print(f"{write_release(release)} holds the model and its card")
