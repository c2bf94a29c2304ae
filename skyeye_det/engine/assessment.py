"""An assessment, from what is asked to the files of a GIS."""

import time
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from skyeye_det.decision.adaptation import FEATURES
from skyeye_det.decision.rule import read_rule
from skyeye_det.engine.assessment_results import Assessor, Results, finish_results, write_results
from skyeye_det.engine.models import open_models
from skyeye_det.engine.scene_prediction import keep_scene
from skyeye_det.engine.scene_windows import Engine, keep_windows
from skyeye_det.errors import BusyFolderError, InputError, UnreadableError, shown
from skyeye_det.files import sole_writer
from skyeye_det.report.page.folder import require_page_place
from skyeye_det.scene.earlier_file import require_replaceable
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE, RUN
from skyeye_det.scene.pair import PairReader, Scene, estimated_shift, refuse_copy
from skyeye_det.scene.rasters import bounded_cache
from skyeye_det.scene.records import Records
from skyeye_det.scene.request import LOCAL, AssessmentOptions, Request
from skyeye_det.scene.shift import MOST_CORRELATED, STILL, Shift
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
    assessor = _assessor(options)
    number, shards = options.shard
    alone = options.output if shards == 1 else options.output / f"shard-{number}-of-{shards}"
    with sole_writer(alone), bounded_cache():
        require_replaceable(options.output)
        require_page_place(options.output)
        _require_same_model(options, request, assessor)
        scene = open_scene(request, options.skip_unreadable)
        engine = _engine(options.engine)
        stores = keep_scene(assessor.models, scene, options, request.footprints, engine)
        if left := stores.missing():
            print(f"shard {number} of {shards} is done; {left} windows are left to the others")
            return None
        seconds = {"predict": time.monotonic() - start}
        try:
            with nullcontext() if shards == 1 else sole_writer(options.output):
                results = write_results(options, request, assessor, scene, stores, seconds)
                page = finish_results(options.output, scene, results.run)
                _remove_shards(options.output)
        except BusyFolderError:
            print(f"shard {number} of {shards} is done; another writes the results")
            return None
    _tell(results)
    print(f"{time.monotonic() - start:.0f} s; open {page}, or {GEOPACKAGE} in a GIS")
    return results.found.records


def _tell(results: Results) -> None:
    """Prints what was found."""
    found, run = results.found, results.run
    print(_shift_text(found.shift, found.grid.resolution))
    if run.unreadable:
        print(f"windows that cannot be read, and are not assessed: {len(run.unreadable)}; {RUN} says why")
    print(f"{run.seen_share:.0%} of the scene can be assessed")
    print(summary_table(found.records))
    if found.beside is not None:
        print(f"{len(found.beside)} buildings are in no footprint: layer {BESIDE}")
    if results.worst:
        print(results.worst)


def _remove_shards(output: Path) -> None:
    """Removes the empty folders by which shards kept each other out."""
    for folder in output.glob("shard-*-of-*"):
        with suppress(OSError):
            folder.rmdir()


def _assessor(options: AssessmentOptions) -> Assessor:
    models = open_models(
        options.model,
        config_files=options.config_file,
        weights=options.weights,
        views=options.tta,
        overrides=options.opts,
    )
    rule = read_rule(options.decisions) if options.decisions else models.rule("assessment")
    return Assessor(models, rule, Path(options.weights[0]).name if options.weights else options.model)


def open_scene(request: Request, skip_unreadable: bool = False) -> Scene:
    """The two sides on one grid, the post image moved as was asked or as the images say."""
    still = Scene(request.pre, request.post, request.grid, STILL, request.aoi, skip_unreadable)
    with PairReader(still) as reader:
        refuse_copy(reader)
        found = STILL
        # What is not needed need not be readable: the prediction names it.
        with suppress(UnreadableError) if request.shift else nullcontext():
            found = estimated_shift(reader)
    if found.correlation > MOST_CORRELATED:
        print(
            f"--pre and --post are nearly alike: edges correlate by {found.correlation:.2f}, where"
            f" {MOST_CORRELATED} is much for two dates; if one is a copy, give the image of the other date"
        )
    return replace(still, shift=request.shift or found)


def _require_same_model(options: AssessmentOptions, request: Request, assessor: Assessor) -> None:
    if request.adaptation is None:
        return
    adaptation, card = request.adaptation
    if card.model_sha256 != assessor.hashes:
        raise InputError(
            f"--adaptation {options.adaptation}: expected one of the model that assesses, found one of"
            f" {shown(card.model)}; give that --model, or leave --adaptation out"
        )
    if adaptation.kind == FEATURES and request.footprints is not None:
        raise InputError(
            f"--adaptation {options.adaptation}: expected one of priors alone with --footprints, whose"
            " buildings have no features, found one of features; label footprints, or leave it out"
        )


def _engine(name: str) -> Engine:
    if name == LOCAL:
        return keep_windows
    from skyeye_det.engine.dask_engine import keep_on_cluster  # Dask is an extra

    return partial(keep_on_cluster, name)


def _shift_text(shift: Shift, resolution: float) -> str:
    """What the windows said of the images' places."""
    if not shift.windows:
        return f"shift: ({shift.dx:.1f}, {shift.dy:.1f}) px, not estimated"
    moved = f"({shift.dx:.1f}, {shift.dy:.1f}) px, {(shift.dx**2 + shift.dy**2) ** 0.5 * resolution:.1f} m"
    if shift.field is not None:
        moved += " in the middle, a field from place to place"
    agreed = f"{shift.agreeing} of {len(shift.windows)} windows agree"
    return f"shift: {moved}, {agreed}" if shift.is_applied else f"shift: not applied, only {agreed}"
