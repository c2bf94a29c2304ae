"""Where the buildings of a tile stand on the ground, and which tiles must stay in one part of a split.

xBD labels draw each building twice, on the image (``features.xy``, px) and on the ground
(``features.lng_lat``, degrees WGS 84). The two differ by an affine map, exact to a few hundredths of a pixel
on 598 real tiles, so that one building tells where the whole tile lies. Of a tile only numbers are kept:
40 bytes a building.

xBD cuts its mosaics into tiles that meet or overlap, and a building on the cut is drawn, piece by piece and
under two uids, in both tiles. In 627 real tiles no two buildings of different tiles overlap by a square
metre, while 190 pairs of them touch, in one tile of five. Boxes on the ground no further apart than
``SAME_BUILDING`` name the same pairs of tiles there as the exact distances of the outlines.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from skyeye_det.damage import IGNORE_DAMAGE, DamageClass
from skyeye_det.data.label_file import LabelFile, damage_of, read_label, uid_digests
from skyeye_det.data.outlines import read_outlines
from skyeye_det.data.pairs import scene_event
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.errors import InputError

SAME_BUILDING = 0.5
"""m; buildings of two tiles whose boxes on the ground are no further apart count as one."""

NEIGHBOURS = 100.0
"""m; tiles whose ground is no further apart are neighbours, by default."""

AMOUNTS = ("tiles", "empty", *(grade.subtype for grade in DamageClass), "un-classified")
"""What a split shares out: tiles, tiles without a building, and buildings of each class."""

METRES_A_DEGREE = 111_320.0
"""Of latitude; of longitude it is this times the cosine of the latitude."""

_COLUMN = {damage: 2 + damage for damage in DamageClass} | {IGNORE_DAMAGE: len(AMOUNTS) - 1}
# Degrees; a tile of 1,024 px of half a metre has 0.005.
_WIDEST = 0.1
# px; a map that fits worse than this is none.
_WORST_FIT = 2.0
_USUAL_SIDE = 1024

Box = NDArray[np.float64]
"""(..., 4): west, south, east, north in degrees."""


@dataclass(frozen=True)
class TileFacts:
    """A tile, as far as a split is concerned."""

    key: str  # <folder>/<scene>
    event: str  # such as "palu-tsunami", from the scene's name
    amounts: NDArray[np.int64]  # (7,), see AMOUNTS
    uids: NDArray[np.uint64]  # (n,), uid_digests of the buildings
    boxes: Box  # (m, 4), the ground under each building that has a place on it
    ground: Box | None  # (4,), the ground under the tile; None where no building has a place
    readable: bool = True  # both labels could be read


def tile_key(files: SceneFiles) -> str:
    """``<folder>/<scene>``, the name of a tile in a split file."""
    return f"{files.split}/{files.name}"


def read_tile(files: SceneFiles) -> TileFacts:
    """Reads both labels of a pair; what is wrong in them is for the conversion to report.

    A label that cannot be read makes a tile with neither buildings nor a place.
    """
    amounts = np.zeros(len(AMOUNTS), np.int64)
    amounts[0] = 1
    key, event = tile_key(files), scene_event(files.name)
    try:
        (pre, _), (post, _) = read_label(files.pre_label), read_label(files.post_label)
    except InputError:
        none = np.zeros(0, np.uint64), np.zeros((0, 4)), None
        return TileFacts(key, event, amounts, *none, readable=False)
    for uid in pre.outlines:
        amounts[_COLUMN[damage_of(post.subtypes.get(uid))]] += 1
    amounts[1] = not pre.outlines
    return TileFacts(key, event, amounts, uid_digests(list(pre.outlines)), *_places(pre))


def _places(label: LabelFile) -> tuple[Box, Box | None]:
    """Boxes of the buildings on the ground, and of the tile."""
    boxes, on_image, on_ground = _vertices(label)
    if not len(boxes):
        return boxes, None
    corners = np.zeros((0, 2))
    if len(on_image) and (found := _fitted(on_image, on_ground, _size(label))):
        corners = found[0](np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * _size(label))
    whole = np.concatenate([boxes[:, :2], boxes[:, 2:], corners])
    return boxes, np.concatenate([whole.min(0), whole.max(0)])


def _size(label: LabelFile) -> tuple[int, int]:
    return label.size if label.size and min(label.size) > 0 else (_USUAL_SIDE, _USUAL_SIDE)


def _vertices(label: LabelFile) -> tuple[Box, NDArray[np.float64], NDArray[np.float64]]:
    """Boxes (N, 4) of the buildings that have a place, and their vertices in px and in degrees."""
    entries = {uid: entry for uid, entry in label.on_ground.items() if uid in label.outlines}
    outlines = read_outlines([entry.get("wkt") for entry in entries.values()])
    boxes, drawn, placed = [], [np.zeros((0, 2))], [np.zeros((0, 2))]
    for uid, outline in zip(entries, outlines, strict=True):
        if not outline.parts:
            continue
        vertices = np.concatenate([ring for polygon in outline.parts for ring in polygon])
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        # What lies off the globe or is as large as a town is no place.
        if (low >= (-180, -90)).all() and (high <= (180, 90)).all() and (high - low < _WIDEST).all():
            boxes.append([*low, *high])
            rings = [ring for polygon in label.outlines[uid] for ring in polygon]
            if sum(map(len, rings)) == len(vertices):
                drawn.append(np.concatenate(rings))
                placed.append(vertices)
    return np.array(boxes, np.float64).reshape(-1, 4), np.concatenate(drawn), np.concatenate(placed)


@dataclass(frozen=True)
class GroundMap:
    """From px of a tile, as its label draws buildings, to degrees.

    Attributes:
        matrix: (2, 2), degrees a px of x and y.
        offset: (2,), longitude and latitude of px (0, 0).
    """

    matrix: NDArray[np.float64]
    offset: NDArray[np.float64]

    def __call__(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Degrees (n, 2), longitude first, of px (n, 2)."""
        return points @ self.matrix.T + self.offset


def ground_map(label: LabelFile) -> tuple[GroundMap, float] | None:
    """Where a tile lies, by its buildings, and the worst error of a vertex in px; None where none tells."""
    _, on_image, on_ground = _vertices(label)
    return _fitted(on_image, on_ground, _size(label)) if len(on_image) else None


def _fitted(
    on_image: NDArray[np.float64], on_ground: NDArray[np.float64], size: tuple[int, int]
) -> tuple[GroundMap, float] | None:
    """The affine map of vertices (V, 2), and its worst error in px; None where no map fits."""
    middle = on_ground.mean(axis=0)
    sides = np.column_stack([on_image / size, np.ones(len(on_image))])
    affine, _, rank, _ = np.linalg.lstsq(sides, on_ground - middle, rcond=1e-9)
    spans = np.abs(affine[:2]).sum(axis=0)  # degrees from edge to edge
    if rank < 3 or not spans.all() or (spans > _WIDEST).any():
        return None
    worst = float((np.abs(sides @ affine - (on_ground - middle)).max(axis=0) / spans).max() * max(size))
    if worst > _WORST_FIT:
        return None
    return GroundMap((affine[:2] / np.array(size)[:, None]).T, affine[2] + middle), worst


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
