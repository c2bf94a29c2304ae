"""Faults of a training run that the user can put right, reported in one sentence instead of a traceback."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from skyeye_det.errors import InputError

_OF_WORKER = re.compile(r"^skyeye_det\.[\w.]+Error: (.+)", re.MULTILINE)
_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory", re.IGNORECASE)
_WORKER_LATE = re.compile(r"DataLoader timed out after ([\d.]+) seconds")
_WORKER_DIED = re.compile(r"DataLoader worker .*(killed|exited)", re.IGNORECASE)
_LOG_OF_LOOP = logging.getLogger("detectron2.engine.train_loop")


@contextmanager
def faults_reported() -> Iterator[None]:
    """Turns what a data set, the memory or a loading process did into an InputError; bugs pass as they are.

    Raises:
        InputError: the block met such a fault.
    """
    _LOG_OF_LOOP.addFilter(_is_no_fault)
    try:
        yield
    except (InputError, MemoryError, RuntimeError) as error:
        sentence = _sentence(error)
        if sentence is None:
            raise
        raise InputError(sentence) from error
    finally:
        _LOG_OF_LOOP.removeFilter(_is_no_fault)


def one_line(error: BaseException) -> str:
    """The error's message on one line; its kind where it has none."""
    # The str() of a KeyError is the repr of its message.
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return " ".join(text.split()) or type(error).__name__


def _sentence(error: BaseException) -> str | None:
    text = str(error)
    # torch hands a worker's error on with the worker's traceback as message.
    if original := _OF_WORKER.findall(text):
        return original[-1]
    if isinstance(error, InputError):
        return text
    if isinstance(error, MemoryError) or _OUT_OF_MEMORY.search(text):
        return (
            f"out of memory ({one_line(error)[:120]}); in training lower SOLVER.IMS_PER_BATCH or"
            " INPUT.PAIR.CROP_SIZE, else --window or TEST.DETECTIONS_PER_IMAGE, or choose MODEL.DEVICE cpu"
        )
    if late := _WORKER_LATE.search(text):
        return (
            f"the loading processes gave nothing for {late[1]} s: the disk is too slow, or shared memory "
            "(/dev/shm) is full; append DATALOADER.NUM_WORKERS 0 to load in the main process"
        )
    if _WORKER_DIED.search(text):
        return (
            f"a loading process died ({one_line(error)[:120]}), most often for lack of memory; lower "
            "DATALOADER.NUM_WORKERS (0 loads in the training process)"
        )
    return None


def _is_no_fault(record: logging.LogRecord) -> bool:
    """Keeps detectron2 from printing the traceback of an error that is reported in a sentence anyway."""
    error = record.exc_info[1] if record.exc_info else None
    known = isinstance(error, InputError | MemoryError | RuntimeError) and _sentence(error) is not None
    return not (known or isinstance(error, FloatingPointError))
