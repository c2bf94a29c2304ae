"""A page whose buildings have other grades now: its data changed in place, while it is open.

Outlines and reviews stay as they are, so that nothing but grades and numbers is written, which takes a
fraction of ``renew_page``'s time; and the GeoPackage may be open meanwhile.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skyeye_det.report.page.buildings import thousandths, write_uncertain
from skyeye_det.report.page.folder import META
from skyeye_det.report.page.script_files import read_call, write_call
from skyeye_det.report.page.summary import reviewed_areas, reviewed_figures
from skyeye_det.scene.answered_rows import RAW
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.records import PROBABILITIES, Records


def regrade_page(
    report: Path,
    records: Records,
    buildings: Records,
    areas: np.ndarray | None,
    grid: Grid,
    adapted: Mapping[str, Any],
) -> None:
    """Writes grades, probabilities and numbers of a page anew; ``meta.js`` comes last.

    Args:
        report: folder of the page.
        records: of ``adapt_geopackage``; buildings of the page that are not in it stay as they are.
        buildings: of ``buildings_of``.
        areas: polygons (K,) of the layer of areas, in the order of its rows; None: there is no such layer.
        grid: of the assessment.
        adapted: of ``shown_record``.

    Raises:
        InputError: a file cannot be read or written.
    """
    grades = _Grades(records)
    places, damage, probs = [], [np.zeros(0, np.int64)], [np.zeros((0, 4), np.int64)]
    paths = {path: (*map(int, path.stem.split("_")),) for path in (report / "chunks").glob("*_*.js")}
    for path, square in sorted(paths.items(), key=lambda item: item[1][::-1]):  # as ``write_buildings``
        key, content = read_call(path)
        grades.put(content)
        write_call(path, "chunk", key, content)
        damage.append(np.array(content["damage"], np.int64))
        probs.append(np.array(content["p"], np.int64).reshape(-1, 4))
        places += [(*square, number) for number in range(len(content["id"]))]
    listed = np.array(places, np.int64).reshape(-1, 3)
    write_uncertain(report, listed, np.concatenate(damage), np.concatenate(probs))
    (meta,) = read_call(report / META)
    rows = [] if areas is None else reviewed_areas(buildings, areas)
    if len(rows) == len(meta["areas"] or []):
        meta["areas"] = meta["areas"] and [old | row for old, row in zip(meta["areas"], rows, strict=True)]
    meta |= reviewed_figures(buildings, grid) | {"adapted": adapted}
    write_call(report / META, "meta", meta)


class _Grades:
    """Of the buildings that have one, by id."""

    def __init__(self, records: Records) -> None:
        known = records.of(records.is_assessed)
        self._numbers = {each: k for k, each in enumerate(known.columns["building_id"].tolist())}
        self._damage = np.asarray(known.columns["damage"], np.int64)
        self._probs, self._raw = thousandths(known, PROBABILITIES), thousandths(known, RAW)

    def put(self, content: dict[str, Any]) -> None:
        """Changes the content of a chunk."""
        if not self._numbers:
            return
        found = [
            -1 if layer else self._numbers.get(building, -1)
            for building, layer in zip(content["id"], content["layer"], strict=True)
        ]
        numbers, old = np.array(found, np.int64), np.array(content["damage"], np.int64)
        there = (numbers >= 0) & (old >= 0)
        content["damage"] = np.where(there, self._damage[numbers], old)
        was = np.array(content["p"], np.int64).reshape(-1, 4)
        before = np.array(content.get("raw", content["p"]), np.int64).reshape(-1, 4)
        content["p"] = np.where(there[:, None], self._probs[numbers], was).reshape(-1)
        content["raw"] = np.where(there[:, None], self._raw[numbers], before).reshape(-1)
