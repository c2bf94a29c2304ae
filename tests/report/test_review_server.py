"""The review's server as a program of its own, asked by plain sockets: no client mends a hostile request."""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyogrio
import pytest
from assessed import outline_in_px, probabilities, write_assessment

from skyeye_det.errors import InputError
from skyeye_det.report.review_server import serve_reviews
from skyeye_det.scene.outputs import GEOPACKAGE

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("SKYEYE_KILLS", "3"))
SECRET = "what no page may show"
REQUESTS = 1000


class Server(NamedTuple):
    running: "subprocess.Popen[str]"
    port: int
    token: str

    def ask(
        self, method: str, path: str, body: Any = None, token: str | None = "", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers; the token goes along unless it is None."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            sent.setdefault("X-SkyEye-Token", token or self.token)
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            link.request(method, path, content, sent)
            answer = link.getresponse()
            return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        finally:
            link.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        status, content, _ = self.ask(method, path, body)
        return status, json.loads(content)


def command(folder: Path, port: int) -> list[str]:
    code = "from skyeye_det.commands.launch import main; main()"
    return [sys.executable, "-c", code, "review", str(folder), "--port", str(port)]


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    running = subprocess.Popen(
        command(folder, 0), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout
        line = running.stdout.readline()
        found = re.fullmatch(r"open http://127\.0\.0\.1:(\d+)/\?token=(\S+) .*\n", line)
        assert found, line + running.communicate()[1]
        yield Server(running, int(found[1]), found[2])
    finally:
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    write_assessment(root / "out", probabilities(40))
    (root / "secret.html").write_text(SECRET)
    (root / "out" / "secret.js").write_text(SECRET)
    page = root / "out" / "report"
    (page / "meta.js").write_text("skyeye.meta({});")
    (page / "tiles").mkdir()
    (page / "tiles" / "0.jpg").write_bytes(b"\xff\xd8")
    (page / "link.html").symlink_to(root / "secret.html")
    (page / "links").symlink_to(root)
    (page / "notes.txt").write_text(SECRET)
    (page / "folder.js").mkdir()
    return root / "out"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as found:
        yield found


@pytest.fixture(scope="module")
def ids(folder: Path) -> list[str]:
    return column(folder, "building_id")


def column(folder: Path, name: str, layer: str = "buildings") -> list:
    return pyogrio.raw.read(folder / GEOPACKAGE, layer=layer, columns=[name])[3][0].tolist()


def review(building: str, verdict: str = "grade", **other: Any) -> dict[str, Any]:
    damage = {"damage": 2} if verdict == "grade" else {}
    return (
        {"id": building, "layer": 0, "verdict": verdict, "by": "Ann", "note": "", "lock": None}
        | damage
        | other
    )


def test_the_address_opens_the_page_and_its_cookie_the_files(server: Server) -> None:
    status, page, headers = server.ask("GET", f"/?token={server.token}", token=None)
    assert status == 200
    assert b"<script>window.skyeyeServer = true</script><script>skyeye = {}</script>" in page
    assert headers["content-security-policy"].count("'sha256-") == 2
    assert "unsafe-inline" not in headers["content-security-policy"].split("style-src")[0]
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
    assert server.ask("GET", "/api/reviews?since=0", token=None, Cookie=shown)[0] == 403


def test_a_review_is_saved_told_refused_to_a_second_and_taken_back(server: Server, folder, ids) -> None:
    version = server.call("GET", "/api/reviews?since=0")[1]["version"]
    script = "<script>alert(1)</script> & \u202e \U0001f3da"
    status, saved = server.call("POST", "/api/reviews", review(ids[0], note=script))
    assert status == 200
    assert saved["review"]["note"] == script
    assert server.call("GET", f"/api/reviews?since={version}")[1] == {
        "version": saved["version"],
        "reviews": [saved["review"]],
    }
    status, told = server.call("POST", "/api/reviews", review(ids[0], "not_a_building", by="Bob"))
    assert (status, told["review"]) == (409, saved["review"])
    assert "Ann" in told["error"]
    assert server.call("POST", "/api/undo", {"by": "Ann"})[1]["review"]["verdict"] == "none"
    assert server.call("POST", "/api/undo", {"by": "Ann"})[0] == 404
    assert server.call("POST", "/api/reviews", review("nothing"))[0] == 404
    body = {"rings": outline_in_px(100, 25), "damage": None, "note": "", "by": "Ann"}
    drawn = server.call("POST", "/api/buildings", body)[1]["review"]
    assert drawn["geometry"][0][:2] in [[x, y] for x in (100, 112) for y in (25, 37)]
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


@pytest.mark.parametrize("since", ["x", "-1", "1" * 40, "%C2%B2"])
def test_a_wrong_version_is_refused(server: Server, since: str) -> None:
    assert server.ask("GET", f"/api/reviews?since={since}")[0] == 400


def hostile(generator: random.Random, server: Server, building: str) -> tuple[str, str, bytes | None, dict]:
    """Method, path, body and headers of a request that nothing may come of."""
    ups = generator.choice(
        ["..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "..\\", "%2e%2e%2f", "./..", "links"]
    )
    names = [
        "secret.html",
        "secret.js",
        "out/secret.js",
        "etc/passwd",
        "damage.gpkg",
        "link.html",
        "notes.txt",
    ]
    targets = ["/".join([ups] * generator.randint(1, 8)) + "/" + generator.choice(names)]
    targets += [
        f"/{each}" for each in ("etc/passwd", "link.html", "links/secret.html", "notes.txt", "folder.js")
    ]
    targets += [
        "%00",
        "a" * 5000,
        "%ff%fe",
        "file:///etc/passwd",
        "http://127.0.0.1/etc/passwd",
        "//etc/passwd",
    ]
    path = "/" + generator.choice(targets)
    token = {"X-SkyEye-Token": server.token, "Cookie": f"skyeye_{server.port}={server.token}"}
    host = {"Host": f"127.0.0.1:{server.port}"}
    saved = json.dumps(review(building, by="<img src=x onerror=alert(1)>", note="<script>")).encode()
    kind = generator.randrange(7)
    if kind < 3:
        return "GET", path, None, token | host
    if kind == 3:
        wrong = generator.choice(
            ["evil.example", f"evil.example:{server.port}", "127.0.0.1", "", "[::1]", "]["]
        )
        return "POST", "/api/reviews", saved, token | {"Host": wrong}
    if kind == 4:
        wrong = generator.choice(
            ["", "x", server.token[:-1], server.token + "a", "ä".encode().decode("latin-1")]
        )
        return "POST", "/api/reviews", saved, host | {"X-SkyEye-Token": wrong, "Cookie": token["Cookie"]}
    if kind == 5:
        origin = generator.choice(
            ["http://evil.example", "null", "https://127.0.0.1", f"http://127.0.0.1:{server.port}.evil"]
        )
        return "POST", "/api/reviews", saved, token | host | {"Origin": origin}
    method = generator.choice(["PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW", "OPTIONS"])
    place = generator.choice(["/api/reviews", "/meta.js", "/", "/api/nothing"])
    return method, place, b"x" * generator.choice([0, 100_000]), token | host


def test_a_thousand_hostile_requests_get_no_file_and_save_nothing(server: Server, folder, ids) -> None:
    generator = random.Random(0)
    before = column(folder, "reviewed")
    statuses = set()
    for _ in range(REQUESTS):
        method, path, body, headers = hostile(generator, server, ids[3])
        link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        try:
            link.putrequest(method, path, skip_host=True)
            for name, value in headers.items():
                link.putheader(name, value.encode("latin-1"))
            link.putheader("Content-Length", str(len(body or b"")))
            link.endheaders(body)
            answer = link.getresponse()
            statuses.add(answer.status)
            content = answer.read()
            assert answer.status in (400, 403, 404, 405), (method, path)
            assert SECRET.encode() not in content
            assert b"root:" not in content
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before the body was read
        finally:
            link.close()
    assert {403, 404, 405} <= statuses
    assert column(folder, "reviewed") == before
    assert server.running.poll() is None
    assert server.call("GET", "/api/reviews?since=0")[0] == 200


@pytest.mark.parametrize("number", range(KILLS))
def test_what_a_killed_server_has_acknowledged_is_there(tmp_path: Path, number: int) -> None:
    ids = write_assessment(tmp_path, probabilities(400), unseen=0)
    acknowledged: list[str] = []
    with served(tmp_path) as server:
        timer = threading.Timer(random.Random(number).uniform(0.05, 2), server.running.kill)
        timer.start()
        for building in ids:
            try:
                status, _ = server.call("POST", "/api/reviews", review(building))
            except (OSError, http.client.HTTPException):
                break
            assert status == 200
            acknowledged.append(building)
        timer.cancel()
    with served(tmp_path) as again:
        told = {each["id"] for each in again.call("GET", "/api/reviews?since=0")[1]["reviews"]}
    assert set(acknowledged) <= told
    assert len(told) <= len(acknowledged) + 1  # the last may have been saved and not answered
    if told:  # else there is no history yet
        assert sorted(column(tmp_path, "building_id", "review_history")) == sorted(told)


def test_a_taken_port_and_a_missing_page_are_told_in_a_sentence(tmp_path: Path, server: Server) -> None:
    write_assessment(tmp_path, probabilities(3))
    for port, message in ((server.port, "expected a free port"), (70_000, "expected 0 to 65535")):
        with pytest.raises(InputError, match=message):
            serve_reviews(tmp_path, port)
    (tmp_path / "report" / "index.html").unlink()
    with pytest.raises(InputError, match="expected the page of an assessment"):
        serve_reviews(tmp_path, 0)


def test_it_ends_at_an_interrupt(tmp_path: Path) -> None:
    write_assessment(tmp_path, probabilities(3))
    with served(tmp_path) as server:
        server.running.send_signal(signal.SIGINT)
        assert server.running.wait(20) == 130
        assert server.running.stderr
        assert server.running.stderr.read() == "interrupted\n"
