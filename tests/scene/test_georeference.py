import json
import re
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from small_xbd import square, write_pair

from skyeye_det.commands import georeference
from skyeye_det.errors import InputError

WEST, NORTH, STEP = -94.5, 37.0, 5e-6
BUILDINGS = [
    (square(8, 10), "no-damage"),
    (square(30, 22, 10), "destroyed"),
    (square(5, 30, 4), "un-classified"),
]


def place(root: Path, scene: str, split: str = "val", error: float = 0.0) -> None:
    """Adds to both labels where px (0, 0) is (WEST, NORTH) and a px is STEP degrees; a vertex may be off."""
    for time in ("pre", "post"):
        path = root / split / "labels" / f"{scene}_{time}_disaster.json"
        label = json.loads(path.read_text())
        entries = json.loads(json.dumps(label["features"]["xy"]))
        for number, entry in enumerate(entries):

            def moved(found: re.Match[str], off: float = error * (number == 0)) -> str:
                x, y = float(found[1]), float(found[2])
                return f"{WEST + (x + off) * STEP!r} {NORTH - y * STEP!r}"

            entry["wkt"] = re.sub(r"([\d.]+) ([\d.]+)", moved, entry["wkt"])
        label["features"]["lng_lat"] = entries
        path.write_text(json.dumps(label))


def run(root: Path, output: Path) -> int:
    return georeference.main(["--xbd-root", str(root), "--splits", "val", "--output", str(output)])


def test_the_middle_of_a_pixel_lies_where_the_label_puts_its_coordinate(tmp_path: Path, capsys) -> None:
    scene = write_pair(tmp_path / "xbd", "val", "storm_00000001", BUILDINGS)
    place(tmp_path / "xbd", scene)
    assert run(tmp_path / "xbd", tmp_path / "out") == 0
    assert "1 pairs" in capsys.readouterr().out
    for side in ("pre", "post"):
        with rasterio.open(tmp_path / "out" / side / f"{scene}.tif") as file:
            assert file.crs.to_epsg() == 4326
            assert (file.read() == 60).all()
            middle = file.transform @ (8.5, 10.5)
        assert middle == (
            pytest.approx(WEST + 8 * STEP, abs=1e-9),
            pytest.approx(NORTH - 10 * STEP, abs=1e-9),
        )


def test_the_truth_has_every_building_with_its_grade(tmp_path: Path) -> None:
    scene = write_pair(tmp_path / "xbd", "val", "storm_00000001", BUILDINGS)
    place(tmp_path / "xbd", scene)
    run(tmp_path / "xbd", tmp_path / "out")
    meta, _, geometry, values = pyogrio.raw.read(tmp_path / "out" / "truth.gpkg", layer="truth")
    columns = dict(zip(meta["fields"].tolist(), values, strict=True))
    assert columns["damage_label"].tolist() == ["no-damage", "destroyed", "un-classified"]
    assert columns["damage"].tolist()[:2] == [0, 3]
    assert np.isnan(columns["damage"][2])
    bounds = shapely.bounds(shapely.from_wkb(geometry))
    assert bounds[0].tolist() == pytest.approx(
        [WEST + 8 * STEP, NORTH - 18 * STEP, WEST + 16 * STEP, NORTH - 10 * STEP]
    )


def test_tiles_without_a_place_are_named(tmp_path: Path, capsys) -> None:
    root = tmp_path / "xbd"
    place(root, write_pair(root, "val", "storm_00000001", BUILDINGS))
    write_pair(root, "val", "storm_00000002", [])
    place(root, write_pair(root, "val", "storm_00000003", BUILDINGS), error=9.0)
    assert run(root, tmp_path / "out") == 1
    told = capsys.readouterr().err
    assert told.count("not georeferenced") == 2
    assert "storm_00000002" in told
    assert "storm_00000003" in told
    assert [path.name for path in (tmp_path / "out" / "pre").iterdir()] == ["storm_00000001.tif"]


def test_no_tile_with_a_place_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path / "xbd", "val", "storm_00000002", [])
    with pytest.raises(InputError, match="no pair can be georeferenced, of 1"):
        run(tmp_path / "xbd", tmp_path / "out")
    assert not (tmp_path / "out" / "truth.gpkg").exists()
