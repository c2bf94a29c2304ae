"""An assessment, from what is asked to the files of a GIS."""

import hashlib
import time
from contextlib import nullcontext, suppress
from dataclasses import asdict, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import shapely
from msgspec import to_builtins

from skyeye_det import __version__
from skyeye_det.decision.adaptation import FEATURES
from skyeye_det.decision.rule import DecisionRule, read_rule
from skyeye_det.engine.models import Models, ensemble, released_files
from skyeye_det.engine.scene_prediction import (
    Engine,
    SceneStores,
    keep_scene,
    keep_windows,
    known_buildings,
    scene_buildings,
)
from skyeye_det.errors import BusyFolderError, InputError, shown
from skyeye_det.files import json_bytes, sole_writer, write_json
from skyeye_det.prediction.visibility import cores
from skyeye_det.released import released_model
from skyeye_det.report.page.folder import discard_page, require_page_place, write_page
from skyeye_det.scene.adapted import adapted_records
from skyeye_det.scene.earlier_file import require_replaceable
from skyeye_det.scene.footprints import beside, remarks
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import (
    BESIDE,
    GEOPACKAGE,
    RUN,
    Assessment,
    write_assessment,
)
from skyeye_det.scene.own_answers import ANSWERS, write_own_answers
from skyeye_det.scene.pair import Scene, estimated_shift
from skyeye_det.scene.rasters import bounded_cache
from skyeye_det.scene.records import Origin, Records, building_records, footprint_records, records_in
from skyeye_det.scene.request import LOCAL, AssessmentOptions, Request
from skyeye_det.scene.shift import STILL, Shift
from skyeye_det.scene.summary import summary_table


def run_assessment(options: AssessmentOptions, request: Request) -> Records | None:
    """Predicts what is not predicted yet, decides, writes the results, and tells what was found.

    Args:
        options: what is asked.
        request: of ``open_request``.

    Returns:
        The buildings; None where windows are left to other shards.

    Raises:
        InputError: a file cannot be read or written, or the folder holds something else.
    """
    start = time.monotonic()
    models, rule, name = _model(options)
    number, shards = options.shard
    alone = options.output if shards == 1 else options.output / f"shard-{number}-of-{shards}"
    with sole_writer(alone), bounded_cache():
        require_replaceable(options.output)
        require_page_place(options.output)
        _require_same_model(options, request, models)
        scene = _scene(request, options.skip_unreadable)
        stores = keep_scene(models, scene, options, request.footprints, _engine(options.engine))
        if left := stores.missing():
            print(f"shard {number} of {shards} is done; {left} windows are left to the others")
            return None
        predicted = time.monotonic()
        try:
            with nullcontext() if shards == 1 else sole_writer(options.output):
                require_replaceable(options.output)  # once more: prediction takes hours
                texts = _texts(options, stores, rule, name, request)
                origin = Origin(scene.grid, scene.shift, texts, _unreadable_ground(stores, scene.grid))
                records, others = _records(options, request, stores, rule, origin)
                own, records = records, _adapted(request, records, rule)
                others = None if others is None else _adapted(request, others, rule)
                seconds = {"predict": predicted - start, "decide": time.monotonic() - predicted}
                found = _assessment(request, scene.shift, records, others)
                discard_page(options.output)
                shown, worst = write_assessment(options.output, found, stores.found, options.formats)
                write_own_answers(options.output / ANSWERS, own, _hashes(models))
                unreadable = {window.name: reason for window, reason in stores.unreadable().items()}
                told = {"rule": asdict(rule), "outlines": options.outlines, "seen_share": shown}
                told |= {
                    "unreadable": unreadable,
                    "adaptation": to_builtins(request.adaptation and request.adaptation[1]),
                }
                run = _run(scene, texts | told, seconds)
                page = write_page(options.output, scene.readers(), scene.grid, run)
                write_json(options.output / RUN, run, pretty=True)  # last: without it nothing is finished
                _remove_shards(options.output)
        except BusyFolderError:
            print(f"shard {number} of {shards} is done; another writes the results")
            return None
    print(_shift_text(scene.shift, scene.grid.resolution))
    if unreadable:
        print(f"windows that cannot be read, and are not assessed: {len(unreadable)}; {RUN} says why")
    print(f"{shown:.0%} of the scene can be seen in both images")
    print(summary_table(records))
    if others is not None:
        print(f"{len(others)} buildings are in no footprint: layer {BESIDE}")
    if worst:
        print(worst)
    print(f"{time.monotonic() - start:.0f} s; open {page}, or {GEOPACKAGE} in a GIS")
    return records


def _remove_shards(output: Path) -> None:
    """Removes the empty folders by which shards kept each other out."""
    for folder in output.glob("shard-*-of-*"):
        with suppress(OSError):
            folder.rmdir()


def _model(options: AssessmentOptions) -> tuple[Models, DecisionRule, str]:
    """The model, the rule to decide by, and the model's name in the records."""
    released = None if options.config_file or options.weights else released_model(options.model)
    if released is None:
        files, name = ensemble(options.config_file, options.weights, options.tta), options.weights[0]
    else:
        files, name = released_files(released, options.tta), released.name
    models = Models(files, list(options.opts))
    named = options.decisions or (released.rule("assessment") if released else None)
    return models, models.rule() if named is None else read_rule(named), Path(name).name


def _scene(request: Request, skip_unreadable: bool) -> Scene:
    given = request.shift or STILL
    scene = Scene(request.pre, request.post, request.grid, given, request.aoi, skip_unreadable)
    return scene if request.shift else replace(scene, shift=estimated_shift(scene))


def _require_same_model(options: AssessmentOptions, request: Request, models: Models) -> None:
    if request.adaptation is None:
        return
    adaptation, card = request.adaptation
    if card.model_sha256 != _hashes(models):
        raise InputError(
            f"--adaptation {options.adaptation}: expected one of the model that assesses, found one of"
            f" {shown(card.model)}; give that --model, or leave --adaptation out"
        )
    if adaptation.kind == FEATURES and request.footprints is not None:
        raise InputError(
            f"--adaptation {options.adaptation}: expected one of priors alone with --footprints, whose"
            " buildings have no features, found one of features; label footprints, or leave it out"
        )


def _hashes(models: Models) -> list[str | None]:
    return list(models.origin().get("weights_sha256", []))


def _adapted(request: Request, records: Records, rule: DecisionRule) -> Records:
    return adapted_records(records, request.adaptation[0], rule) if request.adaptation else records


def _engine(name: str) -> Engine:
    if name == LOCAL:
        return keep_windows
    from skyeye_det.engine.dask_engine import keep_on_cluster  # Dask is an extra

    return partial(keep_on_cluster, name)


def _texts(
    options: AssessmentOptions, stores: SceneStores, rule: DecisionRule, name: str, request: Request
) -> dict[str, str]:
    """What all records of the run say; the same predictions and rule give the same ``run_id``."""
    known = request.footprints.digest if request.footprints else ""
    made_of = [stores.found.digest, stores.found.images[0].sha256, asdict(rule), options.outlines, known]
    made_of += [window.name for window in stores.unreadable()]
    made_of += [asdict(request.adaptation[0])] if request.adaptation else []
    run_id = hashlib.sha256(json_bytes(made_of)).hexdigest()[:12]
    dates = {"pre_date": options.pre_date, "post_date": options.post_date}
    return dates | {"model": name, "run_id": run_id}


def _unreadable_ground(stores: SceneStores, grid: Grid) -> shapely.Geometry:
    """Where windows could not be read, in the grid's CRS."""
    unreadable, (image,) = stores.unreadable(), stores.found.images
    found = (core for core in cores(stores.found.windows(image)) if core.window in unreadable)
    return shapely.union_all([grid.box(core.x0, core.y0, core.x1, core.y1) for core in found])


def _assessment(request: Request, shift: Shift, records: Records, others: Records | None) -> Assessment:
    areas = None if request.areas is None else request.areas.geometry
    sides = request.pre, request.post
    return Assessment(records, others, areas, request.area_names, sides, request.grid, shift, request.aoi)


def _records(
    options: AssessmentOptions, request: Request, stores: SceneStores, rule: DecisionRule, origin: Origin
) -> tuple[Records, Records | None]:
    """Of the buildings, or of the footprints and of what the model finds beside these."""
    found, footprints = scene_buildings(stores, rule), request.footprints
    if footprints is None or stores.known is None:
        return records_in(building_records(found, options.outlines, origin), request.aoi), None
    for remark in remarks(found, footprints, origin.grid, request.aoi):
        print(f"note: {remark}")
    left = found.of(beside(found, footprints))
    known = known_buildings(stores.known, footprints, rule)
    return (
        records_in(footprint_records(known, footprints, origin), request.aoi),
        records_in(building_records(left, options.outlines, origin), request.aoi),
    )


def _shift_text(shift: Shift, resolution: float) -> str:
    """What the windows said of the images' places."""
    if not shift.windows:
        return f"shift: ({shift.dx:.1f}, {shift.dy:.1f}) px, not estimated"
    moved = f"({shift.dx:.1f}, {shift.dy:.1f}) px, {(shift.dx**2 + shift.dy**2) ** 0.5 * resolution:.1f} m"
    if shift.field is not None:
        moved += " in the middle, a field from place to place"
    agreed = f"{shift.agreeing} of {len(shift.windows)} windows agree"
    return f"shift: {moved}, {agreed}" if shift.is_applied else f"shift: not applied, only {agreed}"


def _run(scene: Scene, origin: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
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
