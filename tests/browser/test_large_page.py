"""The page of a large scene: 200,000 buildings, and images of 30,000 px."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser_page import Look, address_of
from made_assessment import grid_of, records_of, scattered, write_folder

from skyeye_det.report.page.folder import REPORT, renew_page
from skyeye_det.report.page.tiles import TILE, max_zoom

SIZE, BUILDINGS = 30_000, 200_000
MOST_MB = 560
"""Resident memory of the page's process; 430 were measured, and 650 with tiles of <img>."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("large")
    grid = grid_of(SIZE, SIZE)
    noise = np.random.default_rng(0).normal(110, 12, (TILE, TILE, 3))
    (folder / "tile.jpg").write_bytes(cv2.imencode(".jpg", noise.astype(np.uint8))[1].tobytes())
    for side in ("pre", "post"):
        for zoom in range(max_zoom(grid.shape) + 1):
            for x in range(count := -(-SIZE // (TILE << (max_zoom(grid.shape) - zoom)))):
                column = folder / REPORT / "tiles" / side / str(zoom) / str(x)
                column.mkdir(parents=True)
                for y in range(count):
                    (column / f"{y}.jpg").hardlink_to(folder / "tile.jpg")
    (folder / REPORT / "meta.js").touch()
    renew_page(write_folder(folder, grid, records_of(scattered(BUILDINGS, grid))))
    return folder / REPORT


def resident_mb(chromium: Any) -> float:
    """Of the largest of the browser's pages."""
    processes = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    pages = [Path(f"/proc/{each['id']}/statm") for each in processes if each["type"] == "renderer"]
    return max(int(page.read_text().split()[1]) for page in pages) * 4096 / 1e6


@pytest.mark.slow
def test_a_long_look_around_leaves_room_in_memory(
    look: Callable[..., Look], chromium: Any, large: Path
) -> None:
    page = look(1440, 900).open(address_of(large))
    assert page.page.evaluate("skyeye.scene.buildings") == BUILDINGS
    most = resident_mb(chromium)
    for zoom in ("skyeye.closeZoom", "skyeye.scene.max_zoom", "4"):
        for k in range(14):
            place = f"[{2500 + 1800 * k}, {2500 + k % 4 * 7000}]"
            page.page.evaluate(f"skyeye.map.setView({place}, {zoom}, {{ animate: false }}); 0")
            page.until("skyeye.isDrawn() && !document.querySelector('.image-tile:not(.leaflet-tile-loaded)')")
            most = max(most, resident_mb(chromium))
    assert 100 < most < MOST_MB
