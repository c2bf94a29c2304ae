"""The buildings of a scene as records of a GIS: outline, grade, probabilities, or why it has none."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
from affine import Affine

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.decision.buildings import NOT_ASSESSED, Buildings
from skyeye_det.decision.polygonize import outline_geometries
from skyeye_det.prediction.visibility import ASSESSED, LEAST_SEEN, UNREADABLE
from skyeye_det.scene import terms
from skyeye_det.scene.footprints import SceneFootprints
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.shift import Shift
from skyeye_det.scene.vector_file import middles, valid_polygons

OUTLINES = ("right-angled", "simplified", "mask")
OUTSIDE = "outside of the images"
"""``status`` of a footprint."""

PROBABILITIES = tuple(f"p_{grade}" for grade in terms.GRADES)
"""Names of columns."""


@dataclass(frozen=True, eq=False)
class Records:
    """N buildings, column by column; a value that is not known is masked.

    Attributes:
        geometry: (N,) shapely multipolygons in the grid's CRS, valid; without overlaps but
            for footprints, whose outlines stand.
        columns: name -> values (N,).
        missing: name -> bool (N,), where a column has no value.
        features: (N, D) float16, what the grades were read from; None: nobody kept it.
    """

    geometry: np.ndarray
    columns: dict[str, np.ndarray]
    missing: dict[str, np.ndarray]
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.geometry)

    def of(self, numbers: np.ndarray) -> "Records":
        """Those of numbers (K,), or of bool (N,)."""
        return Records(
            self.geometry[numbers],
            {name: values[numbers] for name, values in self.columns.items()},
            {name: values[numbers] for name, values in self.missing.items()},
            None if self.features is None else self.features[numbers],
        )

    @property
    def is_assessed(self) -> np.ndarray:
        """Bool (N,)."""
        return np.asarray(self.columns["status"] == ASSESSED)

    @property
    def probabilities(self) -> np.ndarray:
        """(N, 4) float64 of the assessed buildings, others 0."""
        return np.stack(
            [np.where(self.is_assessed, self.columns[name], 0.0) for name in PROBABILITIES], axis=1
        )


@dataclass(frozen=True)
class Origin:
    """Where all records of a scene come from.

    Attributes:
        grid: of the scene.
        shift: of the post image, for the residual at each building.
        texts: ``pre_date``, ``post_date``, ``model`` and ``run_id``.
        unreadable: where windows could not be read, in the grid's CRS.
    """

    grid: Grid
    shift: Shift
    texts: dict[str, str]
    unreadable: shapely.Geometry = field(default_factory=shapely.Polygon)


def building_records(buildings: Buildings, outlines: str, origin: Origin) -> Records:
    """Makes the records of a scene's buildings.

    Args:
        buildings: in px of the grid, graded where they are seen.
        outlines: of ``OUTLINES``.
        origin: of all of them.
    """
    size = origin.grid.width, origin.grid.height
    found = outline_geometries(buildings.outlines(outlines))  # px, where pixel k covers k..k + 1
    bounds = shapely.bounds(found).reshape(-1, 4)
    beyond = ~((bounds >= 0) & (bounds <= [*size, *size])).all(axis=1)
    found[beyond] = shapely.intersection(valid_polygons(found[beyond]), shapely.box(0, 0, *size))
    drawn = disjoint(found)
    kept = np.flatnonzero(~shapely.is_empty(drawn))
    geometry = _placed(drawn[kept], origin.grid.transform)
    status = np.array(buildings.status, object)[kept]
    return _records(buildings, kept, geometry, status, None, origin)


def footprint_records(buildings: Buildings, footprints: SceneFootprints, origin: Origin) -> Records:
    """Makes a record of every footprint; its outline stands.

    Args:
        buildings: one a footprint, in their order.
        footprints: of the scene.
        origin: of all of them.
    """
    status = np.array(buildings.status, object)
    status[footprints.inside < LEAST_SEEN] = OUTSIDE
    every = np.arange(len(buildings))
    return _records(buildings, every, footprints.geometry, status, footprints.ids, origin)


def _records(
    buildings: Buildings,
    kept: np.ndarray,
    geometry: np.ndarray,
    status: np.ndarray,
    ids: np.ndarray | None,
    origin: Origin,
) -> Records:
    grid, count = origin.grid, len(kept)
    points = shapely.centroid(geometry)
    assessed = np.asarray(status == ASSESSED)
    status[~assessed & (status != OUTSIDE) & shapely.intersects(geometry, origin.unreadable)] = UNREADABLE
    seen = np.ones((len(buildings), 3)) if buildings.seen is None else buildings.seen
    grades = grade_columns(buildings.damage[kept], assessed)
    probs = buildings.damage_probs[kept].astype(np.float64)
    places = _place_ids(shapely.get_x(points), shapely.get_y(points), grid)
    columns: dict[str, np.ndarray] = {
        "building_id": np.array(places, object) if ids is None else ids,
        **{name: grades[name] for name in ("damage", "damage_label")},
        **{name: probs[:, grade] for grade, name in enumerate(PROBABILITIES)},
        "score": buildings.scores[kept].astype(np.float64),
        "outline_from": np.array(
            ["footprint" if buildings.sources[index] == "footprint" else "model" for index in kept.tolist()],
            object,
        ),
        "status": status,
        "valid_fraction": seen[kept, 2],
        "area_m2": shapely.area(geometry),
        "shift_m": _residuals(origin.shift, buildings.boxes[kept], grid),
        **{name: np.full(count, origin.texts[name], object) for name in ("pre_date", "post_date")},
        **{name: grades[name] for name in ("damage_gra", "unosat_class")},
        **{name: np.full(count, origin.texts[name], object) for name in ("model", "run_id")},
        "reviewed": np.zeros(count, np.bool_),
        "review_damage": np.zeros(count, np.int32),
        "review_by": np.full(count, "", object),
        "review_note": np.full(count, "", object),
    }
    missing = dict.fromkeys(("damage", *PROBABILITIES), ~assessed)
    missing["unosat_class"] = ~assessed | (columns["unosat_class"] == 0)
    missing["shift_m"] = np.isnan(columns["shift_m"])
    missing["score"] = np.asarray(columns["outline_from"] == "footprint")
    missing |= dict.fromkeys(("review_damage", "review_by", "review_note"), np.ones(count, np.bool_))
    for name in ("pre_date", "post_date"):
        missing[name] = np.full(count, not origin.texts[name])
    features = None if buildings.features is None else buildings.features[kept]
    return Records(geometry, columns, missing, features)


def records_in(records: Records, aoi: shapely.Geometry | None) -> Records:
    """Those whose middle lies in an area of interest; None: all."""
    if aoi is None:
        return records
    shapely.prepare(aoi)
    return records.of(shapely.intersects(aoi, middles(records.geometry)))


def grade_columns(damage: np.ndarray, assessed: np.ndarray) -> dict[str, np.ndarray]:
    """The columns that say a grade, by damage (N,) and bool (N,); ``unosat_class`` is 0 where it has none."""
    return {
        "damage": damage.astype(np.int32),
        "damage_label": _words(damage, assessed, SUBTYPE_BY_DAMAGE, NOT_ASSESSED),
        "damage_gra": _words(damage, assessed, terms.COPERNICUS, terms.COPERNICUS_NOT_ASSESSED),
        "unosat_class": np.array([terms.UNOSAT.get(each, 0) for each in damage.tolist()], np.int32),
    }


def _words(damage: np.ndarray, assessed: np.ndarray, words: dict, otherwise: str) -> np.ndarray:
    pairs = zip(damage.tolist(), assessed.tolist(), strict=True)
    return np.array([words[grade] if known else otherwise for grade, known in pairs], object)


def disjoint(geometries: Sequence[shapely.Geometry] | np.ndarray) -> np.ndarray:
    """Takes from each what those before it cover; the results are valid polygons, some of them empty."""
    found = valid_polygons(np.array(geometries, object))
    tree = shapely.STRtree(found)
    first, second = tree.query(found, predicate="intersects")
    for later, earlier in sorted(zip(first.tolist(), second.tolist(), strict=True)):
        if earlier < later:
            found[later] = shapely.difference(found[later], found[earlier])
    return valid_polygons(found)


def _placed(geometries: np.ndarray, transform: Affine) -> np.ndarray:
    """In coordinates; valid once more, since rounding can make a corner cross a line."""
    placed = shapely.transform(geometries, lambda points: np.column_stack(transform @ points.T))
    return valid_polygons(placed)


def _place_ids(xs: np.ndarray, ys: np.ndarray, grid: Grid) -> list[str]:
    """A hash of each place, in steps of a millionth of a degree."""
    if not len(xs):
        return []
    texts = [f"{x:.6f} {y:.6f}" for x, y in zip(*grid.lonlat(xs, ys), strict=True)]
    found = Counter[str]()
    ids = []
    for text in texts:
        found[text] += 1  # the same outline twice in a file of footprints
        named = text if found[text] == 1 else f"{text} {found[text]}"
        ids.append(hashlib.blake2b(named.encode(), digest_size=6).hexdigest())
    return ids


def _residuals(shift: Shift, boxes: np.ndarray, grid: Grid) -> np.ndarray:
    """How far the window nearest to each box (N, 4) says it is still off, m; NaN where none was compared."""
    if not shift.windows or not len(boxes):
        return np.full(len(boxes), np.nan)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    places = np.array([(each.x, each.y) for each in shift.windows])
    least, nearest = np.full(len(boxes), np.inf), np.zeros(len(boxes), np.int64)
    for number, place in enumerate(places):
        away = np.abs(middles - place).sum(axis=1)
        nearest[away < least] = number
        least = np.minimum(least, away)
    return shift.residuals[nearest] * grid.resolution
