"""Grades the buildings of an assessment anew by those that people have reviewed, and tells if that helps.

  skyeye review DIR --sample 100      label some buildings first
  skyeye adapt DIR

DIR is the folder of `skyeye assess`. What is fitted, another prior or more, is chosen on labels that it was
not fitted to; where nothing does better, the model's own grades stand. Ten labels of the random sample are
the least: labels that somebody picked do not tell how frequent grades are. Reviews stay; the model's own
probabilities stay in the columns raw_p_*. Where the labels tell that it helps in other places too,
DIR/adaptation.json serves other scenes of the same event by `skyeye assess --adaptation FILE`.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

from skyeye_det.arguments import command_parser, named_path
from skyeye_det.errors import InputError
from skyeye_det.files import sole_writer
from skyeye_det.report.page.folder import renew_page, require_page_place
from skyeye_det.scene.adapted import adapt_folder
from skyeye_det.scene.outputs import RUN


def main(arguments: list[str]) -> None:
    """Adapts an assessment and prints what was found."""
    parser = command_parser(__doc__)
    parser.add_argument("folder", type=named_path, metavar="DIR", help="of an assessment")
    parser.add_argument("--event", default="", help="name for the card of the adaptation (default: DIR's)")
    parser.add_argument("--undo", action="store_true", help="bring the model's own grades back instead")
    args = parser.parse_args(arguments)
    if not (args.folder / RUN).is_file():
        raise InputError(
            f"{args.folder / RUN}: expected the record of an assessment, found no such file; give the folder"
            " of a finished `skyeye assess`"
        )
    with sole_writer(args.folder):
        require_page_place(args.folder)
        print(adapt_folder(args.folder, args.event, args.undo))
        renew_page(args.folder)
