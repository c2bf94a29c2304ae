"""Mutants by number: each is one kind of damage to one file of one role, and one step that meets it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from byte_damage import BYTE_DAMAGES, ByteDamage
from image_damage import HEAVY_IMAGE_DAMAGES, IMAGE_DAMAGES
from json_damage import JSON_DAMAGES, run_lengths_damaged
from outline_damage import HEAVY_LABEL_DAMAGES, LABEL_DAMAGES, LabelDamage
from place_damage import PLACE_DAMAGES, PlaceDamage
from sandbox import ROLES, Sandbox, drawn_file
from steps import STEPS_OF_ROLE

_JSONS = ("label", "COCO file", "instances", "split file")
_TEXTS = (*_JSONS, "numbering")
_IMAGES = ("image", "target", "prediction", "numbered prediction")
_DEEP = "nested deeply"
_HEAVY_EVERY = 8
"""A kind that takes long to make or to read comes up in one of so many rounds."""

Damage = Callable[[Random, Sandbox], Path]


@dataclass(frozen=True)
class Kind:
    """A kind of damage to files of one role; ``apply`` gives the place that was changed."""

    damage: str
    role: str
    apply: Damage


@dataclass(frozen=True)
class Mutant:
    """Number ``number`` of ``series``: one damaged input and the step to run on it."""

    series: int
    number: int
    kind: Kind
    step: str

    def damaged(self, box: Sandbox) -> Path:
        """Damages the sandbox; gives the place that was changed."""
        return self.kind.apply(Random(f"{self.series}:{self.number}"), box)


def mutant(seed: int, number: int) -> Mutant:
    """Mutant ``number`` of a series; the same for the same seed and number."""
    kind = _ROUNDS[number % len(_ROUNDS)]
    step = Random(f"step {seed}:{number}").choice(STEPS_OF_ROLE[kind.role])
    return Mutant(seed, number, kind, step)


def _bytes(damage: ByteDamage, role: str, rng: Random, box: Sandbox) -> Path:
    path = drawn_file(rng, box, role)
    box.replace(path, damage(rng, path.read_bytes()))
    return path


def _label(damage: LabelDamage, rng: Random, box: Sandbox) -> Path:
    path = drawn_file(rng, box, "label")
    label = json.loads(path.read_bytes())
    damage(rng, label)
    box.replace(path, json.dumps(label).encode())
    return path


def _both_labels(damage: LabelDamage, rng: Random, box: Sandbox) -> Path:
    """The same damage in both labels of a pair, so that no label is refused for the other's sake."""
    path = drawn_file(rng, box, "label")
    seed = rng.random()
    for one in (path, _twin(path)):
        label = json.loads(one.read_bytes())
        damage(Random(seed), label)
        box.replace(one, json.dumps(label).encode())
    return path


def _twin(label: Path) -> Path:
    """The other label of the pair."""
    old, new = ("_pre_", "_post_") if "_pre_" in label.name else ("_post_", "_pre_")
    return label.with_name(label.name.replace(old, new))


def _place(damage: PlaceDamage, role: str, rng: Random, box: Sandbox) -> Path:
    return damage(rng, box, drawn_file(rng, box, role))


def _labels_exchanged(rng: Random, box: Sandbox) -> Path:
    """The pre label in the place of the post label, or both the same, or another scene's."""
    one, other = (drawn_file(rng, box, "label") for _ in range(2))
    if rng.random() < 0.5:
        other = _twin(one)
    contents = one.read_bytes(), other.read_bytes()
    box.replace(one, contents[1])
    if rng.random() < 0.5 and one != other:
        box.replace(other, contents[0])
    return one


def _light() -> list[Kind]:
    light_json = {name: damage for name, damage in JSON_DAMAGES.items() if name != _DEEP}
    families = (BYTE_DAMAGES, (*_TEXTS, *_IMAGES)), (light_json, _JSONS), (IMAGE_DAMAGES, _IMAGES)
    kinds = [
        Kind(name, role, partial(_bytes, damage, role))
        for damages, roles in families
        for name, damage in damages.items()
        for role in roles
    ]
    kinds += [Kind(name, "label", partial(_label, damage)) for name, damage in LABEL_DAMAGES.items()]
    kinds += [
        Kind(name, role, partial(_place, damage, role))
        for name, damage in PLACE_DAMAGES.items()
        for role in ROLES
    ]
    results = partial(_bytes, run_lengths_damaged, "instances")
    exchanged = Kind("labels exchanged", "label", _labels_exchanged)
    return [*kinds, exchanged, Kind("run lengths damaged", "instances", results)]


def _heavy() -> list[Kind]:
    kinds = [
        Kind(name, "label", partial(_both_labels, damage)) for name, damage in HEAVY_LABEL_DAMAGES.items()
    ]
    kinds += [Kind(_DEEP, role, partial(_bytes, JSON_DAMAGES[_DEEP], role)) for role in _JSONS]
    kinds += [
        Kind(name, role, partial(_bytes, damage, role))
        for name, damage in HEAVY_IMAGE_DAMAGES.items()
        for role in _IMAGES
    ]
    return kinds


def _rounds() -> list[Kind]:
    """Rounds of all kinds, each in an order of its own; every heavy kind comes up in one of them."""
    order: list[Kind] = []
    mixing = Random("order of kinds")
    for number in range(_HEAVY_EVERY):
        once = _light() + _heavy()[number::_HEAVY_EVERY]
        mixing.shuffle(once)
        order += once
    return order


_ROUNDS = _rounds()
