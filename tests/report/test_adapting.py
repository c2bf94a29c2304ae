"""What ``skyeye review`` does with the labels while people go on reviewing."""

import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from assessed import label, write_answered
from served import Server, column, review, served

from skyeye_det.report.page.folder import renew_page
from skyeye_det.report.page.regraded import regrade_page
from skyeye_det.report.page.script_files import read_call
from skyeye_det.scene.adaptation_record import shown_record
from skyeye_det.scene.adapted import adapt_geopackage
from skyeye_det.scene.answered_rows import area_outlines
from skyeye_det.scene.outputs import AREAS, GEOPACKAGE, RASTER
from skyeye_det.scene.own_answers import ANSWERS
from skyeye_det.scene.review.counted import buildings_of
from skyeye_det.scene.review.file import ReviewFile
from skyeye_det.scene.review.sample import drawn


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = write_answered(tmp_path / "scene", 300)
    label(made, 40)
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as found:
        yield found


def page_data(folder: Path) -> dict[str, Any]:
    return {str(path): read_call(path) for path in (folder / "report").glob("**/*.js")}


@pytest.mark.parametrize("count", [0, 300])
def test_a_page_regraded_in_place_is_that_which_is_written_anew(tmp_path: Path, count: int) -> None:
    folder = write_answered(tmp_path / "scene", count)
    if count:
        label(folder, 40)
        renew_page(folder)
    with closing(ReviewFile(folder)) as file:
        for undo in (False, True):
            with file.changing() as base:
                found = adapt_geopackage(base, folder, undo=undo)
                buildings, areas = buildings_of(base), area_outlines(base, AREAS)
            told = shown_record(found.record)
            regrade_page(folder / "report", found.records, buildings, areas, file.grid, told)
            regraded = page_data(folder)
            renew_page(folder)
            assert regraded == page_data(folder)


def test_adapting_grades_page_and_geopackage_anew_then_the_raster_and_undo_takes_it_back(
    server: Server, folder: Path
) -> None:
    own = column(folder, "damage")
    assert server.call("GET", "/api/reviews?since=0")[1]["adapted"] == ""
    status, told = server.call("POST", "/api/adapt", {"undo": False})
    assert (status, told["kind"], told["labels"], told["sampled"]) == (200, "prior", 38, 38)
    assert 0 < told["low"] <= told["gain"]
    assert server.call("GET", "/api/reviews?since=0")[1]["adapted"] == told["time"]
    (meta,) = read_call(folder / "report" / "meta.js")
    assert meta["adapted"] == told
    assert meta["counts"][3]["labelled"] > 200
    assert column(folder, "damage").count(3) > own.count(3)
    server.call("POST", "/api/adapt", {"undo": True})
    assert np.array_equal(column(folder, "damage"), own, equal_nan=True)
    assert read_call(folder / "report" / "meta.js")[0]["by_model"]["labelled"][3] == own.count(3)
    server.call("POST", "/api/adapt", {"undo": False})
    server.running.send_signal(signal.SIGINT)
    server.running.wait(20)  # it ends when all is written
    with rasterio.open(folder / RASTER) as raster:
        values = raster.read(1)
    assert (values == 4).sum() == 400 // 4 * column(folder, "damage").count(3)


def test_a_page_that_cannot_be_written_is_told_to_all_and_mended_by_the_next_time(
    server: Server, folder: Path
) -> None:
    def told() -> tuple[bool, str]:
        answer = server.call("GET", "/api/reviews?since=0")[1]
        return answer["is_page_old"], answer["adapted"]

    own = column(folder, "damage")
    in_the_way = folder / "report" / "uncertain.js"
    in_the_way.unlink()
    in_the_way.mkdir()
    status, answer = server.call("POST", "/api/adapt", {"undo": False})
    assert (status, answer["code"]) == (400, "page_is_old")
    assert column(folder, "damage").count(3) > own.count(3)
    assert told() == (True, "")
    in_the_way.rmdir()
    status, answer = server.call("POST", "/api/adapt", {"undo": False})
    assert status == 200
    assert told() == (False, answer["time"])
    regraded = page_data(folder)
    renew_page(folder)
    assert regraded == page_data(folder)


def test_reviews_while_grades_are_adapted_are_all_kept(server: Server, folder: Path) -> None:
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:
        sql = "SELECT building_id FROM buildings WHERE reviewed = 0 AND status = 'assessed'"
        ids = [each for (each,) in base.execute(sql)][:60]
    saved: list[int] = []

    def go_through(mine: list[str]) -> None:
        saved.extend(server.call("POST", "/api/reviews", review(each))[0] for each in mine)

    reviewers = [threading.Thread(target=go_through, args=(ids[k::2],)) for k in range(2)]
    for each in reviewers:
        each.start()
    adapted = [server.call("POST", "/api/adapt", {"undo": undo})[0] for undo in (False, True, False)]
    for each in reviewers:
        each.join()
    assert adapted == [200] * 3
    assert saved == [200] * 60
    with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:
        sql = "SELECT building_id FROM buildings WHERE review_damage = 2 AND review_by = 'Ann'"
        assert {each for (each,) in base.execute(sql)} >= set(ids)


@pytest.mark.parametrize("seconds", [0.02, 0.2])
def test_a_server_that_is_killed_meanwhile_leaves_a_folder_to_go_on_with(
    folder: Path, seconds: float
) -> None:
    with served(folder) as server:
        asked = threading.Thread(target=_ask_in_vain, args=(server,))
        asked.start()
        time.sleep(seconds)
        os.kill(server.running.pid, signal.SIGKILL)
        asked.join()
    with served(folder) as server:
        time_of_page = (read_call(folder / "report" / "meta.js")[0]["adapted"] or {"time": ""})["time"]
        assert server.call("GET", "/api/reviews?since=0")[1]["adapted"] == time_of_page
        assert (folder / RASTER).is_file() == bool(time_of_page)
        assert server.call("POST", "/api/adapt", {"undo": False})[0] == 200
    assert column(folder, "reviewed").count(1) == 40


def _ask_in_vain(server: Server) -> None:
    with suppress(OSError, ValueError):
        server.call("POST", "/api/adapt", {"undo": False})


def test_suggested_buildings_are_assessed_open_and_not_of_the_sample(folder: Path) -> None:
    with served(folder, "--suggest", "20") as server:
        told = server.call("GET", "/api/suggested")[1]
        ids = [each["id"] for each in told["buildings"]]
        assert told["size"] == len(set(ids)) == 20
        assert {each["chunk"] for each in told["buildings"]} == {"0_0"}
        with closing(sqlite3.connect(folder / GEOPACKAGE)) as base:
            sql = "SELECT fid, status, reviewed FROM buildings WHERE building_id = ?"
            rows = [base.execute(sql, (each,)).fetchone() for each in ids]
            sample = drawn(base)
        assert {row[1:] for row in rows} == {("assessed", 0)}
        assert not {row[0] for row in rows} & sample
        estimate = server.call("GET", "/api/estimate")
        server.call("POST", "/api/reviews", review(ids[3]))
        assert [
            k
            for k, each in enumerate(server.call("GET", "/api/suggested")[1]["buildings"])
            if each["answered"]
        ] == [3]
        assert server.call("GET", "/api/estimate") == estimate
        told = server.call("POST", "/api/adapt", {"undo": False})[1]
        assert (told["labels"], told["sampled"]) == (39, 38)
        assert server.call("POST", "/api/suggested", {"count": 1000})[1] == {"size": 270 - 40 - 1}


def test_where_nothing_is_assessed_or_left_nothing_is_suggested(tmp_path: Path) -> None:
    with served(write_answered(tmp_path / "scene", 0)) as server:
        assert server.call("POST", "/api/suggested", {"count": 20}) == (200, {"size": 0})
        assert server.call("GET", "/api/suggested") == (200, None)
        assert server.call("POST", "/api/adapt", {"undo": False})[1]["kind"] == "none"


def test_a_wrong_call_or_one_without_the_models_own_answers_changes_nothing(
    folder: Path,
) -> None:
    (folder / ANSWERS).unlink()
    before = column(folder, "damage")
    with served(folder) as server:
        for path, body in (("/api/suggested", {"count": 20}), ("/api/adapt", {"undo": False})):
            status, told = server.call("POST", path, body)
            assert status == 400
            assert "expected the model's own answers" in told["error"]
        wrong = {"/api/adapt": ({}, {"undo": 1}), "/api/suggested": ({}, {"count": 0}, {"count": 10**9})}
        for path, bodies in wrong.items():
            assert {server.call("POST", path, body)[0] for body in bodies} == {400}
    assert np.array_equal(column(folder, "damage"), before, equal_nan=True)
