"""Serves the page of an assessment to this machine's browser, and saves what people correct there.

  skyeye review DIR

DIR is the folder of `skyeye assess`. The printed address opens the page; whoever has it can look and save.
Reviews go at once to DIR/damage.gpkg, where QGIS shows and edits them too. Ctrl-C ends it.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

from skyeye_det.arguments import command_parser, named_path, whole
from skyeye_det.report.review_server import serve_reviews

_PORT = 8765


def main(arguments: list[str]) -> None:
    """Serves until it is interrupted."""
    parser = command_parser(__doc__)
    parser.add_argument("folder", type=named_path, metavar="DIR", help="of an assessment")
    port = f"on 127.0.0.1; 0: any that is free (default: {_PORT})"
    parser.add_argument("--port", type=whole, default=_PORT, metavar="P", help=port)
    args = parser.parse_args(arguments)
    serve_reviews(args.folder, args.port)
