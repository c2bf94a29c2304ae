"""A page in a browser, with what a test asks of it."""

import time
from pathlib import Path
from typing import Any


def address_of(report: Path) -> str:
    return (report / "index.html").as_uri()


class Look:
    """A page, and the waiting that a content security policy lets a test do."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    def until(self, condition: str, seconds: float = 10) -> None:
        """Waits until an expression is true in the page."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(f"Boolean({condition})"):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.02)

    def open(self, address: str) -> "Look":
        self.page.goto(address)
        return self.ready()

    def ready(self) -> "Look":
        self.until(
            "window.skyeye?.map && skyeye.isDrawn()"
            " && document.querySelector('#map .image-tile.leaflet-tile-loaded')"
        )
        return self

    def painted(self) -> int:
        """Pixels of the buildings' canvases that are not empty."""
        self.until("skyeye.isDrawn()")
        return self.page.evaluate(
            """() => {
                const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
                const tiles = document.querySelectorAll('#map .leaflet-marks-pane canvas');
                return [...tiles].reduce((sum, tile) => {
                    [pen.canvas.width, pen.canvas.height] = [tile.width, tile.height];
                    pen.drawImage(tile, 0, 0);
                    const { data } = pen.getImageData(0, 0, tile.width, tile.height);
                    for (let k = 3; k < data.length; k += 4) sum += data[k] > 0;
                    return sum;
                }, 0);
            }"""
        )

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)
