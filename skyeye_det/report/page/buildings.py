"""The buildings of an assessment as the page reads them: squares of the grid, each a file of columns.

px are those of the assessment's grid, x right and y down; px (0, 0) is the corner of the first pixel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from skyeye_det.errors import InputError, shown
from skyeye_det.report.page.script_files import write_call
from skyeye_det.scene.answered_rows import RAW
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.outputs import GIVE_ASSESSMENT
from skyeye_det.scene.records import PROBABILITIES, Records
from skyeye_det.scene.review.counted import graded_only, is_reviewed
from skyeye_det.scene.review.frame import CHUNK
from skyeye_det.scene.vector_file import VectorLayer, middles

UNCERTAIN = 2000
"""Most buildings in the list of uncertain ones."""


def shown_records(layer: VectorLayer) -> Records:
    """The columns that the page shows, in the form that they have before people edit the file.

    Args:
        layer: of buildings, in the grid's CRS.

    Returns:
        With ``damage`` -1 and another ``status`` than ``ASSESSED`` where a grade or its probabilities lack.

    Raises:
        InputError: a column lacks, or holds other than numbers.
    """
    probs = np.stack([_numbers(layer, name) for name in PROBABILITIES], axis=1)
    damage = _numbers(layer, "damage")
    status, damage = graded_only(np.array(layer.texts("status", GIVE_ASSESSMENT), object), damage, probs)
    columns = {
        "building_id": np.array(layer.texts("building_id", GIVE_ASSESSMENT), object),
        "status": status,
        "damage": damage,
        **dict(zip(PROBABILITIES, probs.T, strict=True)),
        **{name: _numbers(layer, name) for name in ("score", "valid_fraction", "shift_m")},
        **{name: _numbers(layer, name) for name in ("reviewed", "review_damage")},
        **{name: layer.column(name, GIVE_ASSESSMENT) for name in ("review_by", "review_note")},
    }
    if RAW[0] in layer.columns:
        columns |= {name: _numbers(layer, name) for name in RAW}
    return Records(layer.geometry, columns, {})


def write_buildings(
    folder: Path, layers: list[Records], grid: Grid, status_texts: list[str]
) -> dict[str, int]:
    """Writes ``chunks/``, ``ids/`` and ``uncertain.js``; buildings that are not on the grid are left out.

    Chunks of earlier buildings that have none now are removed.

    Args:
        folder: of the page.
        layers: of ``shown_records``, by the number that the page gives to each.
        grid: of the scene.
        status_texts: by the number that the page gives to each.

    Returns:
        Name of a square -> number of its buildings.

    Raises:
        InputError: a file cannot be written.
    """
    whole = shapely.box(0, 0, grid.width, grid.height)
    placed = [grid.in_px(each.geometry) for each in layers]
    on_grid = [np.flatnonzero(shapely.intersects(each, whole)) for each in placed]
    geometry = np.concatenate([each[numbers] for each, numbers in zip(placed, on_grid, strict=True)])
    kept = [each.of(numbers) for each, numbers in zip(layers, on_grid, strict=True)]
    points = shapely.get_coordinates(middles(geometry))
    squares = np.floor(points / CHUNK).astype(np.int64)
    order = np.lexsort((squares[:, 0], squares[:, 1]))
    squares, points = squares[order], points[order]
    columns = _columns(kept, status_texts)
    columns = {name: values[order] for name, values in columns.items()}
    columns |= _degrees(points, grid)
    counts = _write_squares(folder, squares, columns, _Rings.of(geometry[order]))
    sizes = np.array([*counts.values()], np.int64)
    within = np.arange(len(squares)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    write_uncertain(folder, np.column_stack([squares, within]), columns["damage"], columns["p"])
    for path in (folder / "chunks").glob("*.js"):
        if path.stem not in counts:
            path.unlink()
    return counts


def _write_squares(
    folder: Path, squares: np.ndarray, columns: Mapping[str, np.ndarray], outlines: "_Rings"
) -> dict[str, int]:
    """Writes ``chunks/`` and ``ids/``, of buildings in the order of their squares (N, 2)."""
    starts = np.flatnonzero(np.r_[True, (squares[1:] != squares[:-1]).any(axis=1)][: len(squares)])
    ends = np.r_[starts[1:], len(squares)][: len(starts)]
    # All of them: a browser would complain of a file that a search for a wrong id finds missing.
    ids: dict[str, dict[str, str]] = {f"{number:02x}": {} for number in range(256)}
    counts = {}
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        x, y = squares[start].tolist()
        name, part = f"{x}_{y}", {key: values[start:end].tolist() for key, values in columns.items()}
        part |= {key: [each for four in part[key] for each in four] for key in ("p", "raw") if key in part}
        write_call(
            folder / "chunks" / f"{name}.js", "chunk", name, part | {"rings": outlines.between(start, end)}
        )
        counts[name] = end - start
        for text in part["id"]:
            ids[id_file(text)][text] = name
    for number, found in ids.items():
        write_call(folder / "ids" / f"{number}.js", "ids", number, found)
    return counts


def write_uncertain(folder: Path, places: np.ndarray, damage: np.ndarray, probs: np.ndarray) -> None:
    """Writes ``uncertain.js``.

    Args:
        folder: of the page.
        places: (N, 3), square and number in it of each building.
        damage: (N,), -1 of those without a grade, which are left out.
        probs: (N, 4), thousandths.
    """
    most = np.where(damage >= 0, probs.max(axis=1, initial=0), np.inf)
    unsure = np.argsort(most, kind="stable")[: min(UNCERTAIN, int(np.isfinite(most).sum()))]
    write_call(folder / "uncertain.js", "uncertain", places[unsure])


def id_file(text: str) -> str:
    """Name of the file that lists an id: two hex digits, the sum of its UTF-16 code units modulo 256."""
    units = np.frombuffer(text.encode("utf-16-le", errors="surrogatepass"), np.uint16)
    return f"{int(units.sum()) % 256:02x}"


def rings_of(geometry: np.ndarray, grid: Grid) -> list[list[list[float]]]:
    """Rings (x, y, x, y, ...) in px, to a tenth, of each of polygons (N,) in the grid's CRS."""
    return _Rings.of(grid.in_px(geometry)).between(0, len(geometry))


@dataclass(frozen=True, eq=False)
class _Rings:
    """Of N geometries, all in one array.

    Attributes:
        xy: (K, 2), corners of all rings; the last one of a ring is not its first.
        corners: (R + 1,), where each ring begins in ``xy``.
        rings: (N + 1,), where each geometry begins in ``corners``.
    """

    xy: np.ndarray
    corners: np.ndarray
    rings: np.ndarray

    @classmethod
    def of(cls, geometry: np.ndarray) -> "_Rings":
        parts, owners = shapely.get_parts(geometry, return_index=True)
        rings, pieces = shapely.get_rings(parts, return_index=True)
        xy, ring = shapely.get_coordinates(rings, return_index=True)
        closing = np.r_[ring[1:] != ring[:-1], True][: len(ring)]
        corners = np.searchsorted(ring[~closing], np.arange(len(rings) + 1))
        first = np.searchsorted(owners[pieces], np.arange(len(geometry) + 1))
        return cls(xy[~closing].round(1) + 0.0, corners, first)

    def between(self, start: int, end: int) -> list[list[list[float]]]:
        """Rings of geometries start..end."""
        first, last = int(self.rings[start]), int(self.rings[end])
        base = int(self.corners[first])
        flat = self.xy[base : int(self.corners[last])].reshape(-1).tolist()
        places = (2 * (self.corners[first : last + 1] - base)).tolist()
        rings = [flat[here:there] for here, there in pairwise(places)]
        owned = (self.rings[start : end + 1] - first).tolist()
        return [rings[here:there] for here, there in pairwise(owned)]


def _columns(layers: list[Records], status_texts: list[str]) -> dict[str, np.ndarray]:
    """Of all layers, one after the other."""
    numbers = {text: number for number, text in enumerate(status_texts)}
    parts = []
    is_adapted = any(RAW[0] in each.columns for each in layers)
    for layer, each in enumerate(layers):
        found = each.columns
        own = RAW if RAW[0] in found else PROBABILITIES  # all that a layer has which is not adapted
        parts.append(
            {
                "id": found["building_id"],
                "layer": np.full(len(each), layer),
                "damage": found["damage"],
                "p": _share(each.probabilities, 1000),
                **({"raw": thousandths(each, own)} if is_adapted else {}),
                "score": np.where(np.isfinite(found["score"]), _share(found["score"], 1000), -1),
                "status": np.array([numbers[text] for text in found["status"].tolist()], np.int64),
                "valid": _share(found["valid_fraction"], 100),
                "area": shapely.area(each.geometry).round(1),
                "shift_m": found["shift_m"].round(2),
                "review": _reviews(each),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def thousandths(records: Records, names: Sequence[str]) -> np.ndarray:
    """Columns of shares, int64 (N, K)."""
    return _share(np.stack([records.columns[name] for name in names], axis=1), 1000)


def _share(values: np.ndarray, whole: int) -> np.ndarray:
    """0..1 as 0..whole; 0 of none."""
    return np.clip(np.nan_to_num(values) * whole, 0, whole).round().astype(np.int64)


def _degrees(points: np.ndarray, grid: Grid) -> dict[str, np.ndarray]:
    """Columns of places (N, 2) in px; those that are far off the grid are moved near it."""
    if not len(points):
        return {"lon": np.zeros(0), "lat": np.zeros(0)}
    x, y = grid.transform @ np.clip(points, -CHUNK, max(grid.shape) + CHUNK).T
    lon, lat = grid.lonlat(x, y)
    return {"lon": lon.round(6), "lat": lat.round(6)}


def _numbers(layer: VectorLayer, name: str) -> np.ndarray:
    """float64 (N,), NaN where a value is null."""
    values = layer.column(name, GIVE_ASSESSMENT)
    try:
        return np.asarray(values.astype(np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{layer.path}: column {shown(name)}: expected numbers, found others ({error}); {GIVE_ASSESSMENT}"
        ) from error


def _reviews(records: Records) -> np.ndarray:
    """(N,) None, or what people say: ``damage`` 0..3, -1 not a building, None unsure; ``by``; ``note``."""
    damage, by, note = (records.columns[f"review_{name}"] for name in ("damage", "by", "note"))
    found = np.full(len(records), None, object)
    for number in np.flatnonzero(is_reviewed(records)).tolist():
        told: Mapping[str, Any] = {
            "damage": None if np.isnan(damage[number]) else int(damage[number]),
            "by": str(by[number] or ""),
            "note": str(note[number] or ""),
        }
        found[number] = told
    return found
