"""From two sides of a scene to its records: predict window by window, keep, decide, write."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skyeye_det.engine.faults import faults_reported
from skyeye_det.engine.models import Models
from skyeye_det.files import json_bytes
from skyeye_det.prediction.prediction import InstancePrediction
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.visibility import keep_window
from skyeye_det.prediction.windows import Window, cut_windows
from skyeye_det.progress import progress
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.rasters import Side
from skyeye_det.scene.reading import SideReader
from skyeye_det.scene.shift import SAMPLE, Shift, WindowShift, agreed_shift, window_shift

PARTS = "parts"
SCENE = "scene"
_MOST_COMPARED = 40


@dataclass(frozen=True)
class Scene:
    """Two sides on one grid.

    Attributes:
        pre: before.
        post: after.
        grid: of both.
        shift: by which the post image is moved.
    """

    pre: Side
    post: Side
    grid: Grid
    shift: Shift

    def readers(self) -> tuple[SideReader, SideReader]:
        """Of both sides, the post image moved."""
        return SideReader(self.pre, self.grid), SideReader(
            self.post, self.grid, (self.shift.dx, self.shift.dy)
        )


def estimated_shift(pre: Side, post: Side, grid: Grid) -> Shift:
    """Compares at most ``_MOST_COMPARED`` windows, spread over the scene."""
    windows = cut_windows(grid.shape, SAMPLE, 0)
    chosen = windows[:: max(-(-len(windows) // _MOST_COMPARED), 1)]
    found: list[WindowShift] = []
    with SideReader(pre, grid) as before, SideReader(post, grid) as after:
        for window in progress(chosen, len(chosen), "compare", "window"):
            (one, seen), (other, also) = before.read(window), after.read(window)
            middle = window.x + window.width / 2, window.y + window.height / 2
            if (shift := window_shift(one, other, seen & also, middle)) is not None:
                found.append(shift)
    return agreed_shift(found)


def keep_scene(models: Models, scene: Scene, output: Path, window: int, overlap: int) -> PredictionStore:
    """Predicts the windows of a scene that an earlier, killed run has left.

    Args:
        models: one, or several whose predictions are merged.
        scene: what is seen.
        output: folder of the assessment; predictions go to ``parts/``.
        window: side of a window in px of the grid.
        overlap: px that neighbours share.

    Raises:
        InputError: the folder holds an assessment of something else, or a file cannot be read.
    """
    image = KeptImage(SCENE, SCENE, *scene.grid.shape, _digest(scene))
    store = PredictionStore.create(output / PARTS, (image,), window, overlap, models.origin())
    windows, todo = store.windows(image), store.missing(image)
    print(f"{len(windows)} windows, {len(windows) - len(todo)} of them predicted before")
    if todo:
        models.load()
    with faults_reported():
        for place, pixels, seen in progress(_read_ahead(scene, todo), len(todo), "predict", "window"):
            prediction = models.predict(pixels) if seen[0].any() else _nothing(place)
            keep_window(store, image, place, prediction, seen)
    return store


def _read_ahead(scene: Scene, windows: list[Window]) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """Windows with uint8 (6, h, w) and bool (2, h, w); the next is read while one is predicted."""
    before, after = scene.readers()

    def read(window: Window) -> tuple[Window, np.ndarray, np.ndarray]:
        (one, seen), (other, also) = before.read(window), after.read(window)
        return window, np.concatenate([one, other]), np.stack([seen, also])

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
        "shift": [scene.shift.dx, scene.shift.dy],
    }
    return hashlib.sha256(json_bytes(made_of)).hexdigest()


def _size_and_time(path: str) -> list[int]:
    """Of a local file; nothing of a remote one."""
    place = Path(path)
    return [place.stat().st_size, place.stat().st_mtime_ns] if place.is_file() else []
