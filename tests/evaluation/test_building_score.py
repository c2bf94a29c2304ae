import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_buildings import building
from test_submission_score import write_labels

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.targets import scene_targets
from skyeye_det.errors import InputError
from skyeye_det.evaluation.submission_score import score_submission
from skyeye_det.evaluation.truth import TrueBuildings, tiles_from_labels
from skyeye_det.prediction.masks import encode_crop
from skyeye_det.xview2.submission import (
    number_scenes,
    submission_names,
    write_numbering,
    write_submission_pngs,
)

SHAPE = (40, 50)
SCENES = ("a-flood_00000001", "a-flood_00000002", "b-fire_00000001")
SQUARE = (10, 10, 10, 10)
"""What write_labels draws: x, y, width, height in px."""


def result(
    scene: str, box: tuple[int, int, int, int] = SQUARE, damage: int = 1, **fields: Any
) -> dict[str, Any]:
    x, y, width, height = box
    return {
        "scene": scene,
        "segmentation": encode_crop((x, y), np.ones((height, width), bool), SHAPE),
        "score": 0.9,
        "damage": damage,
        **fields,
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three tiles of one building: minor, minor and un-classified."""
    for scene, damage in zip(SCENES, (1, 1, -1), strict=True):
        write_labels(tmp_path / "xbd", "train", scene, SUBTYPE_BY_DAMAGE[damage])
    return tmp_path / "xbd"


def write_results(folder: Path, kind: str, results: dict[str, list[Any]], joined: bool = False) -> None:
    if joined:
        everything = [result for part in results.values() for result in part]
        (folder / f"{kind}.json").write_text(json.dumps(everything))
        return
    (folder / kind).mkdir()
    for scene, part in results.items():
        (folder / kind / f"{scene}.json").write_text(json.dumps(part))


def write_predictions(
    folder: Path, results: dict[str, list[Any]] | None = None, joined: bool = False
) -> Path:
    """PNGs of the true square everywhere, of minor damage, and instances if any are given."""
    images = scene_targets([building(*SQUARE, 1)], SHAPE)
    for scene in SCENES:
        write_submission_pngs(folder, scene, *images)
    if results is not None:
        write_results(folder, "instances", results, joined)
    return folder


def buildings(folder: Path, root: Path) -> dict[str, Any]:
    return score_submission(folder, xbd_root=root)["buildings"]


EVERYWHERE = {scene: [result(scene)] for scene in SCENES}


@pytest.mark.parametrize("joined", [True, False])
def test_instances_are_found_in_both_kinds_of_file(tmp_path: Path, root: Path, joined: bool) -> None:
    false = result(SCENES[0], (0, 0, 5, 5), 3, score=0.7)
    results = EVERYWHERE | {SCENES[0]: [false, result(SCENES[0], damage=3)], SCENES[1]: []}
    report = score_submission(write_predictions(tmp_path / "p", results, joined), xbd_root=root)
    found = report["buildings"]
    assert (found["source"], found["least_iou"]) == ("instances", 0.5)
    assert (found["buildings"], found["predicted"], found["found"]) == (3, 3, 2)
    assert found["ordinal_error"] == 2
    assert found["by_size"]["below_16"] == {"buildings": 3, "found": 2, "recall": pytest.approx(2 / 3)}
    assert report["instances"]["recall50"] == pytest.approx(200 / 3)
    assert report["events"]["b-fire"]["buildings"]["recall"] == 1
    assert report["events"]["a-flood"]["buildings"]["recall"] == 0.5
    low, high = report["intervals"]["building_recall"]
    assert 0 <= low <= 2 / 3 <= high <= 1


@pytest.mark.parametrize("joined", [(True, True), (False, False), (True, False)])
def test_candidates_count_for_ap_and_recall_but_not_as_found(
    tmp_path: Path, root: Path, joined: tuple[bool, bool]
) -> None:
    painted = EVERYWHERE | {SCENES[1]: []}
    folder = write_predictions(tmp_path / "p", painted, joined[0])
    alone = score_submission(folder, xbd_root=root)
    write_results(folder, "candidates", {SCENES[1]: [result(SCENES[1], score=0.2)]}, joined[1])
    (folder / "inference.json").write_text("no settings of ours")
    both = score_submission(folder, xbd_root=root)
    assert str(both["buildings"]) == str(alone["buildings"])
    assert both["buildings"]["predicted"] == 2
    assert (alone["instances"]["recall50"], both["instances"]["recall50"]) == pytest.approx((200 / 3, 100))
    assert both["instances"]["AP"] > alone["instances"]["AP"]


def test_candidates_are_checked_like_instances(tmp_path: Path, root: Path) -> None:
    folder = write_predictions(tmp_path / "p", EVERYWHERE)
    write_results(folder, "candidates", {SCENES[1]: [result(SCENES[1], score=2)]})
    with pytest.raises(InputError, match="candidates/a-flood_00000002.json: expected a score 0..1"):
        buildings(folder, root)
    write_results(folder, "candidates", {"z": [result("z")]}, joined=True)
    with pytest.raises(
        InputError, match="candidates.json: .*found scene 'z', one of 1 without truth and PNG"
    ):
        buildings(folder, root)


def test_components_stand_in_where_there_are_no_instances(tmp_path: Path, root: Path) -> None:
    report = score_submission(write_predictions(tmp_path / "p"), xbd_root=root)
    found = report["buildings"]
    assert found["source"] == "components"
    assert (found["found"], found["predicted"], found["ordinal_error"], found["graded"]) == (3, 3, 0, 2)
    assert report["instances"] is None


def test_order_of_the_instances_changes_nothing(tmp_path: Path, root: Path) -> None:
    rng = np.random.default_rng(0)
    crowd = [
        result(SCENES[0], (10 + dx, 10 + dy, 9, 9), damage, score=score)
        for dx, dy, damage, score in zip(
            *rng.integers(-1, 2, (2, 12)).tolist(), [0, 1, 2, 3] * 3, [0.7, 0.8, 0.9] * 4, strict=True
        )
    ]
    reports = []
    for number, order in enumerate((crowd, crowd[::-1], crowd[5:] + crowd[:5])):
        reports.append(
            buildings(write_predictions(tmp_path / str(number), EVERYWHERE | {SCENES[0]: order}), root)
        )
    assert str(reports[0]) == str(reports[1]) == str(reports[2])
    assert reports[0]["predicted"] == 14


def test_numbered_predictions_keep_their_instances(tmp_path: Path, root: Path) -> None:
    folder = write_predictions(tmp_path / "p", EVERYWHERE)
    numbering = number_scenes(SCENES)
    write_numbering(folder, numbering)
    for scene, number in numbering.items():
        for name, other in zip(submission_names(scene), submission_names(number), strict=True):
            (folder / name).rename(folder / other)
    assert buildings(folder, root)["found"] == 3


def test_instances_of_tiles_that_are_not_scored_are_left_alone(tmp_path: Path, root: Path) -> None:
    write_labels(root, "val", "c-wind_00000001", "destroyed")
    write_submission_pngs(tmp_path / "p", "c-wind_00000001", *np.zeros((2, *SHAPE), np.uint8))
    more = EVERYWHERE | {"c-wind_00000001": [result("c-wind_00000001")]}
    folder = write_predictions(tmp_path / "p", more)
    assert score_submission(folder, xbd_root=root, splits=["train"])["buildings"]["buildings"] == 3


def damaged(**fields: Any) -> list[dict[str, Any]]:
    return [result(SCENES[1]), result(SCENES[1], uid="b-7") | fields]


MASK = result(SCENES[1])["segmentation"]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"a": 1}, "expected a list of results"),
        ([{}], r"expected scene a-flood_00000002 for instance 1 of the file, found None"),
        (damaged(score="0.5"), r"expected a score 0\.\.1 for instance b-7, found '0.5'"),
        (damaged(score=float("nan")), "expected JSON"),
        (damaged(score=1.5), "expected a score"),
        (damaged(damage=4), r"expected damage 0\.\.3 or null for instance b-7, found 4"),
        (damaged(damage=True), "expected damage"),
        (damaged(scene="elsewhere"), "expected scene a-flood_00000002 for instance b-7, found 'elsewhere'"),
        (
            damaged(segmentation=[[0, 0, 5, 0, 5, 5]]),
            "mask of 50 x 40 px for instance b-7, found no compressed",
        ),
        (damaged(segmentation={**MASK, "counts": MASK["counts"] + "1"}), "do not add up"),
        (damaged(uid=3, segmentation=None), "for instance 2 of the file"),
    ],
)
def test_faulty_instances_are_named(tmp_path: Path, root: Path, part: Any, message: str) -> None:
    folder = write_predictions(tmp_path / "p", EVERYWHERE | {SCENES[1]: part})
    with pytest.raises(InputError, match=f"{SCENES[1]}.json: (.*)?{message}"):
        buildings(folder, root)


def test_missing_part_and_unknown_scenes_are_named(tmp_path: Path, root: Path) -> None:
    folder = write_predictions(tmp_path / "p", {SCENES[0]: []})
    with pytest.raises(InputError, match=r"instances: expected a-flood_00000002.json, and 2 in all"):
        buildings(folder, root)
    for number, joined in enumerate((True, False)):
        folder = write_predictions(tmp_path / str(number), EVERYWHERE | {"z": [result("z")]}, joined)
        with pytest.raises(InputError, match="found scene 'z', one of 1 without truth and PNG"):
            buildings(folder, root)
    for content in ("{}", "[3]", '[{"scene": 3}]', "no json"):
        (folder / "instances.json").write_text(content)
        with pytest.raises(InputError, match="instances.json: expected"):
            buildings(folder, root)


def test_no_predictions_find_nothing(tmp_path: Path, root: Path) -> None:
    for scene in SCENES:
        write_submission_pngs(tmp_path / "p", scene, *np.zeros((2, *SHAPE), np.uint8))
    found = buildings(tmp_path / "p", root)
    assert (found["recall"], found["f1"], found["predicted"]) == (0, 0, 0)
    (tmp_path / "p" / "instances.json").write_text("[]")
    report = score_submission(tmp_path / "p", xbd_root=root)
    assert report["buildings"]["source"] == "instances"
    assert report["instances"]["AP"] == 0


def test_real_labels_as_instances_are_found_whole(tmp_path: Path, xbd_root: Path) -> None:
    for tile in tiles_from_labels(xbd_root, ["val"]):
        images, buildings = tile.read()
        assert buildings is not None
        write_submission_pngs(tmp_path, tile.scene, *images)
        true = TrueBuildings.of(buildings, images[0].shape)
        part = [
            {"scene": tile.scene, "score": 0.9, "damage": max(int(damage), 0), "segmentation": mask}
            for mask, damage in zip(true.run_lengths(), true.damage, strict=True)
        ]
        (tmp_path / "instances").mkdir(exist_ok=True)
        (tmp_path / "instances" / f"{tile.scene}.json").write_text(json.dumps(part))
    found = score_submission(tmp_path, xbd_root=xbd_root, splits=["val"])
    assert found["buildings"]["f1"] == found["buildings"]["damage_end_to_end"]["macro_f1"] == 1
    assert found["instances"]["AP"] == pytest.approx(100)
