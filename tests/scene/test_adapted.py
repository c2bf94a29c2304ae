import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
from assessed import CARD, RULE, label, write_answered
from made_assessment import boxes, grid_of, records_of

from skyeye_det.commands import adapt
from skyeye_det.decision.adaptation import PRIOR, Adaptation
from skyeye_det.decision.adaptation_file import read_adaptation
from skyeye_det.errors import InputError
from skyeye_det.files import json_bytes
from skyeye_det.report.page.folder import META, renew_page
from skyeye_det.report.page.script_files import read_call
from skyeye_det.scene import adapted, geopackage_editing
from skyeye_det.scene.adapted import ADAPTATION, adapted_records
from skyeye_det.scene.geopackage_editing import BusyFileError, connect, transaction
from skyeye_det.scene.outputs import GEOPACKAGE, PROBABILITY, RASTER, RUN, SUMMARY
from skyeye_det.scene.own_answers import ANSWERS, read_own_answers
from skyeye_det.scene.records import PROBABILITIES, Records
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.sample import sample_to_check
from skyeye_det.scene.review.state import GRADE, Review

COUNT = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_answered(tmp_path / "scene", COUNT)


def rows(folder: Path, layer: str = "buildings") -> dict[str, np.ndarray]:
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:
        found = base.execute(f"SELECT * FROM {layer} ORDER BY fid")
        names = [each[0] for each in found.description]
        return dict(zip(names, map(np.array, zip(*found.fetchall(), strict=True)), strict=True))


def probabilities(found: dict[str, np.ndarray], raw: str = "") -> np.ndarray:
    return np.stack([found[f"{raw}{name}"].astype(float) for name in PROBABILITIES], axis=1)


def test_all_buildings_are_graded_anew_and_reviews_and_raw_answers_stay(folder, capsys) -> None:
    label(folder, 40)
    before = rows(folder)
    adapt.main([str(folder)])
    told = capsys.readouterr().out
    assert "38 labels, 38 of them of the random sample; adapted" in told
    assert "90 % interval" in told
    after = rows(folder)
    for name in ("reviewed", "review_damage", "review_by", "review_note", "building_id", "geom", "status"):
        assert after[name].tolist() == before[name].tolist()
    seen = before["status"] == "assessed"
    probs = probabilities(after)[seen]
    assert probs.sum(axis=1) == pytest.approx(1)
    assert probs[:, 3].mean() > probabilities(before)[seen, 3].mean() + 0.3
    assert after["damage"][seen].tolist() == (probs * RULE.damage_weights).argmax(axis=1).tolist()
    assert set(after["damage_label"][after["damage"] == 3]) == {"destroyed"}
    assert probabilities(after, "raw_")[seen] == pytest.approx(probabilities(before)[seen], abs=1e-6)
    for name in ("damage", *PROBABILITIES, *(f"raw_{each}" for each in PROBABILITIES)):
        assert set(after[name][~seen]) == {None}
    assert set(after["damage_label"][~seen]) == set(before["damage_label"][~seen])
    assert rows(folder, "summary_grid")["destroyed_expected"].sum() == pytest.approx(probs[:, 3].sum())
    with rasterio.open(folder / RASTER) as raster:
        assert set(np.unique(raster.read(1))) - {0} == {*(1 + after["damage"][seen].astype(int)), 255}
    assert (folder / PROBABILITY).is_file()
    (meta,) = read_call(folder / "report" / META)
    assert meta["by_model"]["expected"][3] == pytest.approx(probs[:, 3].sum())


def test_a_second_time_begins_at_the_models_own_answers(folder, capsys) -> None:
    label(folder, 40)
    adapt.main([str(folder), "--event", "a storm"])
    first = rows(folder)
    adaptation, card = read_adaptation(folder / ADAPTATION)
    assert (card.event, card.labels, card.sampled, card.model_sha256) == ("a storm", 38, 38, ["ab"])
    adapt.main([str(folder)])
    assert probabilities(rows(folder)) == pytest.approx(probabilities(first), nan_ok=True)
    own = read_own_answers(folder / ANSWERS)
    seen = own.damage >= 0
    assert adaptation.apply(own.probs, own.features)[seen] == pytest.approx(probabilities(first)[seen])
    adapt.main([str(folder), "--undo"])
    back = rows(folder)
    assert back["damage"][seen].tolist() == own.damage[seen].tolist()
    assert probabilities(back)[seen] == pytest.approx(own.probs[seen])
    assert not (folder / ADAPTATION).exists()


@pytest.mark.parametrize(("count", "sample"), [(0, False), (8, True), (40, False)])
def test_few_or_picked_labels_change_nothing(folder, capsys, count: int, sample: bool) -> None:
    label(folder, count, sample)
    before = rows(folder)
    adapt.main([str(folder)])
    assert "the model's own grades stand" in capsys.readouterr().out
    after = rows(folder)
    assert after["damage"].tolist() == before["damage"].tolist()
    assert probabilities(after) == pytest.approx(probabilities(before), nan_ok=True, abs=1e-6)


def test_answers_out_of_the_samples_order_count_as_picked(folder, capsys) -> None:
    label(folder, 40)
    with closing(ReviewFile(folder)) as file:
        drawn = sample_to_check(file)
        assert drawn
        first = drawn["buildings"][0]["id"]
        file.review(0, first, Review(), "Ann", Review.of(GRADE, 3, "Ann", "").lock)
    adapt.main([str(folder)])
    assert (
        "37 labels, 0 of them of the random sample; the model's own grades stand" in capsys.readouterr().out
    )


def test_a_change_that_fails_half_way_leaves_the_file_as_it_was(folder, monkeypatch) -> None:
    label(folder, 40)
    before = rows(folder)

    def fail(*_: object) -> None:
        raise InputError("no room")

    monkeypatch.setattr(adapted, "write_adaptation_record", fail)
    with pytest.raises(InputError, match="no room"):
        adapted.adapt_folder(folder)
    after = rows(folder)
    assert list(after) == list(before)
    assert after["damage"].tolist() == before["damage"].tolist()


def test_where_the_grades_cannot_be_saved_at_last_no_file_beside_tells_of_them(folder, monkeypatch) -> None:
    label(folder, 40)
    adapt.main([str(folder)])
    before, file = rows(folder), (folder / ADAPTATION).read_bytes()
    monkeypatch.setattr(geopackage_editing, "_PATIENCE", 0.1)
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as reader:
        reader.execute("BEGIN").execute("SELECT * FROM buildings").fetchone()  # keeps a COMMIT from its end
        with pytest.raises(BusyFileError):
            adapt.main([str(folder), "--undo"])
    assert (folder / ADAPTATION).read_bytes() == file
    assert rows(folder)["damage"].tolist() == before["damage"].tolist()


def test_a_file_beside_that_cannot_be_written_is_told_and_written_the_next_time(folder) -> None:
    label(folder, 40)
    (folder / RASTER).mkdir()
    with pytest.raises(InputError, match=r"damage.tif: .* is adapted, .* run `skyeye adapt` again"):
        adapted.adapt_folder(folder)
    assert rows(folder, "adaptation")["is_in_files"].tolist() == [0]
    (folder / RASTER).rmdir()
    adapted.adapt_folder(folder)
    assert rows(folder, "adaptation")["is_in_files"].tolist() == [1]


def test_files_that_a_killed_run_left_are_written_by_the_grades_that_stand(folder) -> None:
    label(folder, 40)
    with closing(connect(folder / GEOPACKAGE)) as base, transaction(base, folder / GEOPACKAGE):
        adapted.adapt_geopackage(base, folder)
    assert not (folder / RASTER).exists()
    assert not (folder / ADAPTATION).exists()
    adapted.write_adapted_files(folder)
    assert read_adaptation(folder / ADAPTATION)[1].labels == 38
    with rasterio.open(folder / RASTER) as raster:
        assert 4 in np.unique(raster.read(1))
    written = (folder / RASTER).stat().st_mtime_ns
    adapted.write_adapted_files(folder)  # nothing is left to be done
    assert (folder / RASTER).stat().st_mtime_ns == written
    assert (folder / SUMMARY).is_file()


def test_what_was_adapted_and_whether_it_helps_stands_in_the_file_and_on_the_page(folder) -> None:
    label(folder, 40)
    adapt.main([str(folder)])
    (meta,) = read_call(folder / "report" / META)
    told = meta["adapted"]
    assert (told["kind"], told["labels"], told["sampled"]) == ("prior", 38, 38)
    assert 0 < told["low"] <= told["gain"] <= told["high"] <= told["loss"]
    assert rows(folder, "adaptation")["is_in_files"].tolist() == [1]
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base, base:
        base.execute("ALTER TABLE adaptation DROP COLUMN file")  # as of an earlier version
    adapted.write_adapted_files(folder)
    adapt.main([str(folder), "--undo"])
    (meta,) = read_call(folder / "report" / META)
    assert meta["adapted"]["kind"] == "undone"


@pytest.mark.parametrize("forged", ["", "{", '{"adaptation": 1}', 7, b"{}"])
def test_what_is_forged_in_the_geopackage_is_no_file_of_an_adaptation(folder, forged: object) -> None:
    label(folder, 40)
    adapt.main([str(folder)])
    (folder / ADAPTATION).unlink()
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base, base:
        base.execute("UPDATE adaptation SET file = ?, is_in_files = 0", (forged,))
    with pytest.raises(InputError, match=r"adaptation.*found"):
        adapted.write_adapted_files(folder)
    assert not (folder / ADAPTATION).exists()


def test_a_page_says_that_it_was_adapted_by_labels_of_another_place(folder) -> None:
    run = json.loads((folder / RUN).read_text())
    (folder / RUN).write_bytes(json_bytes(run | {"adaptation": CARD}))
    renew_page(folder)
    (meta,) = read_call(folder / "report" / META)
    assert meta["adapted"] == {"time": "", "kind": "elsewhere", "event": "a storm", "labels": 30}


def test_an_empty_scene_stays_empty(tmp_path, capsys) -> None:
    adapt.main([str(write_answered(tmp_path / "scene", 0))])
    assert "0 labels" in capsys.readouterr().out


def test_a_folder_without_an_assessment_is_refused_and_not_made(tmp_path) -> None:
    with pytest.raises(InputError, match="expected the record of an assessment"):
        adapt.main([str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("damaged", ["missing", "text", "short", "nan", "scalar", "locked", "other"])
def test_answers_that_cannot_be_used_are_refused_and_nothing_is_written(folder, damaged: str) -> None:
    path = folder / ANSWERS
    own = dict(np.load(path))
    if damaged == "missing":
        path.unlink()
    elif damaged == "text":
        path.write_bytes(b"no archive")
    else:
        own["probs"] = own["probs"][:5] if damaged == "short" else own["probs"]
        if damaged == "nan":
            own["features"][0] = np.nan
        if damaged == "scalar":
            own["features"] = np.float16(1)
        if damaged == "other":
            own["texts"] = np.frombuffer(own["texts"].tobytes().replace(b'"b0', b'"c0'), np.uint8)
        with path.open("wb") as file:
            np.savez(file, **own)
    if damaged == "locked":  # encrypted, say the archive's entries
        content = path.read_bytes()
        path.write_bytes(re.sub(rb"(?s)(PK\x01\x02.{4})\x00", lambda found: found[1] + b"\1", content))
    before = (folder / GEOPACKAGE).read_bytes()
    with pytest.raises(InputError, match=r"expected the (model's own answers|buildings)"):
        adapt.main([str(folder)])
    if damaged != "other":
        assert (folder / GEOPACKAGE).read_bytes() == before


def test_records_are_adapted_before_they_are_written() -> None:
    grid = grid_of(400, 400)
    found: Records = records_of(boxes(np.array([[0, 0, 9, 9]] * 20), grid))
    words = {"damage_gra": np.full(20, "Not Analysed", object), "unosat_class": np.zeros(20, np.int32)}
    found = replace(found, columns=found.columns | words)
    after = adapted_records(found, Adaptation(PRIOR, 1.0, (9.0, 9.0, 9.0)), RULE)
    seen = found.is_assessed
    assert set(after.columns["damage"][seen]) == {3}
    assert set(after.columns["damage_gra"]) == {"Destroyed", "Not Analysed"}
    assert after.missing["damage"].tolist() == (~seen).tolist()
    assert after.missing["raw_p_minor"].tolist() == (~seen).tolist()
    assert after.columns["raw_p_minor"][seen].tolist() == found.columns["p_minor"][seen].tolist()
