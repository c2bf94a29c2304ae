"""Serves the page of an assessment to this machine's browser, and saves what people correct there.

  skyeye review DIR [--sample N] [--suggest N]

DIR is the folder of `skyeye assess`. The printed address opens the page; whoever has it can look and save.
Reviews go at once to DIR/damage.gpkg, where QGIS shows and edits them too. Ctrl-C ends it.
With --sample, N buildings are drawn at random, by grade and probability. From the answers to these the page
tells how many buildings of each grade there are, with 90 % intervals, and how often the model is right here.
With --suggest, the page leads to N buildings that the model is unsure of, unlike those reviewed and spread
over the map; they count as picked. A button there grades all buildings anew by what people have reviewed, as
`skyeye adapt` does, and another takes that back.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

from skyeye_det.arguments import command_parser, named_path, positive, whole
from skyeye_det.evaluation.check_sample import SMALLEST
from skyeye_det.report.review.server import serve_reviews

_PORT = 8765


def main(arguments: list[str]) -> None:
    """Serves until it is interrupted."""
    parser = command_parser(__doc__)
    parser.add_argument("folder", type=named_path, metavar="DIR", help="of an assessment")
    port = f"on 127.0.0.1; 0: any that is free (default: {_PORT})"
    parser.add_argument("--port", type=whole, default=_PORT, metavar="P", help=port)
    size = f"draw N buildings to check, {SMALLEST} or more; once, not after answers"
    parser.add_argument("--sample", type=positive, metavar="N", help=size)
    parser.add_argument("--seed", type=whole, default=0, help="of the sample (default: 0)")
    suggest = "suggest N buildings to label next"
    parser.add_argument("--suggest", type=positive, metavar="N", help=suggest)
    args = parser.parse_args(arguments)
    serve_reviews(args.folder, args.port, args.sample, args.seed, args.suggest)
