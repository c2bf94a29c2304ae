"""What strangers may try on ``skyeye review``: its reviews outlive a kill, and requests get no further."""

import http.client
import json
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from assessed import write_assessment
from served import Server, column, review, served

KILLS = int(os.environ.get("SKYEYE_KILLS", "3"))
SECRET = "what no page may show"
REQUESTS = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    write_assessment(root / "out", 40, page=True)
    (root / "secret.html").write_text(SECRET)
    (root / "out" / "secret.js").write_text(SECRET)
    page = root / "out" / "report"
    (page / "tiles").mkdir()
    (page / "notes.txt").write_text(SECRET)
    (page / "folder.js").mkdir()
    return root / "out"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with served(folder) as found:  # links that were there before, it refuses
        (folder / "report" / "link.html").symlink_to(folder.parent / "secret.html")
        (folder / "report" / "links").symlink_to(folder.parent)
        yield found
        for name in ("link.html", "links"):
            (folder / "report" / name).unlink()


def hostile(generator: random.Random, server: Server, building: str) -> tuple[str, str, bytes | None, dict]:
    """Method, path, body and headers of a request that nothing may come of."""
    up = generator.choice(
        ["..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "..\\", "%2e%2e%2f", "./..", "tiles/../.."]
    )
    climb = "/".join([up] * generator.randint(1, 3)) + generator.choice(["/secret.html", "/secret.js"])
    named = [
        "link.html",
        "links/secret.html",
        "notes.txt",
        "folder.js",
        "/etc/passwd",
        "file:///etc/passwd",
        "%00",
    ]
    path = "/" + generator.choice(
        [climb, generator.choice([*named, "%2fetc%2fpasswd", "a" * 5000, "%ff%fe"])]
    )
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


def test_a_thousand_hostile_requests_get_no_file_and_save_nothing(server: Server, folder) -> None:
    generator = random.Random(0)
    before, building = column(folder, "reviewed"), column(folder, "building_id")[3]
    statuses = set()
    for _ in range(REQUESTS):
        method, path, body, headers = hostile(generator, server, building)
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
    ids = write_assessment(tmp_path, 400, page=True)
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
