"""The page in Debian's chromium, which fails a test by what it complains of."""

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from browser_page import Look, address_of
from made_report import write_report

INSTALL = (
    "the page's tests need `apt-get install chromium` and `pip install playwright axe-playwright-python`"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser without a window; each test gets contexts of its own."""
    if not CHROMIUM or not find_spec("playwright") or not find_spec("axe_playwright_python"):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(INSTALL)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 200 buildings in two areas."""
    return write_report(tmp_path_factory.mktemp("assessment"), 20, 10)


@pytest.fixture
def look(chromium: Any) -> Iterator[Callable[..., Look]]:
    """Makes pages; what one says to the console fails the test."""
    made: list[Look] = []

    def new(width: int = 1280, height: int = 800, **options: Any) -> Look:
        view = {"viewport": {"width": width, "height": height}, "locale": "en-GB"}
        made.append(Look(chromium.new_context(**view | options).new_page()))
        return made[-1]

    yield new
    for each in made:
        each.page.context.close()
    assert [complaint for each in made for complaint in each.complaints] == []


@pytest.fixture(scope="module")
def window(chromium: Any) -> Look:
    return Look(chromium.new_page(viewport={"width": 1280, "height": 800}, locale="en-GB"))


@pytest.fixture
def opened(window: Look, report: Path) -> Iterator[Look]:
    """The page from disk, loaded anew in one window."""
    window.complaints.clear()
    window.requests.clear()
    yield window.open(address_of(report))
    assert window.complaints == []
