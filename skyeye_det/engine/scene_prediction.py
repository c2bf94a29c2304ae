"""A scene of two sides predicted window by window, kept, and decided."""

import hashlib
from pathlib import Path
from typing import Any

from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.decide import decide_footprints
from skyeye_det.decision.results import footprint_probs
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.models import Models
from skyeye_det.engine.scene_windows import Engine, SceneStores, WindowTask, keep_windows
from skyeye_det.files import absolute_file, json_bytes, sole_writer
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.visibility import core_visibility, seen_shares
from skyeye_det.progress import progress
from skyeye_det.scene.disk_room import require_room
from skyeye_det.scene.footprints import SceneFootprints
from skyeye_det.scene.outputs import PARTS
from skyeye_det.scene.pair import Scene
from skyeye_det.scene.request import AssessmentOptions

SCENE = "scene"


def keep_scene(
    models: Models,
    scene: Scene,
    options: AssessmentOptions,
    footprints: SceneFootprints | None,
    engine: Engine = keep_windows,
) -> SceneStores:
    """Predicts the windows of a scene that an earlier, killed run has left.

    Args:
        models: one, or several whose predictions are merged.
        scene: what is seen.
        options: predictions go to ``parts/`` of the output, those of footprints to a folder in it; the
            windows, and which of them are this shard's.
        footprints: outlines to classify beside.
        engine: what predicts them.

    Raises:
        InputError: the folder holds an assessment of something else, its disk is too small, or a file cannot
            be read.
    """
    made_of = {name: _digest(each) for name, each in _made_of(scene).items()}
    image = KeptImage(SCENE, SCENE, *scene.grid.shape, _digest(made_of))
    parts, cut = options.output / PARTS, (options.window, options.overlap)
    origin = models.origin() | {"scene": made_of}  # those of another are refused, not replaced
    known, digest = None, footprints.digest if footprints else ""
    with sole_writer(parts):  # shards begin together
        found = PredictionStore.create(parts, (image,), *cut, origin)
        if footprints is not None:
            folder = parts / f"footprints-{digest[:12]}"
            known = PredictionStore.create(folder, (image,), *cut, origin | {"footprints_sha256": digest})
        stores, windows = SceneStores(found, known), found.windows(image)
        number, shards = options.shard
        unreadable = stores.unreadable()
        stores.forget(
            window
            for window in windows[number - 1 :: shards]  # another shard may be at work on its own
            if window in unreadable
            and (not scene.skip_unreadable or stores.lack(window))  # both stores know the same of a window
        )
    tasks = [WindowTask(window, []) for window in windows]
    if footprints is not None:
        for task, indices in zip(tasks, footprints.shared_out(windows), strict=True):
            task.crops.extend(footprints.crops[index] for index in indices)
    own = tasks[number - 1 :: shards]
    todo = [task for task in own if stores.lack(task.window)]
    pixels = sum(task.window.width * task.window.height for task in todo)
    if note := require_room(options.output, len(todo), pixels):
        print(f"note: {note}")
    print(f"{len(own)} windows, {len(own) - len(todo)} of them predicted before")
    if todo:
        for _ in progress(engine(models, scene, stores, todo), len(todo), "predict", "window"):
            pass
    return stores


def known_buildings(store: PredictionStore, footprints: SceneFootprints, rule: DecisionRule) -> Buildings:
    """A building for each footprint; what lies outside of the images counts as not shown."""
    image = store.images[0]
    shared = footprints.shared_out(store.windows(image))
    probs = footprint_probs(store, image, shared, len(footprints.crops))
    found = decide_footprints(footprints.crops, probs, (image.height, image.width), rule)
    classified = footprints.inside.copy()
    for window, numbers in zip(store.windows(image), shared, strict=True):
        if store.unreadable_path(image, window).is_file():
            classified[numbers] = 0
    return found.graded_where_seen(
        lambda masks: seen_shares(masks, core_visibility(store, image)) * classified[:, None]
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json_bytes(value)).hexdigest()


def _made_of(scene: Scene) -> dict[str, Any]:
    """All that the windows' pixels follow from: files with size and time, grid, shift."""
    grid = scene.grid
    return {
        "images": [
            [
                side.name,
                absolute_file(raster.path),
                # A GIS that shows an image writes statistics beside it; place and nodata are told here.
                [_size_and_time(file) for file in raster.files if not file.endswith(".aux.xml")],
                [raster.crs.to_wkt(), *raster.transform[:6], raster.width, raster.height],
                [*raster.bands, *raster.nodata],
            ]
            for side in (scene.pre, scene.post)
            for raster in side.rasters
        ],
        "grid": [grid.crs.to_wkt(), list(grid.transform[:6]), grid.width, grid.height],
        "shift": [scene.shift.dx, scene.shift.dy, *(scene.shift.field or ())],
        "aoi": None if scene.aoi is None else scene.aoi.wkt,
    }


def _size_and_time(path: str) -> list[int]:
    """Of a local file; nothing of a remote one."""
    place = Path(path)
    return [place.stat().st_size, place.stat().st_mtime_ns] if place.is_file() else []
