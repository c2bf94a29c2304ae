"""From kept predictions of a scene to the files of a GIS."""

import hashlib
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import shapely
from msgspec import to_builtins

from skyeye_det import __version__
from skyeye_det.decision.results import assess_image
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.models import Models
from skyeye_det.engine.scene_prediction import known_buildings
from skyeye_det.engine.scene_windows import SceneStores
from skyeye_det.files import json_bytes, write_json
from skyeye_det.prediction.visibility import cores
from skyeye_det.report.page.folder import discard_page, write_page
from skyeye_det.scene.adapted import adapted_records
from skyeye_det.scene.earlier_file import require_replaceable
from skyeye_det.scene.footprints import beside, remarks
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import RUN, Assessment, write_assessment
from skyeye_det.scene.own_answers import ANSWERS, write_own_answers
from skyeye_det.scene.pair import Scene
from skyeye_det.scene.records import Origin, Records, building_records, footprint_records, records_in
from skyeye_det.scene.request import AssessmentOptions, Request
from skyeye_det.scene.run_record import GridOfRun, RasterOfRun, Run, ShiftOfRun


@dataclass(frozen=True, eq=False)
class Assessor:
    """What predicts and decides.

    Attributes:
        models: one, or several whose predictions are merged.
        rule: to decide by.
        name: of the model in the records.
    """

    models: Models
    rule: DecisionRule
    name: str

    @property
    def hashes(self) -> list[str | None]:
        """Of the models' weights."""
        return list(self.models.origin().get("weights_sha256", []))


@dataclass(frozen=True, eq=False)
class Results:
    """What an assessment has written, and will.

    Attributes:
        found: what is known of the scene.
        run: what ``run.json`` will say.
        worst: the worst areas, for the terminal.
    """

    found: Assessment
    run: Run
    worst: str


def write_results(
    options: AssessmentOptions,
    request: Request,
    assessor: Assessor,
    scene: Scene,
    stores: SceneStores,
    seconds: Mapping[str, float],
) -> Results:
    """Decides what is predicted of all windows, and writes the files for a GIS; ``finish_results`` the rest.

    Args:
        options: what is asked.
        request: of ``open_request``.
        assessor: that predicted it.
        scene: of which.
        stores: of ``keep_scene``.
        seconds: that prediction took, for ``run.json``.

    Raises:
        InputError: a file cannot be read or written, or people have worked on an earlier result.
    """
    output, start = options.output, time.monotonic()
    require_replaceable(output)  # once more: prediction takes hours
    texts = _texts(options, request, assessor, stores)
    own, found = _decided(options, request, scene, stores, assessor.rule, texts)
    seconds = {**seconds, "decide": time.monotonic() - start}
    discard_page(output)
    shown, worst = write_assessment(output, found, stores.found, options.formats)
    write_own_answers(output / ANSWERS, own, assessor.hashes)
    run = Run(
        skyeye_det=__version__,
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        inputs={side.name: RasterOfRun.of_side(side) for side in (scene.pre, scene.post)},
        grid=GridOfRun.of(scene.grid),
        shift=ShiftOfRun.of(scene.shift),
        seconds={name: round(value, 1) for name, value in seconds.items()},
        **texts,
        rule=assessor.rule,
        outlines=options.outlines,
        seen_share=shown,
        unreadable={window.name: reason for window, reason in stores.unreadable().items()},
        adaptation=request.adaptation and request.adaptation[1],
    )
    return Results(found, run, worst)


def finish_results(output: Path, scene: Scene, run: Run) -> Path:
    """Writes the page, whose path it gives, and ``run.json``; InputError where that fails."""
    page = write_page(output, scene.readers(), scene.grid, run)
    write_json(output / RUN, to_builtins(run), pretty=True)  # last: without it nothing is finished
    return page


def _decided(
    options: AssessmentOptions,
    request: Request,
    scene: Scene,
    stores: SceneStores,
    rule: DecisionRule,
    texts: dict[str, str],
) -> tuple[Records, Assessment]:
    """The model's own answers, and what is known of the scene, graded anew where an adaptation is given."""
    origin = Origin(scene.grid, scene.shift, texts, _unreadable_ground(stores, scene.grid))
    own, others = _records(options, request, stores, rule, origin)
    found = Assessment(
        records=_adapted(request, own, rule),
        beside=None if others is None else _adapted(request, others, rule),
        areas=None if request.areas is None else request.areas.geometry,
        area_names=request.area_names,
        sides=(scene.pre, scene.post),
        grid=scene.grid,
        shift=scene.shift,
        aoi=scene.aoi,
    )
    return own, found


def _adapted(request: Request, records: Records, rule: DecisionRule) -> Records:
    return adapted_records(records, request.adaptation[0], rule) if request.adaptation else records


def _texts(
    options: AssessmentOptions, request: Request, assessor: Assessor, stores: SceneStores
) -> dict[str, str]:
    """What all records of the run say; the same predictions and rule give the same ``run_id``."""
    known = request.footprints.digest if request.footprints else ""
    made_of = [stores.found.digest, stores.found.images[0].sha256, asdict(assessor.rule)]
    made_of += [options.outlines, known]
    made_of += [window.name for window in stores.unreadable()]
    made_of += [asdict(request.adaptation[0])] if request.adaptation else []
    run_id = hashlib.sha256(json_bytes(made_of)).hexdigest()[:12]
    dates = {"pre_date": options.pre_date, "post_date": options.post_date}
    return dates | {"model": assessor.name, "run_id": run_id}


def _unreadable_ground(stores: SceneStores, grid: Grid) -> shapely.Geometry:
    """Where windows could not be read, in the grid's CRS."""
    unreadable, (image,) = stores.unreadable(), stores.found.images
    found = (core for core in cores(stores.found.windows(image)) if core.window in unreadable)
    return shapely.union_all([grid.box(core.x0, core.y0, core.x1, core.y1) for core in found])


def _records(
    options: AssessmentOptions, request: Request, stores: SceneStores, rule: DecisionRule, origin: Origin
) -> tuple[Records, Records | None]:
    """Of the buildings, or of the footprints and of what the model finds beside these."""
    found, footprints = assess_image(stores.found, stores.found.images[0], rule), request.footprints
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
