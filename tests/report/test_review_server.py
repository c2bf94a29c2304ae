"""The page and the calls of ``skyeye review``."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from assessed import outline_in_px, write_assessment
from served import Server, column, review, served

from skyeye_det.errors import InputError
from skyeye_det.report.review.server import serve_reviews


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served") / "out"
    write_assessment(root, 40, page=True)
    page = root / "report"
    (page / "tiles").mkdir()
    (page / "tiles" / "0.jpg").write_bytes(b"\xff\xd8")
    return root


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def ids(folder: Path) -> list[str]:
    return column(folder, "building_id")


def test_the_address_opens_the_page_and_its_cookie_the_files(server: Server) -> None:
    status, page, headers = server.ask("GET", f"/?token={server.token}", token=None)
    assert status == 200
    assert b"<script>window.skyeyeServer = true</script>" in page
    assert headers["content-security-policy"] == "frame-ancestors 'none'"
    assert b"script-src 'self' file: 'sha256-" in page
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    shown = cookie.partition(";")[0]
    for path, kind in (("/meta.js", "text/javascript"), ("/tiles/0.jpg", "image/jpeg"), ("/", "text/html")):
        status, _, headers = server.ask("GET", path, token=None, Cookie=shown)
        assert (status, headers["content-type"].split(";")[0]) == (200, kind)
        assert server.ask("GET", path, token=None)[0] == 403
    # Other pages of the browser send the cookie too, should it not keep to SameSite: calls want the header.
    status, told, _ = server.ask("GET", "/api/reviews?since=0", token=None, Cookie=shown)
    assert (status, json.loads(told)["code"]) == (403, "no_address")


@pytest.mark.parametrize(
    "program",
    ["alert(1)", "skyeye.meta({});alert(1);//{}", "skyeye.meta(alert(1));", "skyeye.meta({}, `${1}`);"],
)
def test_a_program_in_a_stranger_s_folder_is_not_served(server: Server, folder: Path, program: str) -> None:
    cookie = server.ask("GET", f"/?token={server.token}", token=None)[2]["set-cookie"].partition(";")[0]
    for text, status in ((program, 404), ('skyeye.ids("zz",{"a);alert(1":"1_1"});\n', 200)):
        (folder / "report" / "ids" / "zz.js").write_text(text)
        assert server.ask("GET", "/ids/zz.js", token=None, Cookie=cookie)[0] == status


def test_a_review_is_saved_told_refused_to_a_second_and_taken_back(server: Server, folder, ids) -> None:
    version = server.call("GET", "/api/reviews?since=0")[1]["version"]
    script = "<script>alert(1)</script> & \u202e \U0001f3da"
    status, saved = server.call("POST", "/api/reviews", review(ids[0], note=script))
    assert status == 200
    assert saved["review"]["note"] == script
    assert server.call("GET", f"/api/reviews?since={version}")[1] == {
        "version": saved["version"],
        "reviews": [saved["review"]],
        "adapted": "",
        "is_page_old": False,
    }
    status, told = server.call("POST", "/api/reviews", review(ids[0], "not_a_building", by="Bob"))
    assert (status, told["review"]) == (409, saved["review"])
    assert told["code"] == "conflict"
    assert server.call("POST", "/api/undo", {"by": "Ann"})[1]["review"]["verdict"] == "none"
    for path, body, code, values in (
        ("/api/undo", {"by": "Ann"}, "nothing_to_undo", {"by": "Ann"}),
        ("/api/reviews", review("nothing"), "no_such_building", {"id": "nothing"}),
    ):
        status, told = server.call("POST", path, body)
        assert (status, told["code"], told["values"]) == (404, code, values)
    body = {"rings": outline_in_px(100, 25), "damage": None, "note": "", "by": "Ann"}
    drawn = server.call("POST", "/api/buildings", body)[1]["review"]
    assert drawn["rings"][0][:2] in [[x, y] for x in (100, 112) for y in (25, 37)]
    assert drawn["id"] in column(folder, "building_id")


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/api/reviews", b"{", "the request"),
        ("/api/reviews", b"", "the request"),
        ("/api/reviews", b"\xff\xfe", "the request"),
        ("/api/reviews", b"[" * 60_000, "the request"),
        ("/api/reviews", b"[" * 70_000, "65536 bytes"),
        ("/api/reviews", review("x", other=1), "unknown field `other`"),
        ("/api/reviews", review("x", layer=2), "$.layer"),
        ("/api/reviews", review("x", layer="0"), "$.layer"),
        ("/api/reviews", review("x", damage=4), "$.damage"),
        ("/api/reviews", review("x", damage=True), "$.damage"),
        ("/api/reviews", review("x", "cannot_tell", damage=1), "damage: expected"),
        ("/api/reviews", review("x", "maybe"), "verdict: expected"),
        ("/api/reviews", review("x", by=" "), "by: expected"),
        ("/api/reviews", review("x", by="a" * 81), "$.by"),
        ("/api/reviews", review("x", note="a" * 2001), "$.note"),
        ("/api/reviews", review("x", note="a\0b"), "note: expected"),
        ("/api/reviews", review("x" * 1001), "$.id"),
        ("/api/buildings", {"rings": [[1, 2, "x"]], "by": "Ann"}, "$.rings"),
        ("/api/buildings", {"rings": [[1, 2, 3]], "by": "Ann"}, "one ring"),
        ("/api/undo", {}, "missing required field `by`"),
    ],
)
def test_what_a_call_may_not_say_is_refused_in_a_sentence(server: Server, path, body, message: str) -> None:
    status, content, headers = server.ask("POST", path, body)
    assert (status, headers["content-type"]) == (400, "application/json")
    assert message in json.loads(content)["error"]


def test_a_sample_is_drawn_checked_and_told(tmp_path: Path) -> None:
    write_assessment(tmp_path, 60, page=True)
    with served(tmp_path, "--sample", "25") as server:
        status, sample = server.call("GET", "/api/sample")
        assert (status, sample["size"], len(sample["buildings"])) == (200, 25, 25)
        assert "counts" not in server.call("GET", "/api/estimate")[1]
        for each in sample["buildings"]:
            assert server.call("POST", "/api/reviews", review(each["id"]))[0] == 200
        found = server.call("GET", "/api/estimate")[1]
        assert (found["answered"], found["needed"]) == (25, 25)
        assert found["counts"][2]["estimated"] == pytest.approx(54)
        assert found["counts"][2]["low"] < 54


@pytest.mark.parametrize("since", ["x", "-1", "1" * 40, "%C2%B2"])
def test_a_wrong_version_is_refused(server: Server, since: str) -> None:
    assert server.ask("GET", f"/api/reviews?since={since}")[0] == 400


def test_a_taken_port_and_a_missing_page_are_told_in_a_sentence(tmp_path: Path, server: Server) -> None:
    write_assessment(tmp_path, 3, page=True)
    for port, message in ((server.port, "expected a free port"), (70_000, "expected 0 to 65535")):
        with pytest.raises(InputError, match=message):
            serve_reviews(tmp_path, port)
    (tmp_path / "report" / "index.html").unlink()
    with pytest.raises(InputError, match="expected the page of an assessment"):
        serve_reviews(tmp_path, 0)


def test_it_ends_at_an_interrupt(tmp_path: Path) -> None:
    write_assessment(tmp_path, 3, page=True)
    with served(tmp_path) as server:
        server.running.send_signal(signal.SIGINT)
        assert server.running.wait(20) == 130
        assert server.running.stderr
        assert server.running.stderr.read().splitlines()[-1] == "interrupted"


def test_a_page_that_is_newer_than_its_buildings_and_shows_others_is_written_anew(tmp_path: Path) -> None:
    ids = write_assessment(tmp_path, 3, page=True)
    with closing(sqlite3.connect(tmp_path / "damage.gpkg")) as base, base:
        base.execute("DELETE FROM buildings WHERE building_id = ?", (ids[0],))
    later = time.time() + 60
    os.utime(tmp_path / "report" / "index.html", (later, later))
    with served(tmp_path):
        assert ids[0] not in (tmp_path / "report" / "chunks" / "0_0.js").read_text()


def test_the_page_on_disk_has_what_was_reviewed_when_the_server_ends(tmp_path: Path) -> None:
    ids = write_assessment(tmp_path, 3, page=True)
    with served(tmp_path) as server:
        assert server.call("POST", "/api/reviews", review(ids[0], by="Ada <b>"))[0] == 200
    assert '"by":"Ada' in (tmp_path / "report" / "chunks" / "0_0.js").read_text()
