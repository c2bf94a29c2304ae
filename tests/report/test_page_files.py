"""The page's tiles, its one HTML file, and how its folder is written and replaced."""

import base64
import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from affine import Affine
from made_assessment import grid_of, records_of, run_of, scattered, write_folder
from scenes import ground, write

from skyeye_det.errors import InputError
from skyeye_det.files import write_json
from skyeye_det.report.page import document, folder
from skyeye_det.report.page.folder import discard_page, renew_page, require_page_place, write_page
from skyeye_det.report.page.tiles import TILE, block_count, draw_tiles, max_zoom, tile_bits
from skyeye_det.scene.grid import Grid
from skyeye_det.scene.rasters import open_side
from skyeye_det.scene.reading import SideReader
from skyeye_det.scene.run_record import Run

SHAPE = 1100, 1700
GRID = grid_of(SHAPE[1], SHAPE[0])
MARK = 1300, 600
"""px of the grid; left and top of what is seen in both images."""


def reader(path: Path, side: str, grid: Grid, shift: tuple[float, float] = (0.0, 0.0)) -> SideReader:
    return SideReader(open_side(side, [str(path)]), grid, Affine.translation(-shift[0], -shift[1]))


def tile(tiles: Path, zoom: int, x: int, y: int) -> np.ndarray:
    return cv2.imread(str(tiles / str(zoom) / str(x) / f"{y}.jpg"))[..., ::-1]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Before: gray with a red square at ``MARK``; after: 16 bits, 30 px to the left, a part missing."""
    at, (x, y) = tmp_path_factory.mktemp("images"), MARK
    before = np.full((3, *SHAPE), 90, np.uint8)
    before[:, y : y + 64, x : x + 64] = np.array([220, 20, 20])[:, None, None]
    after = np.repeat(np.random.default_rng(0).integers(600, 1500, (1, *SHAPE), np.uint16), 3, axis=0)
    after[:, y : y + 64, x - 30 : x + 34] = np.array([2200, 200, 200])[:, None, None]
    after[:, :, :600] = 0
    return write(at / "pre.tif", before), write(at / "post.tif", after, nodata=0)


@pytest.fixture(scope="module")
def page(images: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = write_folder(tmp_path_factory.mktemp("page"), GRID, records_of(scattered(50, GRID)))
    readers = reader(images[0], "pre", GRID), reader(images[1], "post", GRID, (30.0, 0.0))
    write_page(output, readers, GRID, Run.of(run_of(GRID), ""))
    return output


@pytest.mark.parametrize("side", ["pre", "post"])
def test_what_the_grid_shows_is_found_at_its_tile_at_every_zoom(page: Path, side: str) -> None:
    most, (x, y) = max_zoom(SHAPE), (MARK[0] + 32, MARK[1] + 32)
    assert most == 3
    for zoom in range(most + 1):
        scale = 2 ** (most - zoom)
        column, row = x // (TILE * scale), y // (TILE * scale)
        red, green, _ = tile(page / "report/tiles" / side, zoom, column, row).astype(int).transpose(2, 0, 1)
        rows, columns = np.nonzero(red - green > 80)
        middle = (columns.mean() + 0.5 + column * TILE) * scale, (rows.mean() + 0.5 + row * TILE) * scale
        assert middle == pytest.approx((x, y), abs=scale)
        assert len(rows) * scale**2 == pytest.approx(64**2, rel=0.3)


def test_tiles_without_a_pixel_are_left_out_and_margins_stay_black(page: Path) -> None:
    tiles = page / "report" / "tiles"
    told = json.loads((page / "report/meta.js").read_text()[len("skyeye.meta(") : -3])["tiles"]
    assert told["pre"]["3"] == "1" * 7 * 5
    assert told["post"] == tile_bits(tiles / "post", SHAPE)
    assert told["post"]["3"] == "0011111" * 5  # 630 px are nodata once the image is moved
    assert {path.parent.name for path in (tiles / "post" / "3").glob("*/*.jpg")} == {"2", "3", "4", "5", "6"}
    assert tile(tiles / "post", 3, 2, 0)[:, : 630 - 512 - 8].max() <= 8
    assert tile(tiles / "post", 3, 2, 0)[:, 630 - 512 + 8 :].mean() > 80
    assert tile(tiles / "pre", 3, 6, 4)[1100 - 1024 + 8 :].max() <= 8  # beyond the grid
    assert told["pre"]["0"] == told["post"]["0"] == "1"


def test_blocks_are_read_once_and_tiles_do_not_depend_on_them(images, tmp_path, monkeypatch) -> None:
    with reader(images[0], "pre", GRID) as pre:
        assert len(list(draw_tiles(tmp_path / "small", pre, GRID))) == block_count(SHAPE) == 4
        monkeypatch.setattr("skyeye_det.report.page.tiles._BLOCK", 4096)
        assert len(list(draw_tiles(tmp_path / "whole", pre, GRID))) == 1
    one, other = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.jpg")}
        for name in ("small", "whole")
    )
    assert len(one) == 7 * 5 + 4 * 3 + 2 * 2 + 1
    assert one == other


def test_a_page_of_4096_px_would_be_small(tmp_path: Path) -> None:
    """Noise of a real image's strength: more bytes a tile than houses and fields have."""
    image = ground(512, 512)
    image += np.random.default_rng(0).integers(0, 24, image.shape, np.uint8)
    grid = grid_of(512, 512)
    with reader(write(tmp_path / "a.tif", image), "pre", grid) as pre:
        list(draw_tiles(tmp_path / "tiles", pre, grid))
    sizes = [path.stat().st_size for path in (tmp_path / "tiles").rglob("*.jpg")]
    assert len(sizes) == 5
    assert np.mean(sizes) * 2 * (256 * 4 / 3) < 25e6


@pytest.mark.parametrize(("size", "zoom"), [(1, 0), (256, 0), (257, 1), (1024, 2), (1025, 3), (30000, 7)])
def test_all_of_a_scene_is_in_one_tile_at_zoom_0(size: int, zoom: int) -> None:
    assert max_zoom((1, size)) == max_zoom((size, 1)) == zoom


def test_the_page_is_one_file_that_names_no_other_place(page: Path) -> None:
    html = (page / "report" / "index.html").read_text(encoding="utf-8")
    assert "Leaflet 1.9" in html
    assert "THIS SOFTWARE IS PROVIDED BY THE COPYRIGHT HOLDERS" in html
    assert not re.findall(r"<!--(?!server)", html)
    style = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "leaflet-pane" in style
    assert not re.search(r"url\((?!['\"]?data:)|@import", style)
    outside = re.sub(r"<(style|script)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert not re.search(r"https?:|//|\b(src|href)=\"(?!#|data:)", outside.replace("<!doctype html>", ""))
    assert "sourceMappingURL" not in html
    assert re.search(r"default-src 'none'", html)


def test_only_the_page_s_own_script_may_run(page: Path) -> None:
    html = (page / "report" / "index.html").read_text(encoding="utf-8")
    served = html.replace("<!--server-->", f"<script>{document.SERVER_SCRIPT}</script>")
    (policy,) = re.findall(r"script-src ([^;\"]*)", served)
    assert "unsafe" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", served, re.DOTALL)
    assert len(scripts) == 2
    assert document.SERVER_SCRIPT in scripts
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert document.SERVER_SCRIPT not in html


def test_marks_in_texts_and_scripts_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<!--style--><!--texts--><!--server--><!--script-->")
    (tmp_path / "start.js").write_text("last('<!--texts-->')")
    (tmp_path / "z.js").write_text("first()")
    (tmp_path / "texts").mkdir()
    write_json(tmp_path / "texts" / "en.json", {"a": "</script><!--server-->"})
    html = document.index_html(tmp_path).decode()
    assert html.index("first()") < html.index("last('<!--texts-->')")
    (texts,) = re.findall(r'<script type="application/json" id="texts">(.*?)</script>', html)
    assert json.loads(texts) == {"en": {"a": "</script><!--server-->"}}
    assert html.count("<!--server-->") == 1


def test_a_page_is_written_whole_or_not_at_all(images, tmp_path, monkeypatch) -> None:
    grid = grid_of(300, 200)
    output = write_folder(tmp_path, grid, records_of(scattered(5, grid)))
    renew_page(output)
    before = {path: path.read_bytes() for path in (output / "report").rglob("*.js")}
    (output / ".report.partial" / "tiles").mkdir(parents=True)  # of a killed run
    monkeypatch.setattr(folder, "index_html", lambda: 1 / 0)
    readers = reader(images[0], "pre", grid), reader(images[0], "post", grid)
    with pytest.raises(ZeroDivisionError):
        write_page(output, readers, grid, Run.of(run_of(grid), ""))
    assert {path: path.read_bytes() for path in (output / "report").rglob("*.js")} == before
    assert sorted(path.name for path in output.iterdir()) == ["damage.gpkg", "report", "run.json"]
    monkeypatch.undo()
    write_page(output, readers, grid, Run.of(run_of(grid), ""))
    assert (output / "report" / "tiles" / "pre" / "0" / "0" / "0.jpg").is_file()
    assert sorted(path.name for path in output.iterdir()) == ["damage.gpkg", "report", "run.json"]
    discard_page(output)
    assert not (output / "report").exists()


def test_a_folder_that_is_no_page_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / "report").mkdir()
    for _ in range(2):
        with pytest.raises(InputError, match=r"report: expected the page of an earlier run.*move it away"):
            require_page_place(tmp_path)
        with pytest.raises(InputError, match="found something else"):
            discard_page(tmp_path)
        if not (tmp_path / "report").is_symlink():
            (tmp_path / "report").rmdir()
            (mine / "meta.js").touch()
            (tmp_path / "report").symlink_to(mine)
    assert mine.is_dir()


def test_a_page_whose_parts_are_links_is_not_written_through_them(tmp_path: Path) -> None:
    output, mine = tmp_path / "out", tmp_path / "mine"
    renew_page(write_folder(output, GRID, records_of(scattered(1, GRID))))
    mine.mkdir()
    (mine / "mine.js").touch()
    (output / "report" / "chunks").rename(tmp_path / "old")
    (output / "report" / "chunks").symlink_to(mine)
    with pytest.raises(InputError, match=r"report.chunks: expected a file or folder of a page, found a link"):
        renew_page(output)
    assert [path.name for path in mine.iterdir()] == ["mine.js"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"grid": None},
        {"seen_share": "all"},
        {"shift": {}},
        {"inputs": []},
        {"grid": {"crs": "moon"}},
        {"grid": {"crs": str(Path(__file__))}},
        {"grid": {"width": 0}},
        {"grid": {"height": 10**9}},
        {"grid": {"transform": [0.5, 0, 1e300, 0, -0.5, 0]}},
        {"grid": {"transform": [0, 0, 0, 0, 0, 0]}},
    ],
)
def test_a_record_that_is_none_is_told(tmp_path: Path, wrong: dict) -> None:
    output = write_folder(tmp_path, GRID, records_of(scattered(1, GRID)))
    run = run_of(GRID)
    for key, value in wrong.items():
        run[key] = {**run[key], **value} if isinstance(value, dict) and value else value
    write_json(output / "run.json", run)
    with pytest.raises(InputError, match=r"run.json: expected the record of an assessment.*finished"):
        renew_page(output)


def test_no_geopackage_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", run_of(GRID))
    with pytest.raises(InputError, match="damage.gpkg: expected an assessment with a layer buildings"):
        renew_page(tmp_path)
    (tmp_path / "damage.gpkg").write_text("none")
    with pytest.raises(InputError, match="damage.gpkg: expected an assessment"):
        renew_page(tmp_path)
