"""``skyeye assess`` from rasters to the files of a GIS, with a tiny model."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
import shapely
from affine import Affine
from assess_runs import layer, run
from msgspec import to_builtins
from pyogrio.errors import FeatureError
from saved_models import CONFIG
from scenes import CORNER, ground, write
from scenes import write_polygons as written
from tiny_model import tiny_overrides

import skyeye_det
from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.engine.models import Models
from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes
from skyeye_det.scene.geopackage import damage_style
from skyeye_det.scene.run_record import Run
from skyeye_det.scene.vector_file import read_layer

HALF = Affine(0.5, 0, CORNER[0], 0, -0.5, CORNER[1])


def test_a_scene_becomes_records_that_a_gis_opens(pair, rule, weights, tmp_path, capsys) -> None:
    output = tmp_path / "out"
    run(pair, output, weights, rule, "--post-date", "2011-06-01")
    found = layer(output)
    count = len(found["geometry"])
    assert count > 10
    assert shapely.is_valid(found["geometry"]).all()
    assert len(set(found["building_id"])) == count
    left, bottom, right, top = shapely.total_bounds(found["geometry"])
    assert left >= CORNER[0] - 1e-6
    assert right <= CORNER[0] + 400 / 2 + 1e-6
    assert top <= CORNER[1] + 1e-6
    assert bottom >= CORNER[1] - 320 / 2 - 1e-6
    assessed = found["status"] == "assessed"
    assert 0 < assessed.sum() < count
    assert np.isnan(found["damage"][~assessed].astype(float)).all()
    sums = sum(found[name] for name in ("p_no_damage", "p_minor", "p_major", "p_destroyed"))
    assert np.allclose(sums[assessed], 1, atol=1e-5)
    assert np.isnan(sums[~assessed]).all()
    assert set(found["post_date"]) == {"2011-06-01"}
    assert set(found["pre_date"]) == {None}
    gaps = layer(output, "not_assessed")
    assert sum(gaps["area_m2"]) == pytest.approx((120 * 80 + 100 * 60) * 0.25, rel=0.25)
    with closing(sqlite3.connect(output / "damage.gpkg")) as base:
        ((style,),) = base.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'buildings'")
    assert style == damage_style()
    with rasterio.open(output / "damage.tif") as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        painted = raster.read(1)
    assert set(np.unique(painted)) <= {0, 1, 2, 3, 4, 255}
    assert (painted > 0).sum() * raster.res[0] ** 2 == pytest.approx(found["area_m2"].sum(), rel=0.1)
    written = json.loads((output / "run.json").read_text())
    assert json.loads(json_bytes(to_builtins(Run.of(written, "run.json")))) == written
    assert written["shift"]["dx"] == pytest.approx(-2, abs=0.5) or not written["shift"]["windows"]
    assert len(layer(output, "shift")["agrees"]) == len(written["shift"]["windows"])
    assert "not assessed" in capsys.readouterr().out


def test_a_killed_run_goes_on_and_a_rule_needs_no_model(
    pair, rule, weights, whole, assessed, tmp_path, monkeypatch
) -> None:
    kept = sorted((assessed / "parts").glob("*.npz"))
    for path in kept[::3]:
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in kept if path.exists() and ".seen" not in path.name}
    (assessed / "damage.gpkg").unlink()
    run(pair, assessed, weights, rule)
    one, other = layer(whole), layer(assessed)
    assert one["building_id"].tolist() == other["building_id"].tolist()
    assert all(shapely.equals_exact(one["geometry"], other["geometry"]))
    unchanged = [path for path, time in before.items() if path.stat().st_mtime_ns == time]
    assert unchanged
    monkeypatch.setattr(Models, "load", None)
    grim = tmp_path / "grim.yaml"
    write_rule(grim, DecisionRule(score_threshold=0.0, outline="mask", damage_weights=(1e-3, 1, 1, 1e3)), [])
    run(pair, assessed, weights, grim, "--outlines", "mask")
    assert set(layer(assessed)["damage_label"]) == {"destroyed", "not assessed"}


def test_another_scene_is_refused_before_what_is_kept_is_lost(pair, rule, weights, tmp_path) -> None:
    pair, output = [shutil.copy(path, tmp_path) for path in pair], tmp_path / "out"
    run(pair, output, weights, rule)
    kept = {path: path.read_bytes() for path in (output / "parts").iterdir()}
    aoi = written(tmp_path / "aoi.gpkg", shapely.box(CORNER[0], CORNER[1] - 60, CORNER[0] + 60, CORNER[1]))
    for words, part in (
        ("--window 256", "window"),
        (f"--aoi {aoi}", "scene.aoi"),
        ("--shift 1,1", "scene.shift"),
    ):
        with pytest.raises(
            InputError, match=rf"expected results of what is given.*another {part}.*another --output"
        ):
            run(pair, output, weights, rule, *words.split())
    statistics = '<PAMDataset><PAMRasterBand band="1"/></PAMDataset>'  # as a GIS leaves it beside an image
    (tmp_path / "pre.tif.aux.xml").write_text(statistics)
    run(pair, output, weights, rule)
    write(tmp_path / "pre.tif", ground(seed=5))
    with pytest.raises(InputError, match=r"expected results of what is given.*another scene\.images"):
        run(pair, output, weights, rule)
    assert {path: path.read_bytes() for path in (output / "parts").iterdir()} == kept


def test_a_scene_is_the_same_by_paths_from_another_folder(
    pair, rule, weights, assessed, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(pair[0].parent)
    run((Path(pair[0].name), Path(pair[1].name)), assessed, weights, rule)
    assert "6 windows, 6 of them predicted before" in capsys.readouterr().out


def test_a_scene_without_a_pixel_after_has_gaps_and_no_grade(rule, weights, tmp_path, capsys) -> None:
    pre = write(tmp_path / "pre.tif", ground())
    post = write(tmp_path / "post.tif", np.zeros((3, 320, 400), np.uint8))
    run((pre, post), tmp_path / "out", weights, rule)
    found = layer(tmp_path / "out")
    assert set(found["status"]) == {"post image shows nothing new here"}
    assert set(found["damage_label"]) == {"not assessed"}
    assert layer(tmp_path / "out", "not_assessed")["area_m2"].sum() == pytest.approx(320 * 400 * 0.25)
    assert "not estimated" in capsys.readouterr().out


def test_a_scene_without_buildings_is_empty_and_whole(rule, weights, tmp_path, capsys) -> None:
    pair = [write(tmp_path / name, np.zeros((3, 320, 400), np.uint8)) for name in ("pre.tif", "post.tif")]
    run((pair[0], pair[1]), tmp_path / "out", weights, rule)
    assert len(layer(tmp_path / "out")["geometry"]) == 0
    assert layer(tmp_path / "out", "not_assessed")["area_m2"].sum() == pytest.approx(320 * 400 * 0.25)
    assert (tmp_path / "out" / "summary.csv").read_text().startswith("x,y,buildings,assessed,no_damage,")
    assert "destroyed_high" in layer(tmp_path / "out", "summary_grid")
    assert "0% of the scene can be assessed" in capsys.readouterr().out


def test_a_full_disk_is_told_in_a_sentence(pair, rule, weights, tmp_path, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise FeatureError("no such table: gpkg_contents")

    monkeypatch.setattr(pyogrio.raw, "write", full)
    with pytest.raises(InputError, match="cannot be written .*room on the disk"):
        run(pair, tmp_path / "out", weights, rule)
    assert not (tmp_path / "out" / "damage.gpkg").exists()


@pytest.mark.parametrize("shift", ["1", "a,b", "1,2,3", "nan,0", "1e9,0"])
def test_a_shift_that_is_none_is_refused(pair, rule, weights, tmp_path, shift: str) -> None:
    with pytest.raises(InputError, match="expected auto, none or two numbers"):
        run(pair, tmp_path / "out", weights, rule, f"--shift={shift}")


def test_what_people_have_reviewed_is_not_written_over(pair, rule, weights, assessed) -> None:
    with closing(sqlite3.connect(assessed / "damage.gpkg")) as base, base:
        for name in [row[0] for row in base.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]:
            base.execute(f'DROP TRIGGER "{name}"')  # they call functions that sqlite3 lacks
        base.execute("UPDATE buildings SET review_damage = 2 WHERE fid = 1")
    before = (assessed / "damage.gpkg").read_bytes()
    with pytest.raises(InputError, match="people have reviewed, found 1.*choose another --output"):
        run(pair, assessed, weights, rule, "--outlines", "mask")
    assert (assessed / "damage.gpkg").read_bytes() == before


def test_files_behind_a_raster_count_and_leftovers_do_not(rule, weights, tmp_path) -> None:
    pre, source = (
        write(tmp_path / "pre.tif", ground()),
        write(tmp_path / "source.tif", ground() + np.uint8(1)),
    )
    with rasterio.open(source) as file, rasterio.vrt.WarpedVRT(file) as warped:
        rasterio.shutil.copy(warped, tmp_path / "post.vrt", driver="VRT")
    output = tmp_path / "out"
    run((pre, tmp_path / "post.vrt"), output, weights, rule)
    first = json.loads((output / "run.json").read_text())["run_id"]
    write(source, np.zeros((3, 320, 400), np.uint8))
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (output / ".damage.gpkg.partial.gpkg").symlink_to(victim)
    with pytest.raises(InputError, match=r"another scene\.images"):
        run((pre, tmp_path / "post.vrt"), output, weights, rule)
    shutil.rmtree(output / "parts")
    run((pre, tmp_path / "post.vrt"), output, weights, rule)
    assert set(layer(output)["damage_label"]) == {"not assessed"}
    assert json.loads((output / "run.json").read_text())["run_id"] != first
    assert victim.read_text() == "mine"


def test_footprints_areas_and_formats(pair, rule, weights, tmp_path, capsys) -> None:
    def square(x: float, y: float, side: float) -> shapely.Polygon:
        left, top = HALF @ (x, y)
        return shapely.box(left, top - side / 2, left + side / 2, top)

    known = [square(30, 30, 30), square(350, 20, 20), square(20, 250, 20), square(4000, 0, 20)]
    known += [square(60 * k + 20, 120, 24) for k in range(5)]
    footprints = written(tmp_path / "f.gpkg", *known, key=[f"house {k}" for k in range(len(known))])
    districts = written(
        tmp_path / "d.geojson", square(0, 0, 200), square(200, 0, 200), name=["<b>west", "east"]
    )
    aoi = written(tmp_path / "aoi.gpkg", square(0, 0, 390))
    output = tmp_path / "out"
    words = ["--footprints", footprints, "--footprint-id", "key", "--areas", districts, "--area-name", "name"]
    run(pair, output, weights, rule, *words, "--aoi", aoi, "--formats", "fgb", "geojson", "parquet")
    found = layer(output)
    assert set(found["building_id"]) == {f"house {k}" for k in range(len(known))} - {
        "house 3"
    }  # not in the AOI
    status = dict(zip(found["building_id"], found["status"], strict=True))
    assert status["house 0"] == "assessed"
    assert status["house 1"] == status["house 2"] == "post image shows nothing new here"
    assert np.isnan(found["score"]).all()
    assert layer(output, "summary_areas")["name"].tolist() == ["<b>west", "east"]
    assert layer(output, "summary_areas")["buildings"].sum() >= 5
    others = layer(output, "not_in_footprints")
    assert set(others["outline_from"]) == {"model"}
    assert layer(output, "source")["side"].tolist() == ["pre", "post"]
    gaps, covered = layer(output, "not_assessed")["area_m2"].sum(), layer(output, "coverage")["area_m2"].sum()
    with rasterio.open(output / "probability.tif") as raster:
        percent = raster.read().astype(int)
        assert gaps + covered == pytest.approx(195 * 160)  # of the AOI
        assert raster.descriptions == ("p_no_damage, %", "p_minor, %", "p_major, %", "p_destroyed, %")
    painted = percent[0] != 255
    assert painted.any()
    assert np.abs(percent[:, painted].sum(axis=0) - 100).max() <= 2
    for ending in ("fgb", "geojson", "parquet"):
        assert (output / f"damage.{ending}").stat().st_size > 1000
    geojson = json.loads((output / "damage.geojson").read_text())
    first = geojson["features"][0]
    assert abs(first["geometry"]["coordinates"][0][0][0][0]) < 180
    grades = {each["properties"]["building_id"]: each["properties"]["damage"] for each in geojson["features"]}
    assert grades["house 1"] is None
    again = read_layer(output / "damage.parquet")
    np.testing.assert_array_equal(again.columns["damage"], found["damage"])
    assert again.bounds[3] < 90
    assert "worst areas" in capsys.readouterr().out
    run(pair, output, weights, rule, *words, "--aoi", aoi)
    assert "6 windows, 6 of them predicted before" in capsys.readouterr().out


def test_an_area_of_interest_has_the_footprints_whose_middle_it_holds(pair, rule, weights, tmp_path) -> None:
    left, top = CORNER
    middles = {
        "inside": (40, 40),
        "over the line, inside": (98, 60),
        "over the line": (102, 80),
        "out": (150, 60),
    }
    boxes = [shapely.box(left + x - 6, top - y - 6, left + x + 6, top - y + 6) for x, y in middles.values()]
    aoi = written(tmp_path / "aoi.gpkg", shapely.box(left, top - 160, left + 100, top))
    words = ["--footprints", written(tmp_path / "f.gpkg", *boxes, key=list(middles)), "--footprint-id", "key"]
    run(pair, tmp_path / "out", weights, rule, *words, "--aoi", aoi)
    found = layer(tmp_path / "out")
    assert found["building_id"].tolist() == ["inside", "over the line, inside"]
    assert found["status"].tolist() == ["assessed", "assessed"]
    beside = shapely.get_x(shapely.centroid(layer(tmp_path / "out", "not_in_footprints")["geometry"]))
    assert beside.size
    assert beside.max() <= left + 100 + 6  # a point within may count in place of the centroid


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"formats": "tif"}, "--formats: expected some of fgb"),
        ({"outlines": "round"}, "--outlines: expected one of right-angled"),
        ({"shard": (0, 1)}, "--shard: expected K/N"),
        ({"window": 32}, "--window: expected 64 px or more, found 32"),
        ({"overlap": 600}, "--overlap: expected at most half of --window, found 600"),
        ({"area_name": "a"}, "--area-name: expected it with --areas, found 'a'"),
        ({"footprint_id": "a"}, "--footprint-id: expected it with --footprints"),
        ({"output": "caf\udce9"}, "expected a name in UTF-8"),
        ({"weights": "a.pth"}, "--weights: expected it with --config-file"),
    ],
)
def test_what_cannot_be_asked_is_told_before_anything_is_read(wrong: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        skyeye_det.assess(**{"pre": "a.tif", "post": "b.tif", "output": "c"} | wrong)


def test_python_takes_single_paths(pair, rule, weights, assessed) -> None:
    asked = {"pre": pair[0], "post": str(pair[1]), "output": str(assessed), "decisions": rule}
    asked |= {
        "config_file": CONFIG,
        "weights": weights,
        "opts": tiny_overrides(),
        "window": 192,
        "overlap": 64,
    }
    assert len(skyeye_det.assess(**asked)) == len(layer(assessed)["geometry"])
