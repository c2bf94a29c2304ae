"""Whether the GeoPackage of an earlier assessment may be replaced."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from made_assessment import grid_of, records_of, scattered, write_folder

from skyeye_det.errors import InputError
from skyeye_det.scene import geopackage_editing
from skyeye_det.scene.earlier_file import require_replaceable
from skyeye_det.scene.geopackage_editing import connect
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    grid = grid_of(800, 600)
    return write_folder(tmp_path, grid, records_of(scattered(8, grid)), records_of(scattered(3, grid)))


def change(folder: Path, *statements: str) -> None:
    with closing(connect(folder / GEOPACKAGE)) as qgis:
        for sql in statements:
            qgis.execute(sql)


@pytest.fixture
def qgis(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(folder / GEOPACKAGE)) as base:
        yield base


def test_a_file_as_it_was_written_and_none_at_all_may_be_replaced(folder: Path) -> None:
    require_replaceable(folder)
    (folder / GEOPACKAGE).unlink()
    require_replaceable(folder)


@pytest.mark.parametrize("name", ["damage.tif", "buildings.npz", "damage.geojson"])
def test_files_of_others_with_the_name_of_a_result_are_not_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("another's")
    with pytest.raises(InputError, match=f"{name}: expected no such file in a folder without an assessment"):
        require_replaceable(tmp_path)
    (tmp_path / "parts").mkdir()  # of a run that was killed while it wrote
    require_replaceable(tmp_path)


@pytest.mark.parametrize("name", ["done!", "a\tb"])
def test_a_folder_whose_name_gdal_takes_for_another_is_refused_before_the_work(tmp_path, name: str) -> None:
    with pytest.raises(InputError, match="expected a path without !"):
        require_replaceable(tmp_path / name)
    with pytest.raises(InputError, match="expected a path without !"):
        require_replaceable(Path(f"/{tmp_path}"))


@pytest.mark.parametrize("open_as", ["PRAGMA journal_mode = WAL", "BEGIN IMMEDIATE"])
def test_a_file_that_another_program_has_open_is_not_replaced(
    folder, qgis, monkeypatch, open_as: str
) -> None:
    monkeypatch.setattr(geopackage_editing, "_BRIEFLY", 0.2)
    qgis.execute(open_as)
    qgis.execute("UPDATE buildings SET score = 0.5 WHERE fid = 1")
    with pytest.raises(InputError, match=r"damage\.gpkg: another program has it open, such as QGIS; close"):
        require_replaceable(folder)


def test_a_log_that_a_killed_program_left_goes_into_its_file(folder: Path, qgis) -> None:
    qgis.execute("PRAGMA journal_mode = WAL")
    qgis.execute("UPDATE buildings SET review_note = 'seen' WHERE fid = 1")
    place = folder / "killed"
    place.mkdir()
    for path in folder.glob(f"{GEOPACKAGE}*"):
        (place / path.name).write_bytes(path.read_bytes())
    assert (place / f"{GEOPACKAGE}-wal").stat().st_size
    with pytest.raises(InputError, match="reviewed, found 1"):
        require_replaceable(place)
    assert [path.name for path in place.iterdir()] == [GEOPACKAGE]


def test_a_log_without_its_file_is_told(folder: Path) -> None:
    (folder / GEOPACKAGE).unlink()
    (folder / f"{GEOPACKAGE}-wal").write_bytes(b"log")
    with pytest.raises(InputError, match=r"expected damage\.gpkg beside damage\.gpkg-wal"):
        require_replaceable(folder)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE {} SET geom = (SELECT geom FROM {} WHERE fid = 2) WHERE fid = 1",
        "INSERT INTO {} (geom) SELECT geom FROM {} WHERE fid = 2",
        "INSERT INTO {} (building_id) VALUES ('without an outline')",
        "DELETE FROM {} WHERE fid = 3",
    ],
)
@pytest.mark.parametrize("layer", ["buildings", BESIDE])
def test_outlines_that_people_have_changed_are_not_lost(folder: Path, layer: str, sql: str) -> None:
    change(folder, sql.replace("{}", f'"{layer}"'))
    with pytest.raises(InputError, match=r"redrawn, added or removed since.*move the file away"):
        require_replaceable(folder)


def test_other_columns_may_be_lost_and_a_file_of_an_older_version_tells_nothing(folder: Path) -> None:
    change(folder, "UPDATE buildings SET score = 0.1")
    require_replaceable(folder)
    change(folder, "DELETE FROM gpkg_metadata", "DELETE FROM buildings WHERE fid = 1")
    require_replaceable(folder)
