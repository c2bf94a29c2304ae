"""Windows of a scene predicted by the workers of a Dask cluster.

Workers read the images, and write what they predict to the output folder, so all of them must see both. The
client hands out windows and waits. A lost worker's windows are done again by another. The scheduler imports
this module too, and needs no torch.
"""

import asyncio
import concurrent.futures
import pickle
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from distributed import Client, Future, get_worker
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from skyeye_det import __version__
from skyeye_det.engine.dask_cluster import connected, require_same_versions
from skyeye_det.errors import InputError
from skyeye_det.files import absolute_file, json_bytes
from skyeye_det.prediction.store import PredictionStore

if TYPE_CHECKING:
    from skyeye_det.engine.models import Models
    from skyeye_det.engine.scene_windows import SceneStores, WindowTask
    from skyeye_det.scene.pair import Scene

PATIENCE = 300.0
"""Seconds without any worker after which a run ends: clusters that grow on demand need minutes to begin."""

_LOOK_EVERY = 5.0  # s, for whether there are workers
_LARGEST_BATCH = 8
_BATCHES_A_WORKER = 4  # at least, so that all end at about the same time
_AHEAD = 256  # batches that the scheduler holds at a time
_ATTRIBUTE_CACHE = 60.0  # s, for which network file systems may not show a file that another machine wrote
_GONE = (concurrent.futures.CancelledError, asyncio.CancelledError, CommClosedError)
_OTHER_CODE = (ImportError, AttributeError, pickle.UnpicklingError)

_turn = threading.Lock()
"""One task at a time, also where a worker has several threads."""


def keep_on_cluster(
    engine: str, models: "Models", scene: "Scene", stores: "SceneStores", tasks: Sequence["WindowTask"]
) -> Iterator["WindowTask"]:
    """Has windows predicted and kept by workers, see ``scene_windows.keep_windows``.

    Args:
        engine: ``dask``, or the address of a scheduler as ``dask://HOST:PORT`` or ``dask+tls://HOST:PORT``;
            certificates and the like come from Dask's own configuration.
        models: as for ``keep_windows``; no weights are loaded here.
        scene: likewise.
        stores: likewise.
        tasks: likewise.

    Yields:
        Each window some time after it is kept, in any order.

    Raises:
        InputError: of a worker; or no scheduler, none any more, no workers, or other versions there.
    """
    with connected(engine, str(models.cfg.MODEL.DEVICE)) as client:
        try:
            require_same_versions(client, engine)
            yield from _kept(client, engine, _job(models, scene, stores), tasks)
        except KilledWorker as error:
            raise InputError(
                f"--engine {engine}: {error.allowed_failures + 1} workers died while they predicted the same"
                " windows, probably for want of memory; give workers more, or fewer to a machine"
            ) from error
        except _GONE as error:
            raise InputError(
                f"--engine {engine}: the scheduler is gone; what was predicted is kept, run again"
            ) from error
        except (*_OTHER_CODE, RuntimeError) as error:
            if not isinstance(error, _OTHER_CODE) and "deserialization" not in str(error):
                raise
            raise InputError(
                f"--engine {engine}: expected skyeye_det {__version__} as here on scheduler and workers,"
                f" found another or none ({' '.join(str(error).split())[:120]}); install the same there"
            ) from error
    _await_files(engine, stores)


def _kept(
    client: Client, engine: str, job: tuple[bytes, bytes], tasks: Sequence["WindowTask"]
) -> Iterator["WindowTask"]:
    """Hands out batches, not too many at a time, and gives their windows when they are done."""
    size = len(tasks) // (_BATCHES_A_WORKER * max(len(client.nthreads()), 1))
    size = min(max(size, 1), _LARGEST_BATCH)
    batches = iter([tasks[start : start + size] for start in range(0, len(tasks), size)])
    # Results of tasks, unlike scattered data, are made again when the only worker that has them dies.
    models, scene = (client.submit(bytes, part, pure=False) for part in job)
    under_way: dict[Future, Sequence[WindowTask]] = {}
    done: queue.SimpleQueue[Future] = queue.SimpleQueue()
    last_seen = time.monotonic()
    while True:
        for batch in islice(batches, _AHEAD - len(under_way)):
            future = client.submit(keep_batch, __version__, models, scene, pickle.dumps(batch), pure=False)
            under_way[future] = batch
            future.add_done_callback(done.put)
        if not under_way:
            return
        try:
            future = done.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            last_seen = time.monotonic() if client.nthreads() else last_seen
            if time.monotonic() - last_seen > PATIENCE:
                raise InputError(
                    f"--engine {engine}: expected workers, found none for {PATIENCE:.0f} s; start some"
                ) from None
            continue
        last_seen = time.monotonic()
        if fault := future.result():
            raise InputError(fault)
        yield from under_way.pop(future)


def _job(models: "Models", scene: "Scene", stores: "SceneStores") -> tuple[bytes, bytes]:
    """All that windows share, with absolute paths; packed, as the scheduler has no torch to unpack it."""
    before, after = (
        replace(side, rasters=tuple(replace(each, path=absolute_file(each.path)) for each in side.rasters))
        for side in (scene.pre, scene.post)
    )
    known = stores.known and replace(stores.known, folder=stores.known.folder.absolute())
    there = replace(stores, found=replace(stores.found, folder=stores.found.folder.absolute()), known=known)
    return (
        pickle.dumps((models, _digest(models))),
        pickle.dumps((replace(scene, pre=before, post=after), there)),
    )


def keep_batch(version: str, models: bytes, scene: bytes, batch: bytes) -> str | None:
    """A worker's task: predicts some windows and keeps them, but for those that are kept already.

    Args:
        version: of the client's skyeye_det.
        models: packed, see ``_job``; the same as of the task before are loaded already.
        scene: packed, with the stores.
        batch: packed ``WindowTask``.

    Returns:
        None; or what is wrong with the input, in a sentence: workers log what tasks raise as tracebacks.
    """
    from skyeye_det.engine.scene_windows import keep_windows

    with _turn:
        try:
            if version != __version__:
                raise InputError(f"expected skyeye_det {version} as the client's, found {__version__}")
            seen, stores = _opened_scene(scene)
            for store in stores.each:
                _require_shared(store)
            for _ in keep_windows(_opened_models(models), seen, stores, pickle.loads(batch)):
                pass
        except InputError as error:
            return f"{error} (worker {get_worker().address})"
    return None


@lru_cache(maxsize=1)
def _opened_models(packed: bytes) -> "Models":
    """Stays with its networks in the worker's memory until others are asked for."""
    models, digest = pickle.loads(packed)
    if _digest(models) != digest:
        raise InputError(
            f"{models.files[0].weights}: expected the same weights and config as the client's, found others"
            " or none; put them where all workers see them"
        )
    return models


@lru_cache(maxsize=1)
def _opened_scene(packed: bytes) -> "tuple[Scene, SceneStores]":
    return pickle.loads(packed)


def _digest(models: "Models") -> bytes:
    return json_bytes({key: value for key, value in models.origin().items() if key != "weights"})


def _require_shared(store: PredictionStore) -> None:
    """Refuses a folder that is another machine's own, or that another run has taken since."""
    try:
        found = PredictionStore.read(store.folder)
    except InputError:
        found = None
    if found != store:
        raise InputError(
            f"{store.folder}: expected the client's output folder, found another or none; choose an --output"
            " on files that all workers share"
        )


def _await_files(engine: str, stores: "SceneStores") -> None:
    """Waits until the client sees what the workers wrote."""
    end = time.monotonic() + _ATTRIBUTE_CACHE
    while left := stores.missing():
        if time.monotonic() > end:
            raise InputError(
                f"--engine {engine}: expected all windows in {stores.found.folder}, found {left} missing that"
                " workers have written; choose an --output on files that all workers share, and run again"
            )
        time.sleep(0.5)
        for store in stores.each:
            list(store.folder.iterdir())  # network file systems look again
