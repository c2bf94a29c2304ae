"""Events that a model has not learnt from: what it predicted there, beside what is true."""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from skyeye_det.decision.results import PREDICTIONS_FOLDER, decide_image, recorded_rule
from skyeye_det.decision.rule import DecisionRule, read_rule
from skyeye_det.errors import InputError
from skyeye_det.evaluation.buildings import match_masks
from skyeye_det.evaluation.truth import TrueBuildings, tiles_from_labels
from skyeye_det.prediction.masks import encode_crop
from skyeye_det.prediction.store import PredictionStore

NO_BUILDING = -2
"""In place of a true grade: no true building has an IoU of 0.5 or more."""


@dataclass(frozen=True, eq=False)
class Event:
    """N predicted buildings of an event, with their true grades.

    Attributes:
        name: of the event.
        probs: (N, 4), calibrated.
        features: (N, D).
        grades: (N,), 0..3, ``IGNORE_DAMAGE`` un-classified, ``NO_BUILDING``.
        tiles: (N,), number of the tile of each.
        rule: for grades.
    """

    name: str
    probs: np.ndarray
    features: np.ndarray
    grades: np.ndarray
    tiles: np.ndarray
    rule: DecisionRule

    def graded(self) -> "Event":
        """Those that are buildings with a true grade."""
        return self.of(self.grades >= 0)

    def of(self, kept: np.ndarray) -> "Event":
        """Those that are ``kept``, bool (N,)."""
        each = {name: getattr(self, name)[kept] for name in ("probs", "features", "grades", "tiles")}
        return replace(self, **each)


def read_event(name: str, folder: Path, root: Path, decisions: str | None) -> Event:
    """Finds the true building of each predicted one."""
    store = PredictionStore.read(folder / PREDICTIONS_FOLDER)
    rule = read_rule(decisions) if decisions else recorded_rule(folder)
    tiles = {tile.scene: tile for tile in tiles_from_labels(root)}
    parts = []
    for number, image in enumerate(store.images):
        _, buildings = tiles[image.scene].read()
        found, shape = decide_image(store, image, rule), (image.height, image.width)
        if not len(found.masks):
            continue
        if found.features is None:
            raise InputError(f"{folder}: expected predictions with features, found none; predict again")
        true = TrueBuildings.of(buildings or (), shape)
        masks = [encode_crop(*each, shape) for each in found.masks]
        hits, by = match_masks(true, masks, found.scores, found.damage)
        grades = np.full(len(found.masks), NO_BUILDING)
        grades[by] = true.damage[hits]
        parts.append((found.damage_probs, found.features, grades, np.full(len(grades), number)))
    if len(parts) < 2:
        raise InputError(f"{folder}: expected predicted buildings on two tiles or more, found {len(parts)}")
    probs, features, grades, numbers = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Event(name, probs, features, grades, numbers, rule)


def event_parser(description: str | None) -> argparse.ArgumentParser:
    """A command line that names events."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--event", nargs=3, action="append", required=True, metavar=("NAME", "PREDICTIONS", "XBD_ROOT"))
    add("--decisions", metavar="FILE", help="rule (default: the one of each folder's results)")
    return parser


def named_events(given: argparse.Namespace) -> Iterator[Event]:
    """The events of a command line, one after the other."""
    for name, folder, root in given.event:
        yield read_event(name, Path(folder), Path(root), given.decisions)
