import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pyogrio
import pytest
import shapely
from assessed import outline_in_px, write_assessment
from scenes import CORNER

from skyeye_det.decision.buildings import NOT_ASSESSED
from skyeye_det.errors import InputError
from skyeye_det.scene.earlier_file import require_replaceable
from skyeye_det.scene.geopackage import damage_style, write_styles
from skyeye_det.scene.graded_buildings import predicted_buildings
from skyeye_det.scene.outputs import BESIDE, GEOPACKAGE
from skyeye_det.scene.review.file import ConflictError, NotThereError, ReviewFile
from skyeye_det.scene.review.sample import draw_sample, sample_to_check
from skyeye_det.scene.review.state import FALSE_BUILDING, GRADE, NO_VERDICT, UNSURE, Review
from skyeye_det.scene.vector_file import read_layer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_assessment(tmp_path, 120, beside=3)
    return tmp_path


@pytest.fixture
def ids(folder: Path) -> list[str]:
    return column(folder, "building_id")


@pytest.fixture
def file(folder: Path):
    with closing(ReviewFile(folder)) as opened:
        yield opened


def column(folder: Path, name: str, layer: str = "buildings", **options) -> list:
    _, _, _, (values,) = pyogrio.raw.read(folder / GEOPACKAGE, layer=layer, columns=[name], **options)
    return values.tolist()


def say(file: ReviewFile, building: str, verdict: str, damage=None, by="Ann", note="", lock=None, layer=0):
    return file.review(layer, building, Review.of(verdict, damage, by, note), by, lock)


def edit(folder: Path, sql: str, *values: object) -> None:
    """As QGIS does: by another connection, without a history."""
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base, base:
        for name in ("ST_IsEmpty", "ST_MinX", "ST_MaxX", "ST_MinY", "ST_MaxY"):
            base.create_function(name, 1, lambda blob: 0)
        base.execute(sql, values)


def test_each_verdict_is_kept_in_the_columns_that_qgis_shows(file, folder, ids) -> None:
    require_replaceable(folder)
    say(file, ids[0], GRADE, 2, note="roof <b>gone</b>")
    say(file, ids[1], FALSE_BUILDING)
    say(file, ids[2], UNSURE)
    lock = say(file, ids[3], GRADE, 0)[1]["lock"]
    say(file, ids[3], NO_VERDICT, lock=lock)
    say(file, column(folder, "building_id", BESIDE)[1], GRADE, 3, layer=1)
    found = {name: column(folder, name) for name in ("reviewed", "review_damage", "review_by", "review_note")}
    assert found["reviewed"][:4] == [True, True, True, False]
    assert np.array(found["review_damage"][:4]).tolist()[:2] == [2, -1]
    assert np.isnan(found["review_damage"][2:]).all()
    assert found["review_by"][:4] == ["Ann", "Ann", "Ann", None]
    assert found["review_note"][:2] == ["roof <b>gone</b>", None]
    assert column(folder, "review_damage", BESIDE)[1] == 3
    assert column(folder, "action", "review_history") == ["reviewed"] * 6
    with pytest.raises(InputError, match="found 4, whose review would be lost"):
        require_replaceable(folder)


@pytest.mark.parametrize(("verdict", "damage"), [("grade", None), ("grade", 4), ("none", 1), ("gone", None)])
def test_verdicts_without_meaning_are_refused(verdict: str, damage: int | None) -> None:
    with pytest.raises(InputError, match="expected"):
        Review.of(verdict, damage, "Ann", "")


def test_the_second_of_two_who_saw_the_same_is_told_of_the_first(file, folder, ids) -> None:
    with closing(ReviewFile(folder)) as other:
        first = say(file, ids[0], GRADE, 1)[1]
        with pytest.raises(ConflictError, match="was changed since") as caught:
            say(other, ids[0], GRADE, 3, by="Bob")
        assert caught.value.record == first
        say(other, ids[0], GRADE, 3, by="Bob", lock=first["lock"])
    assert column(folder, "review_by")[0] == "Bob"
    assert len(column(folder, "action", "review_history")) == 2


def test_unknown_buildings_are_named(file, ids) -> None:
    for layer, building in ((0, "nothing"), (1, ids[0])):
        with pytest.raises(NotThereError, match="expected the id of a building"):
            say(file, building, UNSURE, layer=layer)


def test_one_of_two_parts_that_share_an_id_is_not_reviewed_for_the_other(file, folder, ids) -> None:
    edit(folder, "UPDATE buildings SET building_id = ? WHERE building_id = ?", ids[0], ids[1])
    with pytest.raises(InputError, match="expected an id of its own for every building, found 2 with"):
        say(file, ids[0], GRADE, 3)
    assert not any(column(folder, "reviewed"))


def test_changes_are_told_once_whoever_made_them(file, folder, ids) -> None:
    assert file.changes(0) == (0, [])
    version, record = say(file, ids[5], GRADE, 2)
    assert file.changes(0) == (version, [record])
    assert file.changes(version) == (version, [])
    edit(folder, "UPDATE buildings SET review_damage = 3 WHERE building_id = ?", ids[7])
    edit(folder, "UPDATE buildings SET review_damage = 'x', review_note = 'y' WHERE building_id = ?", ids[8])
    later, told = file.changes(version)
    assert [(each["id"], each["verdict"], each["damage"]) for each in told] == [
        (ids[7], GRADE, 3),
        (ids[8], NO_VERDICT, None),
    ]
    assert file.changes(later) == (later, [])
    edit(folder, "UPDATE buildings SET reviewed = 0, review_damage = NULL, review_by = NULL")
    last, told = file.changes(later)
    assert {each["verdict"] for each in told} == {NO_VERDICT}
    assert len(told) == 3
    with closing(ReviewFile(folder)) as again:  # another server
        assert [each["id"] for each in again.changes(0)[1]] == [ids[8]]
    with pytest.raises(ConflictError):
        say(file, ids[5], GRADE, 1, lock=record["lock"])  # somebody took it back in QGIS
    assert last > later


def test_the_last_change_of_a_reviewer_is_taken_back_and_then_the_one_before(file, folder, ids) -> None:
    first = say(file, ids[0], GRADE, 1)[1]
    say(file, ids[0], GRADE, 2, lock=first["lock"])
    say(file, ids[1], UNSURE, by="Bob")
    assert file.undo("Ann")[1] == first
    assert file.undo("Ann")[1]["verdict"] == NO_VERDICT
    with pytest.raises(NotThereError, match="'Ann'"):
        file.undo("Ann")
    assert [bool(each) for each in column(folder, "reviewed")[:2]] == [False, True]
    edit(folder, "UPDATE buildings SET review_damage = 3 WHERE building_id = ?", ids[1])
    with pytest.raises(ConflictError) as caught:
        file.undo("Bob")
    assert caught.value.record["damage"] == 3
    assert column(folder, "review_damage")[1] == 3


def test_a_drawn_building_is_found_by_its_place_and_can_be_removed_and_brought_back(
    file, folder, ids
) -> None:
    review = Review.of(GRADE, 3, "Ann", "missed")
    record = file.draw(outline_in_px(1100, 25), review)[1]
    place = CORNER[0] + 550, CORNER[1] - 20, CORNER[0] + 560, CORNER[1] - 10

    def here() -> list[str]:
        return column(folder, "building_id", bbox=place)

    assert here() == [record["id"]]
    assert (record["damage"], record["deleted"]) == (3, False)
    assert sorted(record["rings"][0][::2])[0] == 1100
    _, _, (wkb,), values = pyogrio.raw.read(
        folder / GEOPACKAGE, layer="buildings", bbox=place, columns=["damage", "status", "area_m2"]
    )
    assert shapely.from_wkb(wkb).is_valid
    assert np.isnan(values[0][0])  # never undamaged
    assert [values[1][0], values[2][0]] == ["drawn by a reviewer", pytest.approx(36)]
    assert len(predicted_buildings(read_layer(folder / GEOPACKAGE, "buildings")).layer) == len(ids)
    gone = say(file, record["id"], NO_VERDICT, lock=record["lock"])[1]
    assert (gone["deleted"], here()) == (True, [])
    assert pyogrio.read_info(folder / GEOPACKAGE, layer="buildings")["features"] == len(ids)
    assert file.undo("Ann")[1] == record
    assert here() == [record["id"]]
    assert file.undo("Ann")[1]["deleted"]
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:
        assert base.execute("SELECT rtreecheck('rtree_buildings_geom')").fetchone() == ("ok",)
        assert base.execute("SELECT count(*) FROM rtree_buildings_geom").fetchone() == (len(ids),)
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    ("rings", "message"),
    [
        ([], "one ring"),
        ([[0, 0, 5, 5]], "one ring"),
        ([[0, 0, 9, 9, 9, 0, 0, 9]], "cross"),
        ([[0, 0, 9, 0, float("inf"), 9]], "within the scene"),
        ([[0, 0, 9, 0, 9, 90_000]], "within the scene"),
        ([[-1, 0, 9, 0, 9, 9]], "within the scene"),
        ([[0, 0, 1, 0, 1, 1]], "1 to 500000 m2"),
        ([[1, 1, 1, 1, 5, 5]], "three corners"),
    ],
)
def test_what_is_no_outline_of_a_building_is_refused(file, rings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        file.draw(rings, Review.of(UNSURE, None, "Ann", ""))


@pytest.mark.parametrize(("count", "servers"), [pytest.param(500, 1, marks=pytest.mark.slow), (60, 2)])
def test_reviews_of_two_at_once_are_neither_lost_nor_doubled(
    tmp_path: Path, count: int, servers: int
) -> None:
    ids = write_assessment(tmp_path, count)
    answers: list[str] = []
    winners: list[str] = []
    files = [ReviewFile(tmp_path) for _ in range(servers)]

    def work(file: ReviewFile, by: str, order: list[str]) -> None:
        for building in order:
            try:
                say(file, building, GRADE, len(building) % 4, by=by)
                answers.append(building)
            except ConflictError as error:
                winners.append(error.record["by"] + by)

    pairs = zip((files[0], files[-1]), ("Ann", "Bob"), (ids, ids[::-1]), strict=True)
    threads = [threading.Thread(target=work, args=each) for each in pairs]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    told = files[0].changes(0)[1]
    for each in files:
        each.close()
    assert sorted(answers) == sorted(ids)
    assert len(winners) == count
    assert set(winners) <= {"AnnBob", "BobAnn"}
    assert all(column(tmp_path, "reviewed"))
    assert sorted(column(tmp_path, "building_id", "review_history")) == sorted(ids)
    assert sorted(each["id"] for each in told) == sorted(ids)


def test_beside_qgis_that_reads_reviews_are_saved_and_a_copy_of_the_file_has_them(folder, ids) -> None:
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as qgis, closing(ReviewFile(folder)) as file:
        qgis.execute("PRAGMA journal_mode = WAL")
        qgis.execute("BEGIN")
        assert qgis.execute("SELECT count(*) FROM buildings WHERE reviewed").fetchone() == (0,)
        say(file, ids[0], GRADE, 3)
        qgis.rollback()
        say(file, ids[1], GRADE, 3)
        (folder / "copy").mkdir()
        shutil.copy(folder / GEOPACKAGE, folder / "copy")
    assert column(folder / "copy", "reviewed")[:2] == [True, True]


def test_a_building_whose_outline_was_deleted_can_be_reviewed_and_checked(file, folder, ids) -> None:
    edit(folder, "UPDATE buildings SET geom = NULL WHERE building_id = ?", ids[0])
    draw_sample(file, len(ids), 0)
    chunks = {each["id"]: each["chunk"] for each in sample_to_check(file)["buildings"]}
    assert (chunks[ids[0]], chunks[ids[1]]) == ("", "0_0")
    assert say(file, ids[0], UNSURE)[1]["verdict"] == UNSURE


def test_an_assessment_without_buildings_can_be_opened_and_drawn_in(tmp_path: Path) -> None:
    write_assessment(tmp_path, 0)
    with closing(ReviewFile(tmp_path)) as file:
        assert file.changes(0) == (0, [])
        assert file.draw(outline_in_px(5, 5), Review.of(UNSURE, None, "Ann", ""))[0] == 1


def test_a_folder_that_is_no_assessment_is_refused(tmp_path: Path, folder) -> None:
    with pytest.raises(InputError, match="run.json: cannot be read"):
        ReviewFile(tmp_path / "none")
    (folder / GEOPACKAGE).write_bytes(b"something else")
    with pytest.raises(InputError, match="expected a GeoPackage"):
        ReviewFile(folder)


def test_the_style_gives_each_verdict_a_look_of_its_own(file, folder, ids) -> None:
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:
        write_styles(folder / GEOPACKAGE, {"buildings": damage_style()})
        ((qml,),) = base.execute("SELECT styleQML FROM layer_styles WHERE f_table_name = 'buildings'")
    renderer = ET.fromstring(qml[qml.index("<qgis") :])[0]
    looks = {each.get("value"): each for each in renderer.iter("category")}
    for building, (verdict, damage) in zip(
        ids, [(GRADE, 0), (GRADE, 3), (FALSE_BUILDING, None), (UNSURE, None)], strict=False
    ):
        say(file, building, verdict, damage)
    say(file, ids[9], UNSURE)  # the model has no grade either
    drawn = file.draw(outline_in_px(1100, 25), Review.of(UNSURE, None, "Ann", ""))[1]["id"]
    edit(folder, "UPDATE buildings SET review_damage = 7 WHERE building_id = ?", ids[5])
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:  # which evaluates the words as QGIS does
        found = dict(base.execute(f"SELECT building_id, {renderer.get('attr')} FROM buildings"))
        model = dict(base.execute("SELECT building_id, damage FROM buildings"))
    label = {
        building: looks[str(value)].get("label") for building, value in found.items()
    }  # none is left out
    assert [label[each] for each in ids[:4]] == ["no-damage", "destroyed", "not a building", "can't tell"]
    assert label[ids[9]] == label[drawn] == "can't tell"
    assert label[ids[19]] == "not assessed"
    untouched = set(ids[4:]) - {ids[9], ids[19]}
    assert all(found[each] == (NOT_ASSESSED if model[each] is None else model[each]) for each in untouched)
    symbols = {each.get("name"): ET.tostring(each[0]) for each in renderer.iter("symbol")}
    assert len({symbols[each.get("symbol")] for each in looks.values()}) == len(looks) == 7
