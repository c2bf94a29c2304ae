"""Reviewers in browsers, the server of `skyeye review` between them, and damage.gpkg behind it."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from assessed import label
from browser_page import Look, address_of
from made_report import write_report

from skyeye_det.report.page.folder import META, renew_page
from skyeye_det.report.page.script_files import read_call

PICTURES = Path(__file__).parents[2] / "output" / "page"
COMMAND = "from skyeye_det.commands.launch import main; main()"


@pytest.fixture(scope="module")
def assessment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_report(tmp_path_factory.mktemp("reviewed"), 12, 6).parent
    label(made, 30)
    return made


@pytest.fixture(scope="module")
def address(chromium: Any, assessment: Path) -> Iterator[str]:
    """Where the server has its page."""
    command = [sys.executable, "-c", COMMAND, "review", str(assessment), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        told = ""
        while not (found := re.search(r"http://127\.0\.0\.1:\S+", told)):
            line = server.stdout.readline() if server.stdout else ""
            assert line, told
            told += line
        yield found[0]
        server.terminate()


def reviewer(look: Callable[..., Look], address: str, name: str) -> Look:
    made = look().open(address)
    made.page.evaluate("skyeye.select([...skyeye.loadedChunks()].find((chunk) => chunk.n), 7)")
    made.page.fill("#reviewer", name)
    made.page.focus("#map")
    return made


def test_two_reviewers_lose_nothing_and_the_geopackage_has_it(
    look: Callable[..., Look], address: str, assessment: Path
) -> None:
    ada, bo = reviewer(look, address, "Ada"), reviewer(look, address, "Bo")
    building = ada.text("#record-id")
    ada.page.keyboard.press("4")
    ada.until("document.getElementById('review-state').textContent.includes('4 · Destroyed by Ada')")
    # What Bo has seen is older than Ada's entry.
    bo.page.evaluate("window.lockOf = skyeye.lockOf; skyeye.lockOf = () => null; 0")
    bo.page.keyboard.press("2")
    bo.until("document.getElementById('alert').textContent.includes('4 · Destroyed')")
    bo.page.evaluate("skyeye.lockOf = window.lockOf; 0")
    bo.page.keyboard.press("2")
    for each in (ada, bo):
        each.until("document.getElementById('review-state').textContent.includes('2 · Minor by Bo')")
    bo.page.reload()
    bo.ready()
    bo.page.evaluate("skyeye.select([...skyeye.loadedChunks()].find((chunk) => chunk.n), 7)")
    bo.until("document.getElementById('review-state').textContent.includes('2 · Minor by Bo')")
    with closing(sqlite3.connect(assessment / "damage.gpkg")) as database:
        asked = "SELECT reviewed, review_damage, review_by FROM buildings WHERE building_id = ?"
        assert database.execute(asked, [building]).fetchall() == [(1, 1, "Bo")]
    bo.complaints.clear()  # the browser's own, of the answer 409


def test_adapted_grades_change_colours_records_and_figures_without_a_reload(
    look: Callable[..., Look], address: str, assessment: Path
) -> None:
    ada, bo = (look().open(address) for _ in range(2))
    for each in (ada, bo):
        each.page.evaluate("window.isSamePage = true; 0")
        each.page.keyboard.press("n")
        each.until("skyeye.selected")
    red = "skyeye.scene.counts[3].labelled"
    own, before = ada.page.evaluate(red), ada.text("#record")
    painted = colours(ada)
    ada.page.click("#tab-check")
    ada.page.click("#adapt")
    for each in (ada, bo):  # the other's page notices by itself
        each.until(f"{red} > {own + 20} && skyeye.isDrawn() && window.isSamePage")
        each.page.click("#tab-figures")
        assert "28 of them of the random sample. On reviews" in each.text("#pane-figures")
        each.page.click("#tab-building")
        assert each.text("#record") != before
        assert "Model's own" in each.text("#columns")
    assert colours(ada) != painted
    ada.page.screenshot(path=str(pictures() / "adapted.png"))
    disk = look().open(address_of(assessment / "report"))
    disk.page.click("#tab-figures")
    assert "Grades are adapted by" in disk.text("#pane-figures")
    ada.page.click("#tab-check")
    ada.page.click("#adapt-undo")
    ada.until(f"{red} === {own} && skyeye.isDrawn() && !document.querySelector('.adapted')")
    assert ada.text("#record") != ""
    assert colours(ada) == painted


def test_pages_say_that_their_data_are_old_until_these_are_written(
    look: Callable[..., Look], address: str, assessment: Path
) -> None:
    ada, bo = (look().open(address) for _ in range(2))
    in_the_way = assessment / "report" / "uncertain.js"
    in_the_way.unlink()
    in_the_way.mkdir()
    ada.page.click("#tab-check")
    ada.page.click("#adapt")
    for each in (ada, bo):
        each.until("document.getElementById('alert').textContent.includes('may show older ones')")
    in_the_way.rmdir()
    for button in ("#adapt", "#adapt-undo"):
        ada.page.click(button)
        for each in (ada, bo):
            each.until(f"skyeye.isAdapted() === {json.dumps(button == '#adapt')}")
            each.until("!document.getElementById('alert').textContent")
    ada.complaints.clear()  # the browser's own, of the answer 400


def test_the_sample_follows_what_others_took_back_while_the_data_were_renewed(
    look: Callable[..., Look], address: str
) -> None:
    ada = look().open(address)
    ada.page.click("#tab-check")
    ada.until("document.getElementById('pane-check').textContent.includes('30 of 30 reviewed')")
    ada.page.evaluate(
        """async () => {
          const { body } = await skyeye.ask("/api/reviews?since=0");
          const { id, layer, lock } = body.reviews.find((each) => each.verdict === "cannot_tell");
          await skyeye.ask("/api/reviews", { id, layer, lock, verdict: "none", by: "Bo" });
          await skyeye.renewData();
        }"""
    )
    ada.until("document.getElementById('pane-check').textContent.includes('29 of 30 reviewed')")


def test_suggested_buildings_are_gone_through_one_after_the_other(
    look: Callable[..., Look], address: str
) -> None:
    ada = reviewer(look, address, "Ada")
    ada.page.click("#tab-check")
    ada.page.click("#suggest")
    ada.until("skyeye.orderName() === 'suggested' && skyeye.selected")
    ids = [ada.text("#record-id")]
    assert "Review next · 1 / 20" in ada.text("#order-place")
    ada.page.focus("#map")
    ada.page.keyboard.press("3")
    ada.until("document.getElementById('order-place').textContent.includes('2 / 20')")
    ids.append(ada.text("#record-id"))
    assert len(set(ids)) == 2
    ada.page.click("#tab-check")
    ada.until("document.getElementById('pane-check').textContent.includes('1 of 20 reviewed')")
    ada.page.screenshot(path=str(pictures() / "suggested.png"))


def test_figures_follow_reviews_at_once_and_are_those_of_the_page_that_is_renewed(
    look: Callable[..., Look], address: str, assessment: Path
) -> None:
    eve = look().open(address)
    eve.page.click("#tab-figures")
    before = eve.text("#counted")
    eve.page.evaluate(
        """async () => {
            const chunk = [...skyeye.loadedChunks()].find((chunk) => chunk.n);
            const said = [["grade", 0], ["grade", 3], ["not_a_building"], ["cannot_tell"], ["grade", 1]];
            for (const [k, [verdict, damage]] of said.entries()) {
                const [id, lock] = [chunk.ids[20 + k], skyeye.lockOf(chunk, 20 + k)];
                const about = { id, lock, layer: 0, verdict, by: "Eve", note: "" };
                await skyeye.save("/api/reviews", damage === undefined ? about : { ...about, damage });
            }
            for (const damage of [2, 3]) {
                const rings = [[5, 5, 25, 5, 25, 30 + damage]];
                await skyeye.save("/api/buildings", { rings, damage, by: "Eve", note: "" });
            }
            await skyeye.save("/api/undo", { by: "Eve" });
        }"""
    )
    eve.until("document.getElementById('counted').innerText.includes('Reviewed by people')")
    assert eve.text("#counted") != before
    renew_page(assessment)
    (written,) = read_call(assessment / "report" / META)
    assert written["reviewed"] >= 7
    shown = eve.page.evaluate("skyeye.scene")
    for name in ("buildings", "assessed", "statuses", "reviewed"):
        assert shown[name] == written[name], name
    for one, other in zip(shown["counts"], written["counts"], strict=True):
        assert one == pytest.approx(other)
    assert f"{written['assessed']} / {written['buildings']}" in eve.page.text_content("#assessed-of")
    assert "do not count here yet" in eve.text("#pane-figures")
    eve.page.evaluate("skyeye.save('/api/undo', { by: 'Eve' })")  # nothing drawn is left for other tests


def pictures() -> Path:
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


def colours(look: Look) -> str:
    """What is painted of the buildings."""
    look.until("skyeye.isDrawn()")
    tiles = "[...document.querySelectorAll('#map .leaflet-marks-pane canvas')]"
    return look.page.evaluate(f"{tiles}.map((tile) => tile.toDataURL()).sort().join()")
