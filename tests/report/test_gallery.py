"""The gallery: contact sheet and page."""

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from skyeye_det.data.image_reading import read_image
from skyeye_det.report.gallery import SHEET_PAIRS, PanelLook, contact_sheet, safe_name, write_gallery
from skyeye_det.report.outlines import DrawnBuilding
from skyeye_det.report.panel import PairPicture

HOSTILE = [
    "gallery",
    "index.html",
    "../../etc/passwd",
    "/tmp/absolute",
    "..",
    ".",
    "",
    ".hidden",
    "a/b\\c",
    '"><script>alert(1)</script>',
    "<img src=x onerror=alert(1)>",
    "line\nbreak\x00nul",
    "é" * 300,
    "javascript:alert(1)",
]


class Page(HTMLParser):
    """What a browser would see: tags, places that are linked to, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def pair(scene: str = "palu-tsunami_00000001", **known) -> PairPicture:
    image = np.full((32, 32, 3), 90, np.uint8)
    return PairPicture(scene, image, image, **known)


def building(damage: int) -> DrawnBuilding:
    return DrawnBuilding(np.ones((5, 5), np.uint8), (4, 4), damage)


def test_page_shows_each_pair_with_relative_pictures_that_exist(tmp_path):
    pairs = [pair("a_1", truth=[building(3)]), pair("b_2", truth=[], prediction=[building(0), building(0)])]
    page = Page(write_gallery(tmp_path / "out", pairs))
    assert "://" not in (tmp_path / "out" / "index.html").read_text()
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert page.tags.count("figure") == 2
    assert page.tags.count("img") == 2
    for link in page.links:
        assert (tmp_path / "out" / link).is_file()
        assert not Path(link).is_absolute()
    assert {path.name for path in (tmp_path / "out" / "panels").iterdir()} == {"a_1.png", "b_2.png"}


@pytest.mark.parametrize("scene", HOSTILE)
def test_hostile_scene_name_writes_inside_the_folder_and_is_text_on_the_page(tmp_path, scene):
    output = tmp_path / "deep" / "er" / "out"
    page = Page(write_gallery(output, [pair(scene)]))
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {output / "index.html", output / "gallery.png", *(output / "panels").glob("*.png")}
    assert len(written) == 3
    assert page.tags.count("script") == 0
    assert page.tags.count("img") == 1
    assert not {name for name in page.attributes if name.startswith("on")}
    assert all(link.startswith(("panels/", "gallery.png")) for link in page.links)


def test_names_never_collide_and_plain_ones_stay():
    names = [*HOSTILE, "a_b", "a/b", "a\\b", "A" * 200, "A" * 201]
    assert len({safe_name(name) for name in names}) == len(names)
    assert safe_name("hurricane-michael_00000447") == "hurricane-michael_00000447"
    assert all(len(safe_name(name)) < 150 for name in names)


def test_score_table_is_shown_and_escaped(tmp_path):
    page = Page(write_gallery(tmp_path, [pair()], score_table="score   0.5 <i>\nlocalization 0.7"))
    assert "score   0.5 <i>\nlocalization 0.7" in page.text
    assert "pre" in page.tags
    assert "i" not in page.tags


def test_counts_of_truth_and_prediction_stand_beside_the_picture(tmp_path):
    known = {"truth": [building(3)] * 2, "prediction": [building(0)] * 17}
    text = Page(write_gallery(tmp_path, [pair(**known)])).text
    assert "truth200020" in text  # 2 buildings: 0 no-damage, 0 minor, 0 major, 2 destroyed, 0 un-classified
    assert "prediction17170000" in text
    assert "prediction" not in Page(write_gallery(tmp_path, [pair(truth=[])])).text


def test_no_pairs_give_a_page_and_a_sheet_that_say_so(tmp_path):
    page = Page(write_gallery(tmp_path, []))
    assert "No pairs" in page.text
    assert read_image(tmp_path / "gallery.png").size


def test_contact_sheet_is_bounded_and_pads_narrow_strips():
    strips = [np.zeros((10, 300, 3), np.uint8), np.zeros((10, 500, 3), np.uint8)]
    sheet = contact_sheet(strips, 2)
    assert sheet.shape[1] == 500
    assert (sheet[:10, 300:] == 255).all()
    assert contact_sheet(strips, 3).shape[0] > sheet.shape[0]


def test_sheet_stops_growing_while_the_page_goes_on(tmp_path):
    write_gallery(tmp_path / "full", (pair(f"a_{number}") for number in range(SHEET_PAIRS + 1)))
    write_gallery(tmp_path / "more", (pair(f"a_{number}") for number in range(SHEET_PAIRS + 3)))
    heights = [read_image(tmp_path / name / "gallery.png").shape[0] for name in ("full", "more")]
    assert heights[0] == heights[1]
    assert Page(tmp_path / "more" / "index.html").tags.count("figure") == SHEET_PAIRS + 3


def test_crop_and_zoom_reach_the_panels(tmp_path):
    write_gallery(tmp_path, [pair(truth=[])], look=PanelLook(zoom=2, crop=(0, 0, 16, 8)))
    picture = read_image(tmp_path / "panels" / "palu-tsunami_00000001.png")
    assert (picture == 90).all(axis=2).sum() == 3 * 32 * 16
