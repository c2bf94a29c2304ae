"""Assesses a scene: images before and after a disaster become one record a building, for a GIS.

  skyeye assess --pre PATH ... --post PATH ... --output DIR

A path is a raster file, a folder or a glob; each side may have its own projection, resolution and tiling.
DIR/report/index.html shows the result in a browser; DIR/damage.gpkg holds the buildings, styled for QGIS;
damage.tif their grades as a raster; summary.csv counts in cells of 500 m; run.json where it all comes from.
A killed run is taken up by the same command.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse

from skyeye_det import assess
from skyeye_det.arguments import command_parser, named_path, positive, whole
from skyeye_det.commands.infer import add_model_options
from skyeye_det.prediction.windows import OVERLAP, WINDOW
from skyeye_det.released import DEFAULT
from skyeye_det.scene.formats import FORMATS
from skyeye_det.scene.records import OUTLINES
from skyeye_det.scene.request import AUTO, LOCAL


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = command_parser(__doc__)
    for side, when in (("pre", "before"), ("post", "after")):
        paths = f"images from {when} the disaster: files, folders, globs"
        parser.add_argument(f"--{side}", nargs="+", required=True, metavar="PATH", help=paths)
        parser.add_argument(f"--{side}-crs", metavar="CRS", help="of images that do not say")
        parser.add_argument(f"--{side}-date", default="", metavar="DATE", help="for the records")
    parser.add_argument(
        "--output", type=named_path, required=True, metavar="DIR", help="folder of the results"
    )
    parser.add_argument("--model", default=DEFAULT, metavar="NAME", help=f"released (default: {DEFAULT})")
    add_model_options(parser)
    known = "outlines that get a record each, in any vector format and CRS"
    parser.add_argument("--footprints", metavar="FILE", help=known)
    parser.add_argument("--footprint-id", metavar="COLUMN", help="whose values become building_id")
    parser.add_argument("--aoi", metavar="FILE", help="polygons outside of which nothing is assessed")
    parser.add_argument("--areas", metavar="FILE", help="polygons, such as districts, to count buildings in")
    parser.add_argument("--area-name", metavar="COLUMN", help="names of the areas (default: their numbers)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=(), help="beside GeoPackage")
    parser.add_argument("--decisions", metavar="FILE", help="rule, in place of the model's for assessments")
    adaptation = "of `skyeye adapt`, from another scene of the same event"
    parser.add_argument("--adaptation", metavar="FILE", help=adaptation)
    parser.add_argument("--crs", default=AUTO, help="of the results, in metres (default: UTM)")
    parser.add_argument("--resolution", type=float, metavar="M", help="m a pixel (default: the finer side's)")
    parser.add_argument("--bands", metavar="R,G,B", help="numbers of the bands (default: as they are called)")
    shift = "by which the post image is moved: auto, none, or DX,DY in px of the grid (default: auto)"
    parser.add_argument("--shift", default=AUTO, metavar="S", help=shift)
    parser.add_argument("--outlines", choices=OUTLINES, default=OUTLINES[0], help=f"default: {OUTLINES[0]}")
    parser.add_argument("--window", type=positive, default=WINDOW, help=f"side, px (default: {WINDOW})")
    parser.add_argument("--overlap", type=whole, default=OVERLAP, help=f"px (default: {OVERLAP})")
    skip = "go on where a window cannot be read: it is not assessed; without it, such windows are tried again"
    parser.add_argument("--skip-unreadable", action="store_true", help=skip)
    shard = "K/N: only a part of the windows; the run that finds all of them done writes the results"
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="K/N", help=shard)
    engine = "local; dask: processes here, one a GPU; dask://HOST:PORT: a running cluster, on shared files"
    parser.add_argument("--engine", default=LOCAL, metavar="E", help=f"{engine} (default: {LOCAL})")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Assesses a scene and prints what was found."""
    assess(**vars(parse_arguments(arguments)))


def _shard(text: str) -> tuple[int, int]:
    number, slash, shards = text.partition("/")
    if not (slash and number.isdecimal() and shards.isdecimal() and 1 <= int(number) <= int(shards) <= 10**6):
        raise argparse.ArgumentTypeError(f"expected K/N such as 1/8, found {text!r}")
    return int(number), int(shards)
