"""Buildings of overlapping windows become those of the whole image: none lost, cut or doubled at a seam.

Each building is taken from the window that sees it whole and most centrally; what another window sees of the
same building is left out, and so is what another window sees where that one sees none. A building that no
window sees whole, since it is larger than the overlap, is joined from its parts.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.decide import decide
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.masks import Crop, crop_boxes, overlap
from skyeye_det.prediction.prediction import Prediction
from skyeye_det.prediction.windows import Window

CUT = 1.5
"""px; a box that comes nearer to an edge of its window is taken to go on beyond it."""

MOST_SHARED = 0.5
"""Share of the smaller of two masks, within both windows, from which they are the same building."""

MARGIN = 32
"""px by which another window must see a place more centrally, to be asked alone what stands there."""

_CELL = 64  # px of the grid in which neighbours are looked up


@dataclass(eq=False)
class _Part:
    """A building as one window sees it, in px of the image; of one that was joined, what several saw."""

    mask: Crop
    values: Crop
    score: float
    damage: int
    damage_probs: np.ndarray
    source: str
    features: np.ndarray | None
    left_out: str | None
    window: Window
    distance: float
    is_central: bool = True

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask[1]))


def decide_windows(
    seen: Iterable[tuple[Window, Prediction]], shape: tuple[int, int], rule: DecisionRule
) -> Buildings:
    """Decides what was predicted in the windows of an image, one at a time; arguments as of ``stitch``."""
    return stitch(((window, decide(found, rule)) for window, found in seen), shape, rule)


def stitch(
    found: Iterable[tuple[Window, Buildings]], shape: tuple[int, int], rule: DecisionRule
) -> Buildings:
    """Puts the buildings of an image's windows together.

    Args:
        found: windows of ``cut_windows`` and their buildings, by one rule.
        shape: (height, width) of the image in px.
        rule: that rule.

    Returns:
        The buildings and candidates of the image; memory grows with their pixels alone.
    """
    parts: list[_Part] = []
    candidates: list[_Part] = []
    seen: list[Window] = []
    for window, buildings in found:
        seen.append(window)
        if (window.height, window.width) == tuple(shape):
            return buildings
        parts += _parts(window, buildings)
        if buildings.candidates is not None:
            candidates += _parts(window, buildings.candidates)
    _mark_central([*parts, *candidates], seen)
    taken = _Taken()
    kept = taken.take(parts, rule)
    return replace(
        _buildings(kept, shape, rule), candidates=_buildings(taken.take(candidates, rule), shape, rule)
    )


def _parts(window: Window, buildings: Buildings) -> list[_Part]:
    distances = window.edge_distance(buildings.boxes).tolist()
    return [
        _Part(
            _moved(buildings.masks[index], window),
            _moved(buildings.values[index], window),
            float(buildings.scores[index]),
            int(buildings.damage[index]),
            buildings.damage_probs[index],
            buildings.sources[index],
            None if buildings.features is None else buildings.features[index],
            buildings.left_out[index] if buildings.left_out else None,
            window,
            distance,
        )
        for index, distance in enumerate(distances)
    ]


def _mark_central(parts: list[_Part], windows: list[Window]) -> None:
    """Notes which parts no other window sees more centrally by ``MARGIN``."""
    boxes = crop_boxes(part.mask for part in parts)
    best = np.full(len(parts), -np.inf)
    order = np.argsort(boxes[:, 0], kind="stable")
    lefts = boxes[order, 0]
    for window in windows:
        first, last = np.searchsorted(lefts, [window.x, window.x + window.width]).tolist()
        near = order[first:last]
        apart = window.edge_distance(boxes[near] - [window.x, window.y, window.x, window.y])
        best[near] = np.maximum(best[near], apart)
    for part, distance in zip(parts, best.tolist(), strict=True):
        part.is_central = part.distance >= distance - MARGIN


def _moved(crop: Crop, window: Window) -> Crop:
    (x, y), part = crop
    return (x + window.x, y + window.y), part


class _Taken:
    """The parts that are taken, by the cells of a grid that their boxes touch."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[_Part]] = {}

    def take(self, parts: list[_Part], rule: DecisionRule) -> list[_Part]:
        """Takes what no taken part stands for; a part that is cut joins one that is cut as well."""
        kept: list[_Part] = []
        for part in sorted(parts, key=lambda part: (part.distance < CUT, -part.distance, -part.score)):
            same = [one for one in self._near(part) if _is_same(one, part)]
            whole = [one for one in same if one.distance >= CUT]
            if not same and part.is_central:
                kept.append(part)
                self._add(part)
            elif same and not whole:
                first, *others = same
                for other in [part, *others]:
                    _join(first, other, rule)
                self._add(first)
                if others:
                    kept = self._without(others, kept)
        return kept

    def _without(self, joined: list[_Part], kept: list[_Part]) -> list[_Part]:
        """What is kept, here and in the cells, without the parts that another took up."""
        gone = set(map(id, joined))
        for cell in self._cells.values():
            cell[:] = [one for one in cell if id(one) not in gone]
        return [one for one in kept if id(one) not in gone]

    def _near(self, part: _Part) -> list[_Part]:
        """Those of other windows that share a cell with it."""
        near = (one for cell in _cells(part) for one in self._cells.get(cell, ()))
        return list({id(one): one for one in near if one.window is not part.window}.values())

    def _add(self, part: _Part) -> None:
        for cell in _cells(part):
            held = self._cells.setdefault(cell, [])
            if not any(one is part for one in held):
                held.append(part)


def _cells(part: _Part) -> list[tuple[int, int]]:
    (x, y), mask = part.mask
    rows = range(y // _CELL, (y + mask.shape[0] - 1) // _CELL + 1)
    columns = range(x // _CELL, (x + mask.shape[1] - 1) // _CELL + 1)
    return [(column, row) for row in rows for column in columns]


def _is_same(one: _Part, other: _Part) -> bool:
    """Whether two parts of different windows show one building, by what both windows see of them."""
    shared = overlap(one.mask, other.mask)
    if not shared:
        return False
    smaller = min(_area_in(one, other.window), _area_in(other, one.window))
    return shared > MOST_SHARED * max(smaller, 1)


def _area_in(part: _Part, window: Window) -> int:
    (x, y), mask = part.mask
    left, top = max(window.x - x, 0), max(window.y - y, 0)
    right, bottom = window.x + window.width - x, window.y + window.height - y
    return int(np.count_nonzero(mask[top : max(bottom, 0), left : max(right, 0)]))


def _join(one: _Part, other: _Part, rule: DecisionRule) -> None:
    """Adds the other part to ``one``: means by area, and the grade that follows from them."""
    area, added = one.area, other.area
    if added > area:
        one.features = other.features
    share = added / max(area + added, 1)
    one.damage_probs = (1 - share) * one.damage_probs + share * other.damage_probs
    one.score = (1 - share) * one.score + share * other.score
    one.mask, one.values = _union(one.mask, other.mask), _union(one.values, other.values)
    if one.source == "region":  # its grade is that of most of its pixels
        one.damage = one.damage if area >= added else other.damage
    else:
        one.damage = int(rule.graded(one.damage_probs))
        if rule.fill != "proportional":
            corner, values = one.values
            one.values = corner, (values > 0) * np.uint8(one.damage + 1)


def _union(one: Crop, other: Crop) -> Crop:
    """Both crops in one, the first on top."""
    if not other[1].size or not one[1].size:
        return one if one[1].size else other
    (x, y), (u, v) = one[0], other[0]
    left, top = min(x, u), min(y, v)
    right = max(x + one[1].shape[1], u + other[1].shape[1])
    bottom = max(y + one[1].shape[0], v + other[1].shape[0])
    image = np.zeros((bottom - top, right - left), one[1].dtype)
    for (first, second), part in (other, one):
        place = image[
            second - top : second - top + part.shape[0], first - left : first - left + part.shape[1]
        ]
        np.copyto(place, part, where=part > 0)
    return (left, top), image


def _buildings(parts: list[_Part], shape: tuple[int, int], rule: DecisionRule) -> Buildings:
    ordered = sorted(parts, key=lambda part: -part.score)
    return Buildings(
        shape=shape,
        masks=[part.mask for part in ordered],
        values=[part.values for part in ordered],
        scores=np.array([part.score for part in ordered], np.float32),
        damage=np.array([part.damage for part in ordered], np.int64),
        damage_probs=np.array([part.damage_probs for part in ordered], np.float32).reshape(-1, 4),
        sources=[part.source for part in ordered],
        features=_features(ordered),
        rule=rule,
        left_out=[part.left_out for part in ordered if part.left_out] or None,
    )


def _features(parts: list[_Part]) -> np.ndarray | None:
    known = [part.features for part in parts if part.features is not None]
    return np.array(known) if known and len(known) == len(parts) else None
