"""Measures an assessment against buildings whose damage is known, such as a field survey's.

  skyeye compare --predictions damage.gpkg --truth survey.gpkg

The truth is any vector file of building outlines, in any projection, with a column of grades: 0 to 3, names
of xBD or of Copernicus EMS, null where a building has none. A prediction that is "not assessed" can find a
building, and has no grade. The truth should cover what the assessment covers: what one of them lacks counts
as missed or as made up.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

from skyeye_det.arguments import command_parser, named_path, report_file
from skyeye_det.errors import InputError
from skyeye_det.files import write_json
from skyeye_det.scene.compare import compare
from skyeye_det.scene.compare_table import comparison_tables
from skyeye_det.scene.geopackage import BUILDINGS
from skyeye_det.scene.graded_buildings import predicted_buildings, true_buildings
from skyeye_det.scene.vector_file import read_layer


def main(arguments: list[str]) -> None:
    """Compares two files and prints the figures."""
    parser = command_parser(__doc__)
    parser.add_argument(
        "--predictions", type=named_path, required=True, metavar="FILE", help="damage.gpkg of an assessment"
    )
    parser.add_argument(
        "--truth", type=named_path, required=True, metavar="FILE", help="outlines with grades"
    )
    parser.add_argument(
        "--damage-column", default="damage", metavar="C", help="of the truth's grades (default: damage)"
    )
    parser.add_argument("--areas", type=named_path, metavar="FILE", help="polygons to count in")
    parser.add_argument("--area-name", metavar="COLUMN", help="of the areas' names")
    parser.add_argument("--json", type=report_file, metavar="FILE", help="write the figures to this file too")
    args = parser.parse_args(arguments)
    if bool(args.areas) != bool(args.area_name):
        raise InputError("--areas and --area-name: expected both or none of them, found one")
    given = [path for path in (args.predictions, args.truth, args.areas) if path]
    if args.json and args.json.resolve() in [path.resolve() for path in given]:
        raise InputError(f"--json {args.json}: expected a name of its own, found one of the files to compare")
    predicted = predicted_buildings(read_layer(args.predictions, BUILDINGS))
    if args.truth.resolve() == args.predictions.resolve() and args.damage_column == "damage":
        raise InputError(
            f"--truth {args.truth}: expected true buildings, found the predictions; give a survey"
        )
    crs = predicted.layer.crs
    true = true_buildings(read_layer(args.truth, BUILDINGS).projected(crs), args.damage_column)
    areas = read_layer(args.areas).projected(crs) if args.areas else None
    report = {
        "predictions": str(args.predictions),
        "truth": str(args.truth),
        **compare(predicted, true, areas, args.area_name or ""),
    }
    print(comparison_tables(report))
    if args.json:
        write_json(args.json, report, pretty=True)
