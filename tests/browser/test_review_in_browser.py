"""The reviewer's controls, against answers as the review server gives them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser_page import Look
from made_report import write_report

from skyeye_det.report.page.document import SERVER_SCRIPT

ADDRESS = "http://127.0.0.1:9/"
TOKEN = "a-token"


class Answers:
    """What the server keeps and answers. No socket is open: requests are met before they leave."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        self.reviews: dict[str, dict[str, Any]] = {}
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self.sample: dict[str, Any] | None = None

    def __call__(self, route: Any) -> None:
        path = urlsplit(route.request.url).path
        if not path.startswith("/api/"):
            route.fulfill(path=self.folder / (path.strip("/") or "index.html"))
            return
        assert route.request.headers["x-skyeye-token"] == TOKEN
        if route.request.method == "POST":
            self.bodies.append((path, json.loads(route.request.post_data)))
            status, answer = self.change(*self.bodies[-1])
        else:
            status, answer = 200, self.state(path)
        route.fulfill(status=status, json=answer)

    def state(self, path: str) -> Any:
        if path == "/api/sample":
            return self.sample
        if path == "/api/suggested":
            return None
        if path == "/api/estimate":
            return {"answered": 0, "needed": 30}
        return {"version": self.version, "reviews": list(self.reviews.values())}

    def change(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path == "/api/undo" and not self.reviews:
            return 404, {"error": "none", "code": "nothing_to_undo", "values": {"by": body["by"]}}
        if path == "/api/undo":
            kept = self.put(next(iter(self.reviews.values())) | {"verdict": "none", "damage": None})
        elif path == "/api/buildings":
            drawn = {"id": "drawn-1", "layer": 0, "verdict": "grade"}
            kept = self.put({**drawn, **{key: body[key] for key in ("rings", "damage", "by", "note")}})
        else:
            old = self.reviews.get(body["id"])
            if (old["lock"] if old else None) != body["lock"]:
                return 409, {"error": "somebody was faster", "code": "conflict", "review": old}
            kept = self.put({"damage": None, "rings": None} | body)
        return 200, {"version": self.version, "review": kept}

    def put(self, review: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        self.reviews[review["id"]] = {**review, "lock": f"lock{self.version}", "deleted": False}
        return self.reviews[review["id"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_report(tmp_path_factory.mktemp("served"), 9, 6)
    page = made / "index.html"
    script = f"<script>{SERVER_SCRIPT}</script>"
    page.write_text(page.read_text("utf-8").replace("<!--server-->", script), "utf-8")
    return made


@pytest.fixture
def answers(folder: Path) -> Answers:
    return Answers(folder)


@pytest.fixture
def reviewer(window: Look, answers: Answers) -> Iterator[Look]:
    """A page that is served, its reviewer's name written, and the first building selected."""
    window.complaints.clear()
    window.page.route(f"{ADDRESS}**", answers)
    window.open(f"{ADDRESS}?token={TOKEN}")
    select(window, 0)
    window.page.fill("#reviewer", "Ada")
    window.page.focus("#map")
    yield window
    window.page.goto("about:blank")
    window.page.unroute_all(behavior="wait")
    assert window.complaints == []


def select(page: Look, index: int) -> str:
    page.page.evaluate(f"skyeye.select([...skyeye.loadedChunks()].find((chunk) => chunk.n), {index})")
    return page.text("#record-id")


def test_a_key_saves_a_grade_and_a_reload_shows_it(reviewer: Look, answers: Answers) -> None:
    building = reviewer.text("#record-id")
    reviewer.page.keyboard.press("4")
    reviewer.until("document.getElementById('verdict-3').getAttribute('aria-pressed') === 'true'")
    expected = {
        "id": building,
        "layer": 0,
        "verdict": "grade",
        "damage": 3,
        "note": "",
        "by": "Ada",
        "lock": None,
    }
    assert answers.bodies == [("/api/reviews", expected)]
    reviewer.page.reload()
    reviewer.ready()
    select(reviewer, 0)
    reviewer.until("document.getElementById('review-state').textContent.includes('Ada')")
    assert "4 · Destroyed" in reviewer.text("#review-state")


@pytest.mark.parametrize(("key", "verdict"), [("0", "not_a_building"), ("?", "cannot_tell")])
def test_what_is_no_grade_has_keys_too(reviewer: Look, answers: Answers, key: str, verdict: str) -> None:
    reviewer.page.keyboard.press(key)
    reviewer.until(f"document.getElementById('verdict-{verdict}').getAttribute('aria-pressed') === 'true'")
    assert answers.bodies[0][1]["verdict"] == verdict


def test_keys_write_text_where_one_writes(reviewer: Look, answers: Answers) -> None:
    reviewer.page.click("#note")
    reviewer.page.keyboard.type("roof 4 gone?")
    assert answers.bodies == []
    reviewer.page.click("#verdict-2")
    reviewer.until("document.getElementById('columns').textContent.includes('roof 4 gone?')")
    assert answers.bodies[0][1]["note"] == "roof 4 gone?"


def test_a_conflict_shows_the_others_entry_and_the_next_try_replaces_it(
    reviewer: Look, answers: Answers
) -> None:
    building = reviewer.text("#record-id")
    theirs = {
        "id": building,
        "layer": 0,
        "verdict": "grade",
        "damage": 1,
        "by": "<i>Bo</i>",
        "note": "cracks",
    }
    answers.put(theirs | {"rings": None})
    reviewer.page.keyboard.press("4")
    reviewer.until("document.getElementById('alert').textContent")
    for part in ("Somebody changed this building", "<i>Bo</i>", "2 · Minor", "cracks"):
        assert part in reviewer.text("#alert")
    assert answers.reviews[building]["by"] == "<i>Bo</i>"
    reviewer.page.keyboard.press("4")
    reviewer.until("document.getElementById('review-state').textContent.includes('Ada')")
    assert answers.bodies[-1][1]["lock"] == "lock1"
    reviewer.complaints.clear()  # the browser's own, of the answer 409


def test_anothers_entry_arrives_by_itself(reviewer: Look, answers: Answers) -> None:
    building = reviewer.text("#record-id")
    entry = {"id": building, "layer": 0, "verdict": "not_a_building", "damage": None, "by": "Bo", "note": ""}
    answers.put(entry | {"rings": None})
    reviewer.until("document.getElementById('review-state').textContent.includes('Not a building by Bo')")


def test_undo_takes_the_entry_back(reviewer: Look, answers: Answers) -> None:
    reviewer.page.keyboard.press("3")
    reviewer.until("document.getElementById('review-state').textContent.includes('Ada')")
    reviewer.page.keyboard.press("u")
    reviewer.until("document.getElementById('review-state').textContent === 'Not reviewed yet'")
    assert answers.bodies[-1] == ("/api/undo", {"by": "Ada"})


def test_what_is_refused_is_said_in_the_reader_s_language(reviewer: Look) -> None:
    reviewer.page.select_option("#language", "de")
    reviewer.page.focus("#map")
    reviewer.page.keyboard.press("u")
    reviewer.until("document.getElementById('alert').textContent.includes('keine Änderung von Ada')")
    reviewer.page.select_option("#language", "en")
    reviewer.complaints.clear()  # the browser's own, of the answer 404


def test_a_missed_building_is_drawn_and_stays(reviewer: Look, answers: Answers) -> None:
    before = reviewer.painted()
    reviewer.page.keyboard.press("d")
    stage = reviewer.page.locator("#map").bounding_box()
    for x, y in ((300, 200), (380, 200), (380, 270)):
        reviewer.page.mouse.click(stage["x"] + x, stage["y"] + y)
    reviewer.page.keyboard.press("Enter")
    reviewer.page.keyboard.press("4")
    reviewer.until("skyeye.selected?.chunk.key === 'drawn'")
    (ring,) = answers.bodies[0][1]["rings"]
    assert len(ring) == 6
    assert reviewer.painted() > before
    assert "drawn by a reviewer" in reviewer.text("#columns")


def test_the_sample_leads_from_one_to_the_next(reviewer: Look, answers: Answers) -> None:
    ids = reviewer.page.evaluate("[...skyeye.loadedChunks()].find((chunk) => chunk.n).ids")[3:6]
    answers.sample = {
        "size": 3,
        "buildings": [{"id": each, "chunk": "0_0", "layer": 0, "answered": False} for each in ids],
    }
    reviewer.page.evaluate("skyeye.refreshCheck()")
    reviewer.page.click("#tab-check")
    reviewer.page.click("#sample-next")
    for place, building in enumerate(ids):
        reviewer.until(f"document.getElementById('record-id')?.textContent === {json.dumps(building)}")
        assert f"{place + 1} / 3" in reviewer.text("#order-place")
        reviewer.page.keyboard.press("2")
    reviewer.until("document.getElementById('message').textContent.includes('last')")
    assert [body["id"] for _, body in answers.bodies] == ids


def test_without_a_name_nothing_is_saved(look: Callable[..., Look], answers: Answers) -> None:
    nameless = look()
    nameless.page.route(f"{ADDRESS}**", answers)
    nameless.open(f"{ADDRESS}?token={TOKEN}")
    select(nameless, 0)
    nameless.page.keyboard.press("4")
    assert "name" in nameless.text("#alert")
    assert nameless.page.evaluate("document.activeElement.id") == "reviewer"
    assert answers.bodies == []
