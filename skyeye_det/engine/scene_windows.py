"""The windows of a scene: read, predicted and kept."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from skyeye_det.engine.faults import faults_reported
from skyeye_det.engine.models import Models
from skyeye_det.files import read_bytes
from skyeye_det.prediction.footprints import Footprints, cut_to
from skyeye_det.prediction.masks import Crop
from skyeye_det.prediction.prediction import InstancePrediction, Prediction
from skyeye_det.prediction.store import PredictionStore
from skyeye_det.prediction.visibility import keep_window
from skyeye_det.prediction.windows import Window
from skyeye_det.scene.pair import PairReader, Scene
from skyeye_det.scene.rasters import bounded_cache


def _lacks(store: PredictionStore | None, window: Window) -> bool:
    """Whether a window of a scene is yet to be predicted for a store."""
    return store is not None and not store.holds(store.images[0], window)


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
        return any(_lacks(store, window) for store in self.each)

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

    def footprints(self) -> Footprints:
        """The crops in px of the window."""
        crops = [cut_to(crop, self.window) for crop in self.crops]
        return Footprints(crops, (self.window.height, self.window.width))


Engine = Callable[[Models, Scene, SceneStores, Sequence[WindowTask]], Iterator[WindowTask]]
"""What predicts windows and keeps them, as ``keep_windows``: here or elsewhere, in any order."""


def keep_windows(
    models: Models, scene: Scene, stores: SceneStores, tasks: Sequence[WindowTask]
) -> Iterator[WindowTask]:
    """Predicts windows in this process, but for what is kept already; reading and writing go on meanwhile.

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
    with faults_reported(), bounded_cache(), ThreadPoolExecutor(1) as writer:
        models.load()
        kept: list[tuple[WindowTask, Future[None]]] = []
        windows = list(todo)
        size = models.batch_size(windows[0].height * windows[0].width)  # they are all of one size
        for batch in _read_ahead(scene, windows, size):
            found, known = _predicted(models, scene, stores, batch, todo)
            yield from _done(kept)  # those before were written meanwhile
            kept = []
            for seen in batch:
                of_window = found.get(seen.window), known.get(seen.window)
                kept.append((todo[seen.window], writer.submit(_keep, stores, seen, *of_window)))
        yield from _done(kept)


def _done(kept: Sequence[tuple[WindowTask, Future[None]]]) -> Iterator[WindowTask]:
    """Windows, each when it is written."""
    for task, written in kept:
        written.result()
        yield task


class _Seen(NamedTuple):
    """A window with what ``PairReader.read`` gives."""

    window: Window
    pixels: np.ndarray
    visible: np.ndarray
    fault: str


def _predicted(
    models: Models,
    scene: Scene,
    stores: SceneStores,
    batch: Sequence[_Seen],
    tasks: Mapping[Window, WindowTask],
) -> tuple[dict[Window, Prediction], dict[Window, InstancePrediction]]:
    """What is to be kept of windows: buildings that models find, and footprints classified."""
    found: dict[Window, Prediction] = {}
    known: dict[Window, InstancePrediction] = {}
    alone = []
    for each in batch:
        window, given = each.window, tasks[each.window].footprints()
        lacks_found, lacks_known = _lacks(stores.found, window), _lacks(stores.known, window)
        finds = lacks_found and each.visible[0].any() and scene.meets_aoi(window)
        # In any window with a pixel: a footprint of the AOI may be classified by one outside of it.
        classifies = lacks_known and given.crops and each.visible.any()
        if finds and classifies:
            found[window], known[window] = models.predict_and_classify(each.pixels, given)
            continue
        if finds:
            alone.append(each)
        elif lacks_found:
            found[window] = _nothing(window)
        if classifies:
            known[window] = models.classify(each.pixels, given)
        elif lacks_known:
            known[window] = given.ungraded()
    if alone:
        predictions = models.predict_batch([each.pixels for each in alone])
        found |= zip((each.window for each in alone), predictions, strict=True)
    return found, known


def _keep(
    stores: SceneStores, seen: _Seen, found: Prediction | None, known: InstancePrediction | None
) -> None:
    """Keeps what was predicted in a window; None: it was kept before."""
    for store, kept in ((stores.found, found), (stores.known, known)):
        if store is not None and kept is not None:
            keep_window(store, store.images[0], seen.window, kept, seen.visible, seen.fault)


def _read_ahead(scene: Scene, windows: Sequence[Window], size: int) -> Iterator[list[_Seen]]:
    """Batches of windows; the next is read while one is predicted."""
    pair = PairReader(scene)

    def read(batch: Sequence[Window]) -> list[_Seen]:
        return [_Seen(window, *pair.read(window)) for window in batch]

    with pair, ThreadPoolExecutor(1) as reader:
        coming = None
        for start in range(0, len(windows), size):
            following = reader.submit(read, windows[start : start + size])
            if coming is not None:
                yield coming.result()
            coming = following
        if coming is not None:
            yield coming.result()


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
