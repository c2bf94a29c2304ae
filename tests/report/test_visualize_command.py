"""``tools/visualize.py``: from labels, converted files, folders and results to pictures."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from small_xbd import square, write_pair

from skyeye_det.commands.visualize import main
from skyeye_det.damage import DAMAGE_COLORS, SUBTYPE_BY_DAMAGE
from skyeye_det.data.coco import convert_split
from skyeye_det.data.image_reading import read_image
from skyeye_det.errors import InputError
from skyeye_det.report.gallery import PanelLook
from skyeye_det.report.outlines import DrawnBuilding
from skyeye_det.report.sources import ResultFolder, scenes_of_coco, scenes_of_folder, scenes_of_xbd
from skyeye_det.report.visualize import SceneChoice, disagreement, visualize
from skyeye_det.xview2.submission import write_numbering

SIDE = 48
SQUARES = {"a-fire_00000001": [(10, 3)], "b-fire_00000002": [], "c-fire_00000003": [(5, -1), (25, 0)]}
"""scene -> (left and top, damage) of 10 px squares"""


@pytest.fixture
def root(tmp_path) -> Path:
    for scene, squares in SQUARES.items():
        buildings = [(square(at, at, 9), SUBTYPE_BY_DAMAGE[damage]) for at, damage in squares]
        write_pair(tmp_path / "xbd", "val", scene, buildings)
    return tmp_path / "xbd"


def result(scene: str, at: int, damage: int, score: float) -> dict:
    mask = np.zeros((SIDE, SIDE), np.uint8, order="F")
    mask[at : at + 10, at : at + 10] = 1
    code = {"size": [SIDE, SIDE], "counts": coco_mask.encode(mask)["counts"].decode()}
    return {"scene": scene, "segmentation": code, "score": score, "damage": damage, "category_id": 1}


@pytest.fixture
def results(tmp_path) -> Path:
    found = [result("a-fire_00000001", 10, 3, 0.9), result("a-fire_00000001", 30, 0, 0.1)]
    found.append(result("c-fire_00000003", 25, 2, 0.8))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "instances.json").write_text(json.dumps(found))
    return tmp_path / "results"


def colors(path: Path) -> set[int]:
    """Damage whose colour is on more of a picture than its legends can hold."""
    picture = read_image(path)
    return {
        damage
        for damage, color in DAMAGE_COLORS.items()
        if (picture == color).all(axis=2).sum() > 3 * 11 * 11
    }


def columns(path: Path) -> int:
    return read_image(path).shape[1] // 512


def test_labels_of_an_xbd_root_are_drawn_without_results(root, tmp_path):
    assert visualize(scenes_of_xbd(root, "val"), tmp_path / "out") == (3, {})
    panels = {path.stem: path for path in (tmp_path / "out" / "panels").iterdir()}
    assert set(panels) == set(SQUARES)
    assert {columns(path) for path in panels.values()} == {3}
    assert {name: colors(path) for name, path in panels.items()} == {
        "a-fire_00000001": {3},
        "b-fire_00000002": set(),
        "c-fire_00000003": {-1, 0},
    }


def test_all_instances_are_drawn_beside_the_labels_and_no_candidates(root, results, tmp_path):
    (results / "candidates.json").write_text(json.dumps([result("a-fire_00000001", 25, 2, 0.1)]))
    visualize(scenes_of_xbd(root, "val"), tmp_path / "out", results)
    path = tmp_path / "out" / "panels" / "a-fire_00000001.png"
    assert (columns(path), colors(path)) == (4, {0, 3})


def test_images_alone_with_results_have_no_truth(root, results, tmp_path):
    visualize(scenes_of_folder(root / "val" / "images"), tmp_path / "out", results)
    path = tmp_path / "out" / "panels" / "c-fire_00000003.png"
    assert (columns(path), colors(path)) == (3, {2})


def test_converted_file_gives_what_the_labels_give(root, tmp_path):
    convert_split(root, "val", root / "annotations")
    visualize(scenes_of_coco(root / "annotations" / "xbd_val.json"), tmp_path / "coco")
    visualize(scenes_of_xbd(root, "val"), tmp_path / "xbd_pictures")
    for scene in SQUARES:
        images = [
            read_image(tmp_path / name / "panels" / f"{scene}.png") for name in ("coco", "xbd_pictures")
        ]
        np.testing.assert_array_equal(*images)


def test_images_of_a_submission_serve_where_there_are_no_instances(root, tmp_path):
    folder = tmp_path / "pngs"
    folder.mkdir()
    localization = np.zeros((SIDE, SIDE), np.uint8)
    localization[10:20, 10:20] = 1
    for kind, image in (("localization", localization), ("damage", localization * 4)):
        cv2.imwrite(str(folder / f"a-fire_00000001_{kind}_prediction.png"), image)
    visualize(scenes_of_xbd(root, "val"), tmp_path / "out", folder)
    panels = tmp_path / "out" / "panels"
    assert columns(panels / "a-fire_00000001.png") == 4
    assert columns(panels / "b-fire_00000002.png") == 3  # not predicted: no column, not an empty one
    truth, found = np.split(read_image(panels / "a-fire_00000001.png")[60:500, -1080:], 2, axis=1)
    assert (truth == DAMAGE_COLORS[3]).all(axis=2).sum() == (found == DAMAGE_COLORS[3]).all(axis=2).sum() > 0


def test_numbered_submission_finds_its_scenes(tmp_path):
    write_numbering(tmp_path, {"a-fire_00000001": "test_00000"})
    for kind in ("localization", "damage"):
        name = f"test_{kind}_00000_prediction.png"
        cv2.imwrite(str(tmp_path / name), np.full((SIDE, SIDE), 1, np.uint8))
    (building,) = ResultFolder(tmp_path).buildings("a-fire_00000001", (SIDE, SIDE))
    assert building.damage == 0


def test_parts_of_an_unfinished_run_serve(results):
    content = json.loads((results / "instances.json").read_text())
    (results / "instances").mkdir()
    (results / "instances" / "a-fire_00000001.json").write_text(json.dumps(content[:1]))
    assert ResultFolder(results).buildings("b-fire_00000002", (SIDE, SIDE)) == []  # nothing was found in it
    (results / "instances.json").unlink()
    folder = ResultFolder(results)
    assert len(folder.buildings("a-fire_00000001", (SIDE, SIDE))) == 1
    assert folder.buildings("c-fire_00000003", (SIDE, SIDE)) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("", "expected images"),
        ("--xbd-root R", "--split"),
        ("--xbd-root nowhere --split val", "nowhere"),
        ("--xbd-root R --split val --images I", "with another"),
        ("--xbd-root R --split train", "train"),
        ("--xbd-root R --split val --predictions nowhere", "nowhere"),
        ("--xbd-root R --split val --predictions R", "infer.py"),
        ("--annotations nowhere.json", "nowhere"),
        ("--xbd-root R --split val --limit 0", "--limit"),
        ("--xbd-root R --split val --order worst", "worst"),
        ("--xbd-root R --split val --scene ../x", r"no scene '\.\./x'"),
    ],
)
def test_what_is_missing_is_said(root, tmp_path, given, message):
    words = [str(root) if word == "R" else word for word in given.split()]
    with pytest.raises(InputError, match=message):
        main([*words, "--output", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_scenes_are_chosen_limited_and_ordered(root, results, tmp_path):
    page = tmp_path / "out" / "index.html"

    def order(**choice) -> list[str]:
        visualize(scenes_of_xbd(root, "val"), tmp_path / "out", results, choice=SceneChoice(**choice))
        text = page.read_text()
        return sorted(
            (scene for scene in SQUARES if f"<h2>{scene}" in text), key=lambda s: text.index(f"<h2>{s}")
        )

    a, b, c = SQUARES
    assert order() == [a, b, c]
    assert order(names=[c, a, c]) == [c, a]
    assert order(limit=1) == [a]
    assert order(order="worst") == [c, a, b]
    assert order(order="random", seed=1) == order(order="random", seed=1)


def test_disagreement_leaves_ungraded_buildings_aside():
    def block(damage: int, side: int = 4) -> list[DrawnBuilding]:
        return [DrawnBuilding(np.ones((side, side), np.uint8), (0, 0), damage)]

    assert disagreement(block(3), block(3), (9, 9)) == 0
    assert disagreement(block(3), block(0), (9, 9)) == 16
    assert disagreement(block(-1), block(0), (9, 9)) == 0
    assert disagreement(block(-1), [], (9, 9)) == 16
    assert disagreement([], block(0, side=2), (9, 9)) == 4


def test_command_draws_the_scene_that_it_is_given(root, tmp_path):
    scene = "a-fire_00000001"
    main(["--xbd-root", str(root), "--split", "val", "--output", str(tmp_path / "out"), "--scene", scene])
    assert [path.stem for path in (tmp_path / "out" / "panels").iterdir()] == [scene]


def test_real_tiles_are_drawn(xbd_root, tmp_path):
    if not (xbd_root / "val").is_dir():
        pytest.skip("SKYEYE_XBD_ROOT has no val split")
    look = PanelLook(zoom=2, crop=(0, 0, 256, 256))
    assert visualize(scenes_of_xbd(xbd_root, "val"), tmp_path, choice=SceneChoice(limit=2), look=look)[0] >= 1
    assert columns(next((tmp_path / "panels").iterdir())) == 3
