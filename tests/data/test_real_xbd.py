"""What only real xBD data can show; runs where SKYEYE_XBD_ROOT names an xBD root with train and val."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from skyeye_det.data.coco import ConversionSummary, convert_split
from skyeye_det.data.scene_files import find_scenes
from skyeye_det.data.targets import scene_targets
from skyeye_det.data.xbd import read_scene
from skyeye_det.files import read_json

ROOT = os.environ.get("SKYEYE_XBD_ROOT", "")

pytestmark = pytest.mark.skipif(not ROOT, reason="SKYEYE_XBD_ROOT names no xBD root")


@pytest.fixture(scope="module", params=["train", "val"])
def summary(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ConversionSummary:
    if not (Path(ROOT) / request.param / "labels").is_dir():
        pytest.skip(f"SKYEYE_XBD_ROOT has no split {request.param}")
    return convert_split(ROOT, request.param, tmp_path_factory.mktemp("annotations"))


def test_every_pair_and_building_is_there_with_its_class(summary: ConversionSummary) -> None:
    labels = sorted((Path(ROOT) / summary.split / "labels").glob("*_post_disaster.json"))
    subtypes = [
        entry["properties"]["subtype"] for path in labels for entry in read_json(path)["features"]["xy"]
    ]
    order = ["no-damage", "minor-damage", "major-damage", "destroyed", "un-classified"]
    counts = [summary.buildings.get(damage, 0) for damage in (0, 1, 2, 3, -1)]
    assert (summary.pairs, counts) == (len(labels), [subtypes.count(subtype) for subtype in order])


def test_targets_from_labels_are_the_official_ones() -> None:
    differing = []
    for split in ("train", "val"):
        found = {files.name: files for files in (find_scenes(ROOT, split)[0])}
        for path in sorted((Path(ROOT) / split / "targets").glob("*_disaster_target.png")):
            name, time = path.name.removesuffix("_disaster_target.png").rsplit("_", 1)
            if name not in found:
                continue
            scene, _ = read_scene(found[name])
            assert scene is not None
            official = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
            assert official is not None
            ours = scene_targets(scene.buildings, official.shape)[("pre", "post").index(time)]
            differing.append(int(np.count_nonzero(ours != official)))
    if not differing:
        pytest.skip("SKYEYE_XBD_ROOT has no official target images")
    assert max(differing) <= 15
    if len(differing) == 23:  # the sample's own
        assert differing.count(0) == 23
