"""Assesses a scene: images before and after a disaster become one record a building, for a GIS.

  skyeye assess --pre PATH ... --post PATH ... --output DIR

A path is a raster file, a folder or a glob; each side may have its own projection, resolution and tiling.
DIR/damage.gpkg holds the buildings, styled for QGIS; damage.tif their grades as a raster; summary.csv counts
in cells of 500 m; run.json where it all comes from. A killed run is taken up by the same command.
Exit codes: 0 done, 2 wrong input, 130 interrupted, 143 terminated.
"""

import argparse
import hashlib
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from skyeye_det import __version__
from skyeye_det.arguments import command_parser, named_path, positive, whole
from skyeye_det.commands.infer import add_model_options
from skyeye_det.decision.rule import read_rule
from skyeye_det.dependencies import require_detectron2
from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes, sole_writer
from skyeye_det.prediction.windows import OVERLAP, WINDOW
from skyeye_det.released import DEFAULT, released_model
from skyeye_det.scene.footprints import beside, open_aoi, open_footprints, remarks
from skyeye_det.scene.formats import FORMATS
from skyeye_det.scene.grid import common_grid
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE, Assessment, require_unreviewed, write_assessment
from skyeye_det.scene.rasters import open_side
from skyeye_det.scene.records import OUTLINES, Origin, building_records, footprint_records, records_in
from skyeye_det.scene.shift import Shift
from skyeye_det.scene.summary import summary_table
from skyeye_det.scene.vectors import Polygons, read_polygons, text_values

_AUTO, _NONE = "auto", "none"
_LARGEST_SHIFT = 1000


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
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS[:1], help="default: gpkg")
    parser.add_argument("--decisions", metavar="FILE", help="rule, in place of the model's for assessments")
    parser.add_argument("--crs", default=_AUTO, help="of the results, in metres (default: UTM)")
    parser.add_argument(
        "--resolution", type=float, metavar="M", help="m a pixel (default: the coarser side's)"
    )
    parser.add_argument("--bands", metavar="R,G,B", help="numbers of the bands (default: as they are called)")
    shift = "by which the post image is moved: auto, none, or DX,DY in px of the grid (default: auto)"
    parser.add_argument("--shift", default=_AUTO, metavar="S", help=shift)
    parser.add_argument("--outlines", choices=OUTLINES, default=OUTLINES[0], help=f"default: {OUTLINES[0]}")
    parser.add_argument("--window", type=positive, default=WINDOW, help=f"side, px (default: {WINDOW})")
    parser.add_argument("--overlap", type=whole, default=OVERLAP, help=f"px (default: {OVERLAP})")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Assesses a scene and prints what was found."""
    args = parse_arguments(arguments)
    pre, post = (
        open_side(side, getattr(args, side), getattr(args, f"{side}_crs"), args.bands)
        for side in ("pre", "post")
    )
    grid = common_grid(pre, post, args.crs, args.resolution)
    aoi = open_aoi(args.aoi, grid) if args.aoi else None
    footprints = open_footprints(args.footprints, args.footprint_id, grid) if args.footprints else None
    areas = read_polygons(args.areas, "--areas", grid.crs, _named(args.area_name)) if args.areas else None
    given = _given_shift(args.shift)
    released = None if args.config_file or args.weights else released_model(args.model)
    require_detectron2("an assessment")
    from skyeye_det.engine import assessing
    from skyeye_det.engine.models import Models, ensemble, released_files

    start = time.monotonic()
    files = (
        released_files(released, args.tta) if released else ensemble(args.config_file, args.weights, args.tta)
    )
    models = Models(files, args.opts)
    named = args.decisions or (released.rule("assessment") if released else None)
    rule = models.rule() if named is None else read_rule(named)
    with sole_writer(args.output):
        require_unreviewed(args.output)
        shift = assessing.estimated_shift(pre, post, grid) if given is None else given
        scene = assessing.Scene(pre, post, grid, shift, aoi)
        stores = assessing.keep_scene(models, scene, args.output, args.window, args.overlap, footprints)
        predicted = time.monotonic()
        found = assessing.scene_buildings(stores, rule)
        name = released.name if released else Path(args.weights[0]).name
        made_of = [stores.found.digest, stores.found.images[0].sha256, asdict(rule), args.outlines]
        run_id = hashlib.sha256(json_bytes([*made_of, footprints and footprints.digest])).hexdigest()[:12]
        texts = {"pre_date": args.pre_date, "post_date": args.post_date, "model": name, "run_id": run_id}
        origin = Origin(grid, shift, texts)
        records, others = building_records(found, args.outlines, origin), None
        if footprints is not None and stores.known is not None:
            for remark in remarks(found, footprints, grid.resolution):
                print(f"note: {remark}")
            known = assessing.known_buildings(stores.known, footprints, rule)
            others = records_in(
                building_records(found.of(beside(found, footprints)), args.outlines, origin), aoi
            )
            records = footprint_records(known, footprints, origin)
        records = records_in(records, aoi)
        seconds = {"predict": predicted - start, "decide": time.monotonic() - predicted}
        run = _run(scene, texts | {"rule": asdict(rule)}, seconds)
        polygons = None if areas is None else areas.geometry
        names = [] if areas is None else _names(areas, args.area_name)
        assessment = Assessment(records, others, polygons, names, (pre, post), grid)
        shown, worst = write_assessment(args.output, assessment, stores.found, run, args.formats)
    print(_told(shift, grid.resolution))
    print(f"{shown:.0%} of the scene can be seen in both images")
    print(summary_table(records))
    if others is not None:
        print(f"{len(others)} buildings are in no footprint: layer {BESIDE}")
    if worst:
        print(worst)
    print(f"{time.monotonic() - start:.0f} s; open {args.output / GEOPACKAGE}")


def _named(column: str | None) -> list[str]:
    return [column] if column else []


def _names(areas: Polygons, column: str | None) -> list[str]:
    if column:
        return text_values(areas, column).tolist()
    return [str(number) for number in range(1, len(areas.geometry) + 1)]


def _given_shift(text: str) -> Shift | None:
    """None where it is to be estimated."""
    if text == _AUTO:
        return None
    words = ["0", "0"] if text == _NONE else text.split(",")
    try:
        dx, dy = map(float, words)
        if not max(abs(dx), abs(dy)) <= _LARGEST_SHIFT:
            raise ValueError(text)
    except ValueError as error:
        raise InputError(
            f"--shift {text}: expected auto, none or two numbers DX,DY of at most {_LARGEST_SHIFT} px, found"
            " another; a negative one as --shift=-3,2"
        ) from error
    return Shift(dx, dy, 0, (), float("nan"))


def _told(shift: Shift, resolution: float) -> str:
    """What the windows said of the images' places."""
    if not shift.windows:
        return f"shift: ({shift.dx:.1f}, {shift.dy:.1f}) px, not estimated"
    moved = f"({shift.dx:.1f}, {shift.dy:.1f}) px, {(shift.dx**2 + shift.dy**2) ** 0.5 * resolution:.1f} m"
    agreed = f"{shift.agreeing} of {len(shift.windows)} windows agree"
    return f"shift: {moved}, {agreed}" if shift.is_applied else f"shift: not applied, only {agreed}"


def _run(scene: Any, origin: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
    grid = scene.grid
    return {
        "skyeye_det": __version__,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "inputs": {
            side.name: [{"path": raster.path, "bands": list(raster.bands)} for raster in side.rasters]
            for side in (scene.pre, scene.post)
        },
        "grid": {
            "crs": grid.crs.to_string(),
            "transform": list(grid.transform[:6]),
            "width": grid.width,
            "height": grid.height,
        },
        "shift": asdict(scene.shift) | {"windows": [asdict(window) for window in scene.shift.windows]},
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        **origin,
    }
