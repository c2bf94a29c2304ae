"""Known footprints on a scene's grid: where each is, and what the model finds that none of them has."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.features import rasterize

from skyeye_det.decision.buildings import Buildings
from skyeye_det.errors import InputError, shown
from skyeye_det.prediction.footprints import shared_out
from skyeye_det.prediction.masks import EMPTY_CROP, Crop, crop_boxes
from skyeye_det.prediction.windows import Window
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.vector_file import VectorLayer, bounds_text, read_layer

_FEWEST = 20
"""Pairs of a footprint and a building, from which their offset is told."""

_LARGE_OFFSET = 2.0  # m; xBD's own outlines lie within 1 m of the roofs
_MOST_MISSED = 0.5


@dataclass(frozen=True, eq=False)
class SceneFootprints:
    """N footprints.

    Attributes:
        geometry: (N,) shapely polygons in the grid's CRS.
        ids: (N,) texts, different ones; None: the file has none.
        crops: N bool crops in px of the grid, empty where a footprint lies outside of it.
        inside: (N,) share of each that lies on the grid, 0..1.
        left_out: features of the file without an area.
    """

    geometry: np.ndarray
    ids: np.ndarray | None
    crops: list[Crop]
    inside: np.ndarray
    left_out: int

    @property
    def on_grid(self) -> np.ndarray:
        """Numbers (K,) of those with a pixel on the grid."""
        return np.flatnonzero([crop.size > 0 for _, crop in self.crops])

    def shared_out(self, windows: Sequence[Window]) -> list[list[int]]:
        """Numbers of the footprints that each window classifies; those off the grid are in none."""
        on_grid = self.on_grid
        shared = shared_out([self.crops[index] for index in on_grid], windows)
        return [on_grid[numbers].tolist() for numbers in shared]

    @property
    def digest(self) -> str:
        """Of all that their predictions follow from."""
        made_of = hashlib.sha256(repr([len(self.crops)]).encode())
        for corner, crop in self.crops:
            made_of.update(repr((corner, crop.shape)).encode() + np.packbits(crop).tobytes())
        return made_of.hexdigest()


def open_footprints(path: str, id_column: str | None, grid: Grid) -> SceneFootprints:
    """Reads footprints of any vector format and CRS.

    Args:
        path: of the file.
        id_column: whose values become ``building_id``; None: a hash of the place.
        grid: of the scene.

    Raises:
        InputError: as ``read_layer``; ids that are empty or not unique; none on the grid.
    """
    found = filled_layer(path, grid)
    ids = None
    if id_column:
        ids = np.array(found.texts(id_column, "let --footprint-id name one of these"), object)
        (value, count), *_ = Counter(ids.tolist()).most_common(1)
        if count > 1 or "" in ids.tolist():
            raise InputError(
                f"{path}: expected another value of {id_column} in every feature, found {count} with"
                f" {shown(value if count > 1 else '')}; let --footprint-id name a column of ids"
            )
    in_px = grid.in_px(found.geometry)
    crops = [_crop(each, grid.shape) for each in in_px]
    whole = shapely.box(0, 0, grid.width, grid.height)
    inside = shapely.area(shapely.intersection(in_px, whole)) / np.maximum(shapely.area(in_px), 1e-9)
    return SceneFootprints(found.geometry, ids, crops, inside, found.left_out)


def open_aoi(path: str, grid: Grid) -> shapely.Geometry:
    """The area of interest in the grid's CRS; InputError as ``read_layer``, or it lies outside."""
    found = filled_layer(path, grid)
    return shapely.union_all(found.geometry)


def filled_layer(path: str, grid: Grid) -> VectorLayer:
    """Polygons in the grid's CRS; InputError as ``read_layer``, or none meets the grid."""
    placed = read_layer(Path(path)).projected(grid.crs)
    if not len(placed):
        raise InputError(f"{path}: expected polygons, found none with an area here; give another file")
    extent = _extent(grid)
    if not (shapely.intersects(placed.geometry, extent) & ~shapely.touches(placed.geometry, extent)).any():
        raise _outside(placed, grid)
    return placed


def _extent(grid: Grid) -> shapely.Polygon:
    return grid.box(0, 0, grid.width, grid.height)


def _outside(found: VectorLayer, grid: Grid) -> InputError:
    place = bounds_text(np.array(shapely.bounds(_extent(grid))))
    return InputError(
        f"{found.path}: expected polygons where both images are, {place} of {grid.crs.to_string()[:60]},"
        f" found {bounds_text(found.bounds)}; give a file of this place"
    )


def _crop(geometry: shapely.Geometry, shape: tuple[int, int]) -> Crop:
    """The pixels whose centres a polygon in px holds; of one that holds none, those that it touches."""
    left, top, right, bottom = shapely.bounds(geometry)
    x0, y0 = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
    x1, y1 = min(int(np.ceil(right)), shape[1]), min(int(np.ceil(bottom)), shape[0])
    if x0 >= x1 or y0 >= y1:
        return EMPTY_CROP
    place = Affine.translation(x0, y0)
    for touched in (False, True):
        filled = rasterize(
            [geometry], (y1 - y0, x1 - x0), transform=place, all_touched=touched, dtype="uint8"
        )
        if filled.any():
            return (x0, y0), filled > 0
    return EMPTY_CROP


def beside(found: Buildings, footprints: SceneFootprints) -> np.ndarray:
    """Numbers of the buildings that no footprint has: less than half of each lies in any of them."""
    numbers = footprints.on_grid
    tree = shapely.STRtree(shapely.box(*_boxes([footprints.crops[index] for index in numbers])))
    pairs = tree.query(shapely.box(*_boxes(found.masks)), predicate="intersects")
    left = {building: found.masks[building][1].copy() for building in np.unique(pairs[0]).tolist()}
    for building, number in pairs.T.tolist():
        _take_out(left[building], found.masks[building][0], footprints.crops[numbers[number]])
    kept = [
        2 * np.count_nonzero(left.get(index, mask)) > np.count_nonzero(mask)
        for index, (_, mask) in enumerate(found.masks)
    ]
    return np.flatnonzero(kept)


def _take_out(mask: np.ndarray, corner: tuple[int, int], crop: Crop) -> None:
    """Clears the pixels of a crop in a mask whose first pixel is at ``corner``."""
    (x, y), (u, v) = corner, crop[0]
    left, top = max(u - x, 0), max(v - y, 0)
    part = crop[1][max(y - v, 0) : y - v + mask.shape[0], max(x - u, 0) : x - u + mask.shape[1]]
    mask[top : top + part.shape[0], left : left + part.shape[1]] &= ~part


def remarks(
    found: Buildings, footprints: SceneFootprints, grid: Grid, aoi: shapely.Geometry | None
) -> list[str]:
    """What a person should know: how far footprints and image lie apart, and whether they fit at all.

    Args:
        found: buildings of the model, in px of the grid.
        footprints: on the same grid.
        grid: of both.
        aoi: area of interest, outside of which nothing was sought.
    """
    told = []
    if footprints.left_out:
        told.append(f"{footprints.left_out} footprints have no area, and no record")
    numbers = footprints.on_grid
    if aoi is not None:
        numbers = numbers[shapely.intersects(aoi, shapely.centroid(footprints.geometry[numbers]))]
    boxes = _boxes([footprints.crops[index] for index in numbers]).T
    others = _boxes(found.masks).T
    tree = shapely.STRtree(shapely.points((others[:, :2] + others[:, 2:]) / 2))
    near, which = tree.query(shapely.box(*boxes.T), predicate="intersects")
    missed = 1 - len(np.unique(near)) / max(len(boxes), 1)
    if missed > _MOST_MISSED:
        told.append(
            f"the model sees no building in {missed:.0%} of the footprints; are date and place right?"
        )
    if len(near) >= _FEWEST:
        middles = [(each[:, :2] + each[:, 2:]) / 2 for each in (boxes[near], others[which])]
        x, y = np.median(middles[1] - middles[0], axis=0) * grid.resolution
        if np.hypot(x, y) > _LARGE_OFFSET:
            across, down = "west" if x < 0 else "east", "north" if y < 0 else "south"
            told.append(
                f"buildings lie {abs(x):.1f} m {across} and {abs(y):.1f} m {down} of their footprints: move"
                " these, or the image, before you trust the grades"
            )
    return told


def _boxes(crops: Sequence[Crop]) -> np.ndarray:
    """(4, N): left, top, right, bottom in px."""
    return crop_boxes(crops).astype(np.float64).T
