"""Tiles that must stay in one part of a split, since they show the same building, event or place.

xBD cuts its mosaics into tiles that meet or overlap, and a building on the cut is drawn, piece by piece and
under two uids, in both tiles. In 627 real tiles no two buildings of different tiles overlap by a square
metre, while 190 pairs of them touch, in one tile of five. Boxes on the ground no further apart than
``SAME_BUILDING`` name the same pairs of tiles there as the exact distances of the outlines.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from skyeye_det.data.ground import METRES_A_DEGREE, Box, TileFacts

SAME_BUILDING = 0.5
"""m; buildings of two tiles whose boxes on the ground are no further apart count as one."""

NEIGHBOURS = 100.0
"""m; tiles whose ground is no further apart are neighbours, by default."""


class Grouping:
    """Disjoint sets of tiles.

    Attributes:
        labels: int64 (n,), the same number for tiles of one set.
    """

    def __init__(self, size: int) -> None:
        self.labels: NDArray[np.int64] = np.arange(size)

    def join(self, first: int, second: int) -> None:
        """Makes one set of the sets of two tiles."""
        one, other = self.labels[first], self.labels[second]
        if one != other:
            self.labels[self.labels == max(one, other)] = min(one, other)

    def numbered(self) -> NDArray[np.int64]:
        """int64 (n,): sets numbered 0.. in the order of their first tiles."""
        return np.unique(self.labels, return_inverse=True)[1].astype(np.int64)


def group_by_buildings(tiles: Sequence[TileFacts]) -> Grouping:
    """Joins tiles that share a uid, or in which buildings touch or overlap on the ground."""
    groups = Grouping(len(tiles))
    owners = np.repeat(np.arange(len(tiles)), [len(tile.uids) for tile in tiles])
    uids = np.concatenate([tile.uids for tile in tiles]) if tiles else np.zeros(0, np.uint64)
    order = np.argsort(uids, kind="stable")
    same = np.flatnonzero(uids[order][1:] == uids[order][:-1])
    for first, second in zip(owners[order[same]], owners[order[same + 1]], strict=True):
        groups.join(first, second)
    grounds = [_around(tile.boxes) if len(tile.boxes) else None for tile in tiles]
    for first, others in _near(groups, grounds, SAME_BUILDING):
        for second in others:
            apart = groups.labels[first] != groups.labels[second]
            if apart and _any_near(tiles[first].boxes, tiles[second].boxes, SAME_BUILDING):
                groups.join(first, second)
    return groups


def join_events(groups: Grouping, tiles: Sequence[TileFacts]) -> None:
    """Joins the tiles of each event."""
    first: dict[str, int] = {}
    for number, tile in enumerate(tiles):
        groups.join(first.setdefault(tile.event, number), number)


def join_neighbours(groups: Grouping, tiles: Sequence[TileFacts], distance: float = NEIGHBOURS) -> None:
    """Joins tiles that lie no further apart than ``distance``, of whatever event: single linkage.

    Args:
        groups: changed.
        tiles: those without a place on the ground stay as they are.
        distance: m, between the edges of the tiles, to the north as to the east.
    """
    for first, others in _near(groups, [tile.ground for tile in tiles], distance):
        for second in others:
            groups.join(first, second)


def _near(
    groups: Grouping, grounds: Sequence[Box | None], distance: float
) -> Iterable[tuple[int, list[int]]]:
    """Each tile with the later ones of other groups whose box is no further away than ``distance`` m."""
    placed = np.array([index for index, box in enumerate(grounds) if box is not None], np.int64)
    if not placed.size:
        return
    boxes = np.array([grounds[index] for index in placed])
    tree = shapely.STRtree(shapely.box(*boxes.T))
    for index, box in zip(placed.tolist(), _grown(boxes, distance), strict=True):
        others = placed[tree.query(shapely.box(*box))]
        others = others[(others > index) & (groups.labels[others] != groups.labels[index])]
        if others.size:
            yield index, np.sort(others).tolist()


def _any_near(boxes: Box, others: Box, distance: float) -> bool:
    """Whether a box of one tile lies within ``distance`` m of one of the other."""
    grown = _grown(boxes, distance)
    grown = grown[_overlap(grown, _around(others))]
    others = others[_overlap(others, _around(grown))] if len(grown) else others[:0]
    return bool(_overlap(grown[:, None], others[None]).any())


def _overlap(boxes: Box, others: Box) -> NDArray[np.bool_]:
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    return np.asarray((low <= high).all(axis=-1))


def _around(boxes: Box) -> Box:
    return np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])


def _grown(boxes: Box, distance: float) -> Box:
    """Boxes with ``distance`` m more on each side."""
    latitude = np.minimum(np.abs(boxes[:, [1, 3]]).max(axis=1), 89.0)
    north = np.full(len(boxes), distance / METRES_A_DEGREE)
    east = north / np.cos(latitude * (math.pi / 180))
    return boxes + np.column_stack([-east, -north, east, north])
