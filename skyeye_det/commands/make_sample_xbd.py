"""Writes an xBD root of made-up scenes that need no licence; see datasets/README.md.

The same seed and size give the same bytes. A killed run is taken up by the same command.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.sample.dataset import DEFAULT_SPLITS, make_sample_xbd


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Command line of the tool."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--output", type=named_path, required=True, help="folder of the root: empty, or to be taken up"
    )
    parser.add_argument("--pairs", type=int, required=True, help="number of scenes")
    parser.add_argument("--seed", type=int, required=True, help="0 or more")
    parser.add_argument("--size", type=int, default=1024, help="edge of the tiles, px (default: 1024)")
    parser.add_argument(
        "--splits", type=_splits, default=DEFAULT_SPLITS, help="name=share,... (default: train=.8,val=.2)"
    )
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Writes the scenes."""
    args = parse_arguments(arguments)
    make_sample_xbd(**vars(args))


def _splits(text: str) -> dict[str, float]:
    splits: dict[str, float] = {}
    for entry in text.split(","):
        name, equals, share = entry.partition("=")
        if not equals or name in splits:
            raise argparse.ArgumentTypeError(f"expected name=share,... with each name once, found {text!r}")
        try:
            splits[name] = float(share)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number after {name}=, found {share!r}") from None
    return splits
