"""How far a long step is: a bar on a terminal, a line now and then where the output is kept in a file."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

_SECONDS_A_LINE = 10.0

T = TypeVar("T")


def progress(items: Iterable[T], total: int, description: str, unit: str) -> Iterator[T]:
    """Passes items on and tells on standard error how many have gone by.

    On a terminal it is tqdm's bar. Elsewhere it is one line each ten seconds, and one at the end if there
    was any, so that a log stays readable.

    Args:
        items: what is passed on.
        total: how many there will be.
        description: what is being done, such as ``"convert train"``.
        unit: what is counted, such as ``"pair"``.
    """
    if sys.stderr is None:  # the caller has closed it
        yield from items
        return
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=description, unit=unit)
        return
    start = reported = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        if (now := time.monotonic()) - reported >= _SECONDS_A_LINE or (done == total and reported > start):
            reported = now
            print(
                f"{description}: {done} of {total} {unit}s, {now - start:.0f} s", file=sys.stderr, flush=True
            )
