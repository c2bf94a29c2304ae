"""What a run of the model's benchmark measures, on what, and how it is told to the children that measure."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from skyeye_det.errors import InputError

PARTS = ("inference", "training", "memory")
"""What can be measured of a config."""

OPTIONS = ("bf16", "fp16", "channels-last", "contiguous", "compile", "fuse-bn")
"""Ways to run inference that may be faster; joined by ``+`` where several hold at once."""

MEMORY_DETECTIONS = (100, 1000)
"""Detections in one tile whose peak memories are compared."""

DETECTIONS = 100
"""Detections in each tile where no trained weights decide: detectron2's own DETECTIONS_PER_IMAGE."""


@dataclass(frozen=True)
class ModelSettings:
    """Models, sources and sizes of a run.

    Attributes:
        configs: YAML of each model.
        peer: YAML of the semantic peer; None leaves it out.
        weights: checkpoint of the one config; without it the weights are those that training starts from.
        peer_weights: checkpoint of the peer.
        xbd_root: root with PNG images; None draws scenes.
        tiles: pairs that are looked at in a run of inference.
        sample_size: side of made-up scenes, px.
        detections: instances forced upon each tile; None leaves the config's thresholds as they are.
        repeats: runs of each, taken in turns after one that does not count.
        parts: some of ``PARTS``.
        options: some of ``OPTIONS``, or several joined by ``+``.
        device: ``cpu``, ``cuda`` or ``cuda:N``; empty for the GPU where there is one.
        overrides: ``KEY VALUE ...`` of every config.
    """

    configs: tuple[Path, ...]
    peer: Path | None = None
    weights: str = ""
    peer_weights: str = ""
    xbd_root: Path | None = None
    tiles: int = 1
    sample_size: int = 1024
    detections: int | None = None
    repeats: int = 3
    parts: tuple[str, ...] = PARTS
    options: tuple[str, ...] = ()
    device: str = ""
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("tiles", "repeats", "sample_size"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"--{name.replace('_', '-')}: expected 1 or more, found {getattr(self, name)}"
                )
        if not self.configs:
            raise InputError("--configs: expected one file or more, found none")
        _check_weights(self)
        _check_options(self)

    @property
    def forced_detections(self) -> int | None:
        """Instances in each tile; None where trained weights and the config's thresholds decide."""
        if self.detections is None and not self.weights:
            return DETECTIONS
        return self.detections


def _check_weights(settings: ModelSettings) -> None:
    if settings.detections is not None and not 1 <= settings.detections <= 2000:
        raise InputError(f"--detections: expected 1..2000, found {settings.detections}")
    if settings.weights and len(settings.configs) != 1:
        raise InputError(
            f"--weights: expected one file in --configs, that of the weights, found {len(settings.configs)}"
        )
    if settings.peer_weights and settings.peer is None:
        raise InputError("--peer-weights: expected --peer, the config of the weights, found none")


def _check_options(settings: ModelSettings) -> None:
    for choice in settings.options:
        names = choice.split("+")
        unknown = [name for name in names if name not in OPTIONS]
        if unknown or len(set(names)) < len(names) or len({"bf16", "fp16"} & set(names)) == 2:
            raise InputError(
                f"--options: expected some of {', '.join(OPTIONS)}, joined by + where they hold together, "
                f"found {choice}"
            )
        if "fp16" in names and settings.device == "cpu":
            raise InputError("--options fp16: expected a CUDA device, found cpu; take bf16")


@dataclass(frozen=True)
class Task:
    """What one child process measures; plain values alone, so that it can be handed over as JSON.

    Attributes:
        kind: ``"speed"`` or ``"memory"``.
        config: YAML of the model.
        weights: its checkpoint, or empty.
        peer: YAML of the semantic peer, or empty.
        peer_weights: its checkpoint, or empty.
        root: xBD root of the pairs.
        annotations: COCO file of them.
        folder: where PNGs are written.
        detections: instances forced upon each tile, or None.
        repeats: runs of each.
        parts: some of ``PARTS``.
        options: see ``ModelSettings``.
        device: see ``ModelSettings``.
        overrides: see ``ModelSettings``.
    """

    kind: str
    config: str
    weights: str
    peer: str
    peer_weights: str
    root: str
    annotations: str
    folder: str
    detections: int | None
    repeats: int
    parts: tuple[str, ...]
    options: tuple[str, ...]
    device: str
    overrides: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All of it, for the child."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Task":
        """What ``as_json`` gave."""
        known: dict[str, Any] = {field.name: content[field.name] for field in fields(cls)}
        lists = {name: tuple(value) for name, value in known.items() if isinstance(value, list)}
        return cls(**(known | lists))
