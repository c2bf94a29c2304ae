"""How long each stage of a model takes, by hooks around its modules. Needs torch."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from torch import nn

REST = "rest"
"""What lies in none of the model's parts: the images' way to the device and their scaling."""

POSTPROCESSING = "post-processing"

MAP_INSTANCES = "map instances"
"""What a hybrid makes of its building map, between its modules."""

_OF_MODEL = {
    "backbone": "backbone",
    "proposal_generator": "RPN",
    "roi_heads": "box",
    "building_map_head": "semantic map",
}
"""Child of the model -> stage; what the ROI heads do outside their own children is the boxes' NMS."""

_OF_HEADS = ("box", "mask", "damage")
"""Beginnings of the names of the ROI heads' children, before ``_``."""


class StageClock:
    """Seconds of stages that lie in each other; each counts without those inside it.

    Args:
        synchronize: waits until the device has done what it was given.
    """

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._synchronize = synchronize
        self._open: list[tuple[str, float]] = []

    def enter(self, stage: str) -> None:
        """Begins a stage inside the one that is open."""
        now = self._now()
        if self._open:
            outer, start = self._open[-1]
            self.seconds[outer] += now - start
        self._open.append((stage, now))

    def leave(self) -> None:
        """Ends the stage that was entered last."""
        now = self._now()
        stage, start = self._open.pop()
        self.seconds[stage] += now - start
        if self._open:
            self._open[-1] = (self._open[-1][0], now)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """A block as stage."""
        self.enter(name)
        try:
            yield
        finally:
            self.leave()

    def _now(self) -> float:
        self._synchronize()
        return time.perf_counter()


def stage_modules(model: nn.Module) -> list[tuple[nn.Module, str]]:
    """Modules that are watched, and their stages; the model itself is ``REST``.

    A part of the model that detectron2 does not have counts under its own name.
    """
    watched: list[tuple[nn.Module, str]] = [(model, REST)]
    for name, child in model.named_children():
        watched.append((child, _OF_MODEL.get(name, name.replace("_", " "))))
    for name, child in getattr(model, "roi_heads", nn.Module()).named_children():
        known = [stage for stage in _OF_HEADS if name.startswith(f"{stage}_")]
        watched.append((child, known[0] if known else name.replace("_", " ")))
    return watched


@contextmanager
def watched_stages(model: Any, clock: StageClock) -> Iterator[None]:
    """Lets ``clock`` run with the model's modules while the block does."""

    def enter(stage: str) -> Callable[..., None]:
        return lambda *_: clock.enter(stage)

    def leave(*_: Any) -> None:
        clock.leave()

    handles = []
    for module, stage in stage_modules(model):
        handles += [
            module.register_forward_pre_hook(enter(stage)),
            module.register_forward_hook(leave),
        ]
    map_instances = getattr(model, "map_instances", None)
    if map_instances is not None:
        model.map_instances = _finder_as_stage(clock, map_instances)
    heads: Any = getattr(model, "roi_heads", None)
    # A hybrid calls these in place of the heads themselves.
    own_steps = {"find": _OF_MODEL["roi_heads"], "grade": "damage"} if hasattr(heads, "find") else {}
    for name, stage in own_steps.items():
        setattr(heads, name, _as_stage(clock, stage, getattr(heads, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        if map_instances is not None:
            model.map_instances = map_instances
        for name in own_steps:
            delattr(heads, name)


def _finder_as_stage(clock: StageClock, find: Callable[..., Any]) -> Callable[..., Any]:
    """The finder of a hybrid's components, and what it is asked for later."""

    def timed(*maps: Any) -> Any:
        components = _as_stage(clock, MAP_INSTANCES, find)(*maps)
        asked = {name: getattr(components, name) for name in ("proposals", "uncovered")}
        return SimpleNamespace(
            **{name: _as_stage(clock, MAP_INSTANCES, each) for name, each in asked.items()}
        )

    return timed


def _as_stage(clock: StageClock, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        with clock.stage(name):
            return function(*arguments)

    return timed
