"""A scene of two sides predicted window by window, kept, and decided."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.decide import decide_footprints
from skyeye_det.decision.results import assess_image, footprint_probs
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.engine.faults import faults_reported
from skyeye_det.engine.models import Models
from skyeye_det.files import json_bytes, read_bytes, sole_writer
from skyeye_det.prediction.footprints import Footprints, cut_to
from skyeye_det.prediction.masks import Crop
from skyeye_det.prediction.prediction import InstancePrediction
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.visibility import core_visibility, keep_window, seen_shares
from skyeye_det.prediction.windows import Window
from skyeye_det.progress import progress
from skyeye_det.scene.disk_room import require_room
from skyeye_det.scene.footprints import SceneFootprints
from skyeye_det.scene.pair import Scene
from skyeye_det.scene.rasters import bounded_cache
from skyeye_det.scene.request import AssessmentOptions

PARTS = "parts"
SCENE = "scene"


@dataclass(frozen=True)
class SceneStores:
    """What was predicted of a scene.

    Attributes:
        found: of the buildings that models found.
        known: of footprints; None: none were given.
    """

    found: PredictionStore
    known: PredictionStore | None

    @property
    def each(self) -> tuple[PredictionStore, ...]:
        """The one, or both."""
        return (self.found,) if self.known is None else (self.found, self.known)

    def lack(self, window: Window) -> bool:
        """Whether a window is not predicted yet, or its footprints are not."""
        return not all(store.holds(store.images[0], window) for store in self.each)

    def missing(self) -> int:
        """How many windows are not predicted yet."""
        return max(len(store.missing(store.images[0])) for store in self.each)

    def unreadable(self) -> dict[Window, str]:
        """Windows that could not be read and are kept so, with the reason of each."""
        return {
            window: read_bytes(path).decode(errors="replace")
            for store in self.each
            for window in store.windows(store.images[0])
            if (path := store.unreadable_path(store.images[0], window)).is_file()
        }

    def forget(self, windows: Iterable[Window]) -> None:
        """Removes what is kept of windows."""
        for window in windows:
            for store in self.each:
                store.forget(store.images[0], window)


@dataclass(frozen=True, eq=False)
class WindowTask:
    """A window that is to be predicted.

    Attributes:
        window: its place.
        crops: of the footprints that it classifies, in px of the grid.
    """

    window: Window
    crops: list[Crop]


Engine = Callable[[Models, Scene, SceneStores, Sequence[WindowTask]], Iterator[WindowTask]]
"""What predicts windows and keeps them, as ``keep_windows``: here or elsewhere, in any order."""


def keep_windows(
    models: Models, scene: Scene, stores: SceneStores, tasks: Sequence[WindowTask]
) -> Iterator[WindowTask]:
    """Predicts windows in this process, one after the other, but for what is kept already.

    Args:
        models: one, or several whose predictions are merged.
        scene: what is seen.
        stores: where predictions are kept.
        tasks: the windows.

    Yields:
        Each window as soon as it is kept.

    Raises:
        InputError: a file cannot be read or written, or the memory is too small.
    """
    todo = {task.window: task for task in tasks if stores.lack(task.window)}
    if not todo:
        return
    image = stores.found.images[0]
    with faults_reported(), bounded_cache():
        models.load()
        for place, pixels, seen, fault in _read_ahead(scene, list(todo)):
            shows = bool(seen[0].any()) and scene.meets_aoi(place)
            if not stores.found.holds(image, place):
                found = models.predict(pixels) if shows else _nothing(place)
                keep_window(stores.found, image, place, found, seen, fault)
            if stores.known is not None and not stores.known.holds(image, place):
                crops = [cut_to(crop, place) for crop in todo[place].crops]
                given = Footprints(crops, (place.height, place.width))
                unknown = given.prediction(np.full((len(crops), NUM_DAMAGE_CLASSES), 0.25, np.float32))
                # In any window with a pixel: a footprint of the AOI may be classified by one outside of it.
                graded = models.classify(pixels, given) if crops and seen.any() else unknown
                keep_window(stores.known, image, place, graded, seen, fault)
            yield todo[place]


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
    image = KeptImage(SCENE, SCENE, *scene.grid.shape, _digest(scene))
    parts, origin, cut = options.output / PARTS, models.origin(), (options.window, options.overlap)
    known, digest = None, footprints.digest if footprints else ""
    with sole_writer(parts):  # shards begin together
        found = PredictionStore.create(parts, (image,), *cut, origin)
        if footprints is not None:
            folder = parts / f"footprints-{digest[:12]}"
            known = PredictionStore.create(folder, (image,), *cut, origin | {"footprints_sha256": digest})
        stores = SceneStores(found, known)
        stores.forget(
            window
            for window in stores.unreadable()
            if not scene.skip_unreadable or stores.lack(window)  # both stores know the same of a window
        )
    windows = found.windows(image)
    tasks = [WindowTask(window, []) for window in windows]
    if footprints is not None:
        for task, indices in zip(tasks, footprints.shared_out(windows), strict=True):
            task.crops.extend(footprints.crops[index] for index in indices)
    number, shards = options.shard
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


def scene_buildings(stores: SceneStores, rule: DecisionRule) -> Buildings:
    """The buildings that models found, without a grade where the images do not show them."""
    return assess_image(stores.found, stores.found.images[0], rule)


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


def _read_ahead(
    scene: Scene, windows: Sequence[Window]
) -> Iterator[tuple[Window, np.ndarray, np.ndarray, str]]:
    """Windows with what ``Scene.read`` gives; the next is read while one is predicted."""
    before, after = scene.readers()

    def read(window: Window) -> tuple[Window, np.ndarray, np.ndarray, str]:
        return window, *scene.read(before, after, window)

    with before, after, ThreadPoolExecutor(1) as reader:
        coming = None
        for window in [*windows, None]:
            following = None if window is None else reader.submit(read, window)
            if coming is not None:
                yield coming.result()
            coming = following


def _nothing(window: Window) -> InstancePrediction:
    """What is seen in a window without a pixel."""
    return InstancePrediction(
        boxes=np.zeros((0, 4), np.float32),
        masks=np.zeros((0, 28, 28), np.uint8),
        scores=np.zeros(0, np.float32),
        damage_probs=np.zeros((0, 4), np.float32),
        is_component=np.zeros(0, np.bool_),
        features=np.zeros((0, 0), np.float16),
        shape=(window.height, window.width),
    )


def _digest(scene: Scene) -> str:
    """Of all that the windows' pixels follow from: files with size and time, grid, shift."""
    grid = scene.grid
    made_of = {
        "files": [
            [
                side.name,
                raster.path,
                [_size_and_time(file) for file in raster.files],
                [raster.crs.to_wkt(), *raster.transform[:6], raster.width, raster.height],
                list(raster.bands),
            ]
            for side in (scene.pre, scene.post)
            for raster in side.rasters
        ],
        "grid": [grid.crs.to_wkt(), list(grid.transform[:6]), grid.width, grid.height],
        "shift": [scene.shift.dx, scene.shift.dy, *(scene.shift.field or ())],
        "aoi": None if scene.aoi is None else scene.aoi.wkt,
    }
    return hashlib.sha256(json_bytes(made_of)).hexdigest()


def _size_and_time(path: str) -> list[int]:
    """Of a local file; nothing of a remote one."""
    place = Path(path)
    return [place.stat().st_size, place.stat().st_mtime_ns] if place.is_file() else []
