"""The Dask cluster that a command uses: one of this machine for the time, or one that runs already."""

import asyncio
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, LocalCluster, Nanny

from skyeye_det.errors import InputError
from skyeye_det.workers import signals_held_back

_COMPARED = ("python", "dask", "distributed", "skyeye_det")
_NO_ANSWER = (OSError, TimeoutError, asyncio.TimeoutError, ValueError, TypeError, RuntimeError)


@contextmanager
def connected(engine: str, device: str) -> Iterator[Client]:
    """A client of a cluster.

    Args:
        engine: ``dask``: of its own, for the time; or the address of a scheduler as ``dask://HOST:PORT`` or
            ``dask+tls://HOST:PORT``, where certificates and the like come from Dask's own configuration.
        device: ``MODEL.DEVICE``, by which a cluster of its own gets its workers.

    Raises:
        InputError: no scheduler there that answers.
    """
    address = engine.replace("dask+tls://", "tls://").replace("dask://", "tcp://")
    with _quiet(), _own_cluster(device) if engine == "dask" else nullcontext(address) as place:
        try:
            client = Client(place, set_as_default=False)
        except _NO_ANSWER as error:
            raise InputError(
                f"--engine {engine}: expected a Dask scheduler there, found none that answers"
                f" ({' '.join(str(error).split())[:120] or type(error).__name__})"
            ) from error
        with client:
            yield client


def require_same_versions(client: Client, engine: str) -> None:
    """Refuses a cluster on which this code, or Dask, is another.

    Args:
        client: of the cluster.
        engine: for the message.

    Raises:
        InputError: scheduler or workers have other versions.
    """
    found = client.get_versions(packages=["skyeye_det"])
    own = _versions(found["client"])
    for place, other in (("scheduler", found["scheduler"]), *found["workers"].items()):
        for package, version in _versions(other).items():
            if version != own[package]:
                raise InputError(
                    f"--engine {engine}: expected {package} {own[package]} as here, found {version or 'none'}"
                    f" on {place if place == 'scheduler' else f'worker {place}'}; install the same there"
                )


def _versions(node: dict[str, Any]) -> dict[str, str | None]:
    found = {package: node["packages"].get(package) for package in _COMPARED}
    return found | {"python": ".".join(str(found["python"]).split(".")[:2])}


@contextmanager
def _own_cluster(device: str) -> Iterator[LocalCluster]:
    """Processes of this machine, on one GPU each, or on equal shares of the cores."""
    gpus = visible_gpus() if device == "cuda" else []
    cores = os.cpu_count() or 1
    workers = len(gpus) or min(2, cores)
    threads = {name: max(cores // workers, 1) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # Dask's own number is 1; what the environment says goes before both.
    names = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in threads.items()}
    with dask.config.set(names):
        resource_tracker.ensure_running()  # starting it lets Ctrl-C through again
        with signals_held_back():  # Ctrl-C is the client's, which ends the workers
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                worker_class=OneGpu if gpus else Nanny,
                memory_limit=None,  # Dask's own is the memory's share of a worker's cores
                preload=["import warnings; warnings.simplefilter('ignore')"],  # as commands do
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
            )
        with cluster:
            yield cluster


class OneGpu(Nanny):
    """Starts a worker that sees one GPU alone, by its number in the cluster."""

    def __init__(self, *arguments: Any, name: int, **options: Any):
        super().__init__(*arguments, name=name, env={"CUDA_VISIBLE_DEVICES": visible_gpus()[name]}, **options)


def visible_gpus() -> list[str]:
    """Names of the GPUs that PyTorch sees here, as ``CUDA_VISIBLE_DEVICES`` takes them."""
    from torch.cuda import device_count

    named = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    count = device_count()
    return named[:count] if len(named) >= count and named[0] else [str(number) for number in range(count)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps off the terminal what Dask logs of lost connections: it is told in a sentence."""
    before = {handler: handler.level for handler in logging.getLogger("distributed").handlers}
    for handler in before:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in before.items():
            handler.setLevel(level)
