"""Where the buildings of a tile stand on the ground, and how badly they are hit: what a new split needs.

xBD labels draw each building twice, on the image (``features.xy``, px) and on the ground
(``features.lng_lat``, degrees WGS 84). The two differ by an affine map, exact to a few hundredths of a pixel
on 598 real tiles, so that one building tells where the whole tile lies. Of a tile only numbers are kept:
40 bytes a building.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from skyeye_det.damage import DAMAGE_BY_SUBTYPE, IGNORE_DAMAGE, DamageClass
from skyeye_det.data.label_file import uid_digests
from skyeye_det.data.outlines import LARGEST_COORDINATE
from skyeye_det.data.pairs import scene_event
from skyeye_det.data.scene_files import SceneFiles
from skyeye_det.errors import InputError
from skyeye_det.files import read_json

AMOUNTS = ("tiles", "empty", *(grade.subtype for grade in DamageClass), "un-classified")
"""What a split shares out: tiles, tiles without a building, and buildings of each class."""

METRES_A_DEGREE = 111_320.0
"""Of latitude; of longitude it is this times the cosine of the latitude."""

_COLUMN = {damage: 2 + damage for damage in DamageClass} | {IGNORE_DAMAGE: len(AMOUNTS) - 1}
_TO_NUMBERS = str.maketrans("", "", "POLYGNMUTI()")
# Degrees; a tile of 1,024 px of half a metre has 0.005.
_WIDEST = 0.1
# px; a map that fits worse than this is none.
_WORST_FIT = 2.0
_USUAL_SIDE = 1024
_NUMBERS = msgspec.json.Decoder(list[float])
# Buildings of a tile that its map is fitted to.
_FITTED = 16

Box = NDArray[np.float64]
"""(..., 4): west, south, east, north in degrees."""


@dataclass(frozen=True)
class TileFacts:
    """A tile, as far as a split is concerned.

    Attributes:
        key: ``<folder>/<scene>``.
        event: such as ``"palu-tsunami"``, from the scene's name.
        amounts: int64 (7,), see ``AMOUNTS``.
        uids: uint64 (n,), ``uid_digests`` of the buildings.
        boxes: float64 (m, 4), the ground under each building that has a place on it: ``Box``.
        ground: float64 (4,), the ground under the tile, or ``None`` where no building has a place.
        readable: whether both labels could be read.
    """

    key: str
    event: str
    amounts: NDArray[np.int64]
    uids: NDArray[np.uint64]
    boxes: Box
    ground: Box | None
    readable: bool = True


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
        pre, post = (_features(read_json(path)) for path in (files.pre_label, files.post_label))
    except InputError:
        none = np.zeros(0, np.uint64), np.zeros((0, 4)), None
        return TileFacts(key, event, amounts, *none, readable=False)
    drawn, placed, size = _by_uid(pre[0]), _by_uid(pre[1]), pre[2]
    graded = _by_uid(post[0])
    for uid in drawn:
        subtype = graded[uid]["properties"].get("subtype") if uid in graded else None
        damage = DAMAGE_BY_SUBTYPE.get(subtype, IGNORE_DAMAGE) if isinstance(subtype, str) else IGNORE_DAMAGE
        amounts[_COLUMN[damage]] += 1
    amounts[1] = not drawn
    return TileFacts(key, event, amounts, uid_digests(list(drawn)), *_places(drawn, placed, size))


def _features(content: Any) -> tuple[list[Any], list[Any], tuple[float, float]]:
    """(entries of xy, entries of lng_lat, (width, height) in px) of a label; all that is odd is left out."""
    content = content if isinstance(content, dict) else {}
    frames, metadata = content.get("features"), content.get("metadata")
    if not isinstance(frames, dict) or not isinstance(frames.get("xy"), list):
        raise InputError("no features.xy")
    placed = frames.get("lng_lat")
    sides = [metadata.get(side) if isinstance(metadata, dict) else None for side in ("width", "height")]
    width, height = (side if type(side) is int and 0 < side < 1 << 15 else _USUAL_SIDE for side in sides)
    return frames["xy"], placed if isinstance(placed, list) else [], (float(width), float(height))


def _by_uid(entries: list[Any]) -> dict[str, dict[str, Any]]:
    """Buildings by uid, the first of each."""
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        properties = entry.get("properties") if isinstance(entry, dict) else None
        if not isinstance(properties, dict) or properties.get("feature_type", "building") != "building":
            continue
        uid = properties.get("uid")
        if isinstance(uid, str) and uid:
            found.setdefault(uid, entry)
    return found


def _places(
    drawn: dict[str, dict[str, Any]], placed: dict[str, dict[str, Any]], size: tuple[float, float]
) -> tuple[Box, Box | None]:
    """Boxes of the buildings on the ground, and of the tile."""
    uids = [uid for uid in drawn if uid in placed]
    on_ground, counts = _vertices([placed[uid].get("wkt") for uid in uids])
    kept = np.flatnonzero(counts)
    if not kept.size:
        return np.zeros((0, 4)), None
    starts = (np.cumsum(counts) - counts)[kept]
    low, high = (limit.reduceat(on_ground, starts, axis=0) for limit in (np.minimum, np.maximum))
    # NaN is no place, nor is what lies off the globe or is as large as a town.
    good = ((low >= (-180, -90)) & (high <= (180, 90)) & (high - low < _WIDEST)).all(axis=1)
    if not good.any():
        return np.zeros((0, 4)), None
    boxes = np.concatenate([low, high], axis=1)[good]
    some = np.flatnonzero(good)[np.linspace(0, good.sum() - 1, min(_FITTED, good.sum())).astype(int)]
    on_image, drawn_counts = _vertices([drawn[uids[index]].get("wkt") for index in kept[some]])
    corners = np.zeros((0, 2))
    if (drawn_counts == counts[kept[some]]).all():
        known = [
            on_ground[start : start + count]
            for start, count in zip(starts[some].tolist(), counts[kept[some]].tolist(), strict=True)
        ]
        corners = _tile_corners(on_image, np.concatenate(known), size)
    whole = np.concatenate([boxes[:, :2], boxes[:, 2:], corners])
    return boxes, np.concatenate([whole.min(0), whole.max(0)])


def _vertices(wkts: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """((V, 2) vertices of all texts, (n,) how many each has): all its rings, none where it is no outline."""
    texts = [
        wkt.translate(_TO_NUMBERS).strip() if isinstance(wkt, str) and wkt[:5] in ("POLYG", "MULTI") else ""
        for wkt in wkts
    ]
    counts = np.array([text.count(",") + 1 if text else 0 for text in texts], np.int64)
    numbers = ",".join(filter(None, texts)).replace(", ", ",").replace(" ", ",")
    try:
        flat = np.array(_NUMBERS.decode(f"[{numbers}]"), np.float64)
    except (ValueError, OverflowError):
        flat = np.zeros(1)
    if flat.size == 2 * counts.sum():
        return flat.reshape(-1, 2), counts
    if len(wkts) == 1:
        return np.zeros((0, 2)), np.zeros(1, np.int64)
    # One odd text among many: the others are still read at once.
    halves = [_vertices(half) for half in (wkts[: len(wkts) // 2], wkts[len(wkts) // 2 :])]
    return np.concatenate([half[0] for half in halves]), np.concatenate([half[1] for half in halves])


def _tile_corners(
    on_image: NDArray[np.float64], on_ground: NDArray[np.float64], size: tuple[float, float]
) -> NDArray[np.float64]:
    """(4, 2) corners of the tile in degrees by the affine map from (V, 2) px; none where no map fits."""
    if not (np.abs(on_image) < LARGEST_COORDINATE).all():
        return np.zeros((0, 2))
    middle = on_ground.mean(axis=0)
    sides = np.column_stack([on_image / size, np.ones(len(on_image))])
    affine, _, rank, _ = np.linalg.lstsq(sides, on_ground - middle, rcond=1e-9)
    spans = np.abs(affine[:2]).sum(axis=0)  # degrees from edge to edge
    worst = np.abs(sides @ affine - (on_ground - middle)).max(axis=0)
    if rank < 3 or (spans > _WIDEST).any() or (worst > _WORST_FIT / max(size) * spans).any():
        return np.zeros((0, 2))
    corners = np.array([[0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]], np.float64)
    return corners @ affine + middle
