"""What people see and do on the page as it opens from disk."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from browser_page import Look, address_of
from made_report import EAST, HOSTILE, write_report

from skyeye_det.report.page import document

PANES = ("layers", "building", "figures", "check")
PICTURES = Path(__file__).parents[2] / "output" / "page"


def test_the_page_opens_from_disk_and_asks_for_nothing_else(opened: Look, report: Path) -> None:
    assert opened.painted() > 10_000
    assert opened.text("#shown") == "200 of 200 buildings in view shown"
    outside = [each for each in opened.requests if not each.startswith((report.as_uri(), "data:"))]
    assert outside == []
    assert any("/tiles/pre/" in each for each in opened.requests)
    assert any("/tiles/post/" in each for each in opened.requests)


def test_what_a_file_says_is_text_and_never_markup(opened: Look) -> None:
    opened.page.click("#tab-figures")
    assert HOSTILE in opened.text("#pane-figures")
    assert opened.page.evaluate("window.hurt") is None
    assert opened.page.locator("#pane-figures img").count() == 0


@pytest.mark.parametrize("how", ["keys", "pointer"])
def test_the_edge_between_the_images_moves(opened: Look, how: str) -> None:
    opened.page.focus("#swipe")
    before = opened.page.evaluate("skyeye.map.getPane('post').style.clipPath")
    if how == "keys":
        for _ in range(10):
            opened.page.keyboard.press("ArrowRight")
    else:
        handle = opened.page.locator("#swipe span").bounding_box()
        opened.page.mouse.move(handle["x"] + 10, handle["y"] + 10)
        opened.page.mouse.down()
        opened.page.mouse.move(handle["x"] + 180, handle["y"] + 10, steps=3)
        opened.page.mouse.up()
    assert int(opened.page.get_attribute("#swipe", "aria-valuenow")) >= 65
    assert opened.page.evaluate("skyeye.map.getPane('post').style.clipPath") != before


def test_side_by_side_maps_look_at_the_same_place(opened: Look) -> None:
    opened.page.click("#view-side")
    opened.until("document.querySelector('#map-before .image-tile.leaflet-tile-loaded')")
    opened.page.click("#zoom-in")
    opened.until("skyeye.map.getZoom() % 1 === 0 && skyeye.isDrawn()")
    middles = (
        "[skyeye.map, skyeye.secondMap()].map((map) => map.getCenter()).map(({ lat, lng }) => [lat, lng])"
    )
    first, second = opened.page.evaluate(middles)
    assert first == pytest.approx(second, abs=2)


def test_a_filter_hides_buildings(opened: Look) -> None:
    whole = opened.painted()
    opened.page.uncheck("#grade-3")
    assert 0 < opened.painted() < whole
    for grade in (-1, 0, 1, 2):
        opened.page.uncheck(f"#grade-{grade}")
    assert opened.painted() == 0
    assert opened.text("#shown") == "0 of 200 buildings in view shown"
    opened.page.click("#filter-reset")
    assert opened.painted() == whole


def test_filters_of_probability_status_and_review_say_how_many_they_leave(opened: Look) -> None:
    unseen = opened.page.evaluate("skyeye.scene.buildings - skyeye.scene.assessed")
    opened.page.select_option("#choose-status", "1")
    assert opened.text("#shown").startswith(f"{unseen} of 200")
    opened.page.click("#filter-reset")
    opened.page.select_option("#choose-reviewed", "yes")
    assert opened.text("#shown").startswith("1 of 200")
    opened.page.click("#filter-reset")
    opened.page.fill("#p-least", "900")
    sure = opened.page.evaluate(
        """() => [...skyeye.loadedChunks()].flatMap((chunk) => Array.from(chunk.damage,
            (damage, k) => damage >= 0 && chunk.p[k * 4 + damage] >= 900)).filter(Boolean).length"""
    )
    assert opened.text("#shown").startswith(f"{sure} of 200")


def test_a_click_on_the_map_shows_the_record_with_its_crops(opened: Look) -> None:
    x, y = opened.page.evaluate("""() => {
        const chunk = [...skyeye.loadedChunks()][0];
        const [x0, y0, x1, y1] = skyeye.boxOfBuilding(chunk, 0);
        const at = skyeye.map.latLngToContainerPoint(skyeye.place((x0 + x1) / 2, (y0 + y1) / 2));
        const stage = document.getElementById('map').getBoundingClientRect();
        return [at.x + stage.left, at.y + stage.top];
    }""")
    opened.page.mouse.click(x, y)
    assert opened.text("#record-id") == opened.page.evaluate("[...skyeye.loadedChunks()][0].ids[0]")
    assert opened.page.locator("#record canvas").count() == 2
    assert opened.page.locator("#columns dt").count() == 7
    assert opened.page.is_disabled("#verdict-3")
    assert "skyeye review DIR" in opened.text("#review-off")


def test_next_goes_to_the_most_uncertain_first(opened: Look) -> None:
    opened.page.click("#tab-building")
    least = []
    for _ in range(3):
        before = opened.text("#record")
        opened.page.keyboard.press("n")
        opened.until(f"document.getElementById('record').innerText !== {json.dumps(before)}")
        least.append(
            opened.page.evaluate(
                "Math.max(...skyeye.probabilities(skyeye.selected.chunk, skyeye.selected.index))"
            )
        )
    assert least == sorted(least)
    assert "3 / " in opened.text("#order-place")


def test_a_search_finds_a_building_or_says_that_there_is_none(opened: Look) -> None:
    wanted = opened.page.evaluate("[...skyeye.loadedChunks()].at(-1).ids.at(-1)")
    opened.page.fill("#search-id", wanted)
    opened.page.press("#search-id", "Enter")
    opened.until("skyeye.selected")
    assert opened.text("#record-id") == wanted
    assert opened.page.evaluate("skyeye.level()") > 1
    opened.page.fill("#search-id", "<b>none</b>")
    opened.page.press("#search-id", "Enter")
    opened.until("document.getElementById('alert').textContent")
    assert "<b>none</b>" in opened.text("#alert")
    opened.complaints.clear()  # of the browser, on a file of ids that no building has


def test_a_click_on_an_area_flies_there_and_tables_sort(opened: Look) -> None:
    opened.page.click("#tab-figures")
    table = opened.page.locator("table.places").first
    names = table.locator("tbody th")
    table.locator("[data-column=name]").click()
    assert names.all_inner_texts() == [HOSTILE, EAST]
    table.locator("[data-column=name]").click()
    assert names.all_inner_texts() == [EAST, HOSTILE]
    names.first.locator("button").click()
    opened.until("Math.abs(skyeye.map.getCenter().lng - 975) < 5")


def test_cells_stand_for_buildings_from_far_out(opened: Look) -> None:
    buildings = opened.painted()
    opened.page.evaluate("skyeye.closeZoom = 9; skyeye.redraw(); skyeye.writeShown()")
    assert 0 < opened.painted() != buildings
    assert "500 m" in opened.text("#shown")


def test_the_page_speaks_the_browsers_language_and_another_by_the_switch(
    look: Callable[..., Look], report: Path
) -> None:
    spanish = look(locale="es-MX").open(address_of(report))
    assert "No evaluado" in spanish.text("#pane-layers")
    spanish.page.select_option("#language", "de")
    assert "Nicht bewertet" in spanish.text("#pane-layers")
    assert spanish.page.get_attribute("html", "lang") == "de"
    spanish.page.reload()
    spanish.ready()
    assert "Nicht bewertet" in spanish.text("#pane-layers")


def test_the_keyboard_reaches_every_control_and_sees_where_it_is(opened: Look) -> None:
    reached = set()
    for _ in range(60):
        opened.page.keyboard.press("Tab")
        reached.add(opened.page.evaluate("document.activeElement.id"))
        outline = opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or opened.page.evaluate("document.activeElement === document.body")
    wanted = {
        "view-swipe",
        "view-side",
        "view-blink",
        "search-id",
        "language",
        "print",
        "help-open",
        "map",
        "swipe",
    }
    assert (
        wanted | {"zoom-in", "zoom-all", "tab-layers", "grade-3", "p-least", "choose-status", "opacity"}
        <= reached
    )


def test_axe_finds_nothing_serious(opened: Look) -> None:
    opened.page.evaluate((files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8"))
    opened.page.keyboard.press("n")
    opened.until("skyeye.selected")
    found = []
    for pane in PANES:
        opened.page.click(f"#tab-{pane}")
        result = opened.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        found += [
            f"{pane}: {each['id']} at {each['nodes'][0]['target']}"
            for each in result["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert found == []


def test_it_prints_on_one_sheet(opened: Look) -> None:
    opened.page.wait_for_timeout(300)
    sheet = opened.page.pdf(prefer_css_page_size=True)
    assert sheet.count(b"/Type /Page\n") == 1


def test_a_phone_shows_map_and_panel_without_scrolling_sideways(
    look: Callable[..., Look], report: Path
) -> None:
    phone = look(390, 844, has_touch=True, is_mobile=True).open(address_of(report))
    assert phone.page.evaluate("document.documentElement.scrollWidth") == 390
    for part in ("#map", "#panel"):
        box = phone.page.locator(part).bounding_box()
        assert box["width"] == 390
        assert box["height"] > 250


def test_a_scene_without_buildings_opens(look: Callable[..., Look], tmp_path: Path) -> None:
    empty = look().open(address_of(write_report(tmp_path, 0, 0)))
    assert empty.text("#shown") == "0 of 0 buildings in view shown"
    empty.page.keyboard.press("n")
    empty.until("document.getElementById('message').textContent")
    for pane in PANES:
        empty.page.click(f"#tab-{pane}")
    assert empty.painted() == 0


def test_a_missing_file_is_named(look: Callable[..., Look], tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(document.index_html())
    lost = look()
    lost.page.goto(address_of(tmp_path))
    lost.until("document.getElementById('alert').textContent")
    assert "meta.js is missing" in lost.text("#alert")
    assert all("ERR_FILE_NOT_FOUND" in each for each in lost.complaints)
    lost.complaints.clear()


def test_single_keys_can_be_turned_off(opened: Look) -> None:
    opened.page.keyboard.press("h")
    opened.page.uncheck("#single-keys")
    opened.page.keyboard.press("Escape")
    opened.page.keyboard.press("k")
    assert opened.page.get_attribute("#view-blink", "aria-pressed") == "false"


def test_pictures_are_kept_for_people_to_look_at(opened: Look) -> None:
    steps = {
        "whole": lambda: None,
        "close": lambda: opened.page.click("#zoom-in"),
        "record": lambda: opened.page.keyboard.press("n"),
        "side": lambda: opened.page.click("#view-side"),
        "figures": lambda: opened.page.click("#tab-figures"),
        "phone": lambda: opened.page.set_viewport_size({"width": 390, "height": 844}),
    }
    for name, step in steps.items():
        step()
        opened.page.wait_for_timeout(250)
        opened.ready()
        place = PICTURES / f"{name}.png"
        opened.page.screenshot(path=place)
        assert place.stat().st_size > 50_000, f"{place} is nearly empty"
    opened.page.set_viewport_size({"width": 1280, "height": 800})
