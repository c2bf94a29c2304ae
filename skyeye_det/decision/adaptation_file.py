"""An adaptation as a small JSON file with its card, that other scenes of the same event can use."""

import math
from dataclasses import asdict
from pathlib import Path

import msgspec

from skyeye_det.decision.adaptation import FEATURES, KINDS, NONE, Adaptation
from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes, parse_json, read_bytes, write_bytes

_LARGEST_FILE = 1 << 20
_MOST_FEATURES = 1 << 14
_LARGEST = 1e6
_MEND = "give the adaptation.json of `skyeye adapt`"


class Card(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where an adaptation comes from.

    Attributes:
        event: what its labels are of.
        labels: how many.
        sampled: how many of these are of a random sample.
        gain, low, high: by how much it lowers the log loss of labels that it was not fitted to, and the 90 %
            interval, in nats a building.
        model: name.
        model_sha256: of the weights.
        skyeye_det: version that made it.
    """

    event: str
    labels: int
    sampled: int
    gain: float
    low: float
    high: float
    model: str
    model_sha256: list[str | None]
    skyeye_det: str


class _Numbers(msgspec.Struct, forbid_unknown_fields=True):
    kind: str
    slope: float
    offsets: tuple[float, float, float]
    direction: list[float]
    center: float


class _File(msgspec.Struct, forbid_unknown_fields=True):
    adaptation: _Numbers
    card: Card


def write_adaptation(path: Path, adaptation: Adaptation, card: Card) -> None:
    """Writes both, whole."""
    write_bytes(path, adaptation_json(adaptation, card))


def adaptation_json(adaptation: Adaptation, card: Card) -> bytes:
    """The content of the file."""
    both = {"adaptation": asdict(adaptation), "card": msgspec.to_builtins(card)}
    return json_bytes(both, pretty=True) + b"\n"


def read_adaptation(path: Path) -> tuple[Adaptation, Card]:
    """Reads and checks an adaptation.

    Raises:
        InputError: it is not there, or is none.
    """
    return parse_adaptation(path, read_bytes(path))


def parse_adaptation(path: Path, content: bytes) -> tuple[Adaptation, Card]:
    """As ``read_adaptation``, of the content of a file."""
    if len(content) > _LARGEST_FILE:
        raise InputError(
            f"{path}: expected an adaptation of at most {_LARGEST_FILE} bytes, found {len(content)}; {_MEND}"
        )
    try:
        found = msgspec.convert(parse_json(path, content), _File)
        _check(found)
    except (msgspec.ValidationError, ValueError) as error:
        raise InputError(f"{path}: expected an adaptation, found another ({error}); {_MEND}") from error
    return Adaptation(**msgspec.structs.asdict(found.adaptation)), found.card


def _check(found: _File) -> None:
    numbers, card = found.adaptation, found.card
    if numbers.kind not in KINDS or numbers.kind == NONE:
        raise ValueError(f"kind: expected one of {', '.join(KINDS[1:])}")
    if bool(numbers.direction) != (numbers.kind == FEATURES) or len(numbers.direction) > _MOST_FEATURES:
        raise ValueError(f"direction: expected numbers with the kind {FEATURES} alone")
    values = (numbers.slope, *numbers.offsets, *numbers.direction, numbers.center)
    if not all(abs(each) <= _LARGEST for each in (*values, card.gain, card.low, card.high)):
        raise ValueError(f"expected numbers of at most {_LARGEST:g}")
    if not math.isfinite(numbers.slope) or numbers.slope <= 0:
        raise ValueError("slope: expected more than 0")
