"""Writes ``docs/demo.jpg``: the page of ``make demo``'s scene, as chromium shows it; see ``make picture``."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "output" / "demo" / "assessment" / "report" / "index.html"
PICTURE = ROOT / "docs" / "demo.jpg"


def main() -> None:
    """Opens the page a little closer than all of it, with one building's record, and takes its picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("error: expected chromium, found none; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 640}, locale="en-GB")
        page.goto(PAGE.as_uri())
        page.wait_for_load_state("networkidle")
        page.get_by_role("button", name="Zoom in").click()
        page.wait_for_timeout(1000)
        page.locator("#map").click(position={"x": 500, "y": 300})
        page.wait_for_timeout(1000)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=PICTURE, quality=85)
        browser.close()


if __name__ == "__main__":
    main()
