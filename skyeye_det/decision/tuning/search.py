"""Direct search for the decision rule of the best official score.

The score is piecewise constant, so it is searched and not differentiated. What decides which pixels are
building (thresholds, map weight, areas) is changed one number at a time, or two where they act together, over
grids; damage weights over a logarithmic grid that is refined around its best places. The two take turns until
neither helps.

The score pays for buildings that are too large: what they lose of localization, a weight of 0.3, they may
gain in pixels of rare grades. Where outlines shall stay true to size, pixels are searched for localization F1
and grades alone for the score (``PIXELS_FOR``).

Against overfitting: of rules whose pixels are worth the same within ``TIE`` the one nearest the default is
taken, and damage weights are settled at the end, see ``weights``.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.tuning.counts import GroupCounts
from skyeye_det.decision.tuning.weights import localization_f1, rule_score, rule_with_grades, settled_rule

Rasterize = Callable[[Sequence[DecisionRule]], list[list[GroupCounts]]]
"""Counts of the blocks of tiles to tune on, for each of several rules whose rasterizations differ."""

TIE = 3e-4
"""Smaller differences between rasterizations, of score or localization F1, are taken as none."""

PIXELS_FOR: Mapping[str, Callable[[Sequence[GroupCounts], DecisionRule], float]] = {
    "score": rule_score,
    "localization": lambda parts, _: localization_f1(parts),
}
"""What a rasterization is searched for, by its name: (counts rasterized by a rule, the rule) -> 0..1."""

_MOST_ROUNDS = 4
_MOST_SWEEPS = 3

GRIDS: Mapping[str, tuple[float, ...]] = {
    "pixel_threshold": tuple(round(0.1 + 0.05 * step, 2) for step in range(15)),
    "score_threshold": (0.05, *(round(0.1 * step, 1) for step in range(1, 10))),
    "map_weight": (0.0, 0.25, 0.5, 0.75, 1.0),
    "min_area": (0.0, 20.0, 50.0, 100.0),
    "presence_threshold": (0.0, 0.5, 0.7, 0.8, 0.9),
}
"""Values of each number of a rasterization that are tried; the default is among them or is tried too."""

JOINT: Mapping[str, tuple[float, ...]] = {
    "map_weight": GRIDS["map_weight"],
    "pixel_threshold": (0.2, 0.3, 0.4, 0.5, 0.6),
}
"""Tried together first: the share of the map moves the whole scale of a pixel's probability."""


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        rasterize: gives counts.
        names: numbers of the rasterization that have an effect, of ``GRIDS``.
        default: where the search starts, and what ties go to.
        seed: of the resamples that the damage weights are settled by.
        pixels_for: what rasterizations are searched for, of ``PIXELS_FOR``; grades are for the score.
    """

    rasterize: Rasterize
    names: tuple[str, ...]
    default: DecisionRule
    seed: int = 0
    pixels_for: str = "score"

    def value(self, parts: Sequence[GroupCounts], rule: DecisionRule) -> float:
        """What a rule is worth on counts rasterized by it."""
        return PIXELS_FOR[self.pixels_for](parts, rule)


def tuned_rule(search: Search) -> DecisionRule:
    """Searches rasterizations and classifications in turn, and settles the damage weights at the end."""
    best = rule_with_grades(search.default, search.rasterize([search.default])[0])
    best_value = search.value(search.rasterize([best])[0], best)
    for _ in range(_MOST_ROUNDS):
        rasterized = _rule_with_pixels(best, search)
        (parts,) = search.rasterize([rasterized])
        # The temperature moves with the rasterization, which is no part of the search and may cost score.
        rule = max(rule_with_grades(rasterized, parts), rasterized, key=partial(rule_score, parts))
        value = search.value(parts, rule)
        if value <= best_value + TIE:
            break
        best, best_value = rule, value
    return settled_rule(best, search.rasterize([best])[0], search.seed)


def _rule_with_pixels(rule: DecisionRule, search: Search) -> DecisionRule:
    """The rule with the best rasterization found; its classification stays."""
    if set(JOINT) <= set(search.names):
        rule = _best_of(rule, search, _combinations(rule, JOINT))
    for _ in range(_MOST_SWEEPS):
        before = rule
        for name in search.names:
            grid = {*GRIDS[name], getattr(search.default, name)}
            rule = _best_of(rule, search, _combinations(rule, {name: tuple(sorted(grid))}))
        if rule == before:
            break
    return rule


def _combinations(rule: DecisionRule, grids: Mapping[str, Sequence[float]]) -> list[DecisionRule]:
    """The rule itself and those with each combination of values."""
    made = []
    for values in itertools.product(*grids.values()):
        changes: dict[str, Any] = dict(zip(grids, values, strict=True))
        made.append(replace(rule, **changes))
    return list(dict.fromkeys([rule, *made]))


def _best_of(rule: DecisionRule, search: Search, candidates: list[DecisionRule]) -> DecisionRule:
    """Of those whose value is within ``TIE`` of the best the one nearest the default, else the first."""
    rasterized = zip(search.rasterize(candidates), candidates, strict=True)
    values = np.array([search.value(parts, one) for parts, one in rasterized])
    level = [one for one, value in zip(candidates, values, strict=True) if value >= values.max() - TIE]
    return min(level, key=lambda one: (_distance(one, search.default), one != rule))


def _distance(rule: DecisionRule, default: DecisionRule) -> float:
    """How far a rasterization is from the default, each number in parts of its grid's range."""
    return sum(
        abs(getattr(rule, name) - getattr(default, name)) / (grid[-1] - grid[0])
        for name, grid in GRIDS.items()
    )
