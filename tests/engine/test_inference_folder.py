"""What an output folder holds from before: taken up where it is the same, refused where it is not."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from skyeye_det.engine.pair_predictor import ModelFiles
from skyeye_det.engine.predictor import infer_folder, infer_pair, load_models
from tiny_model import CONFIGS, tiny_overrides

from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import read_class_png

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
SCENE = "storm_00000001"
PNG = f"{SCENE}_damage_prediction.png"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, phase in enumerate(("pre", "post")):
        write_tif(tmp_path / "images" / f"{SCENE}_{phase}_disaster.tif", number)
    return tmp_path / "images"


def write_tif(path: Path, seed: int) -> None:
    """Uncompressed: every image of 64 x 48 px has the same number of bytes."""
    image = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), image, [cv2.IMWRITE_TIFF_COMPRESSION, 1])


def predict(weights: str, images: Path, output: Path) -> int:
    return infer_folder([ModelFiles(CONFIG, weights)], images, output, overrides=tiny_overrides())


def test_an_image_replaced_by_another_of_its_size_is_noticed(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out")
    path = images / f"{SCENE}_post_disaster.tif"
    size = path.stat().st_size
    write_tif(path, 7)
    assert path.stat().st_size == size
    with pytest.raises(
        InputError, match=r"another images_sha256 .*delete \S+out/instances/\*\.json to begin"
    ):
        predict(weights, images, tmp_path / "out")


def test_results_of_unknown_origin_are_not_continued(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out")
    (tmp_path / "out" / "inference.json").unlink()
    with pytest.raises(InputError, match=r"inference\.json: expected it to tell .* choose another --output"):
        predict(weights, images, tmp_path / "out")


def test_the_same_weights_under_another_name_are_the_same(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out")
    assert predict(str(shutil.copy(weights, tmp_path / "moved.pth")), images, tmp_path / "out") == 1


@pytest.mark.parametrize("lost", [PNG, f"instances/{SCENE}.json"])
def test_an_empty_file_is_made_again(weights, images, tmp_path, lost):
    predict(weights, images, tmp_path / "out")
    path = tmp_path / "out" / lost
    content = path.read_bytes()
    path.write_bytes(b"")
    predict(weights, images, tmp_path / "out")
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", ["{}", "5", "null"])
def test_a_part_of_something_else_is_told(weights, images, tmp_path, content):
    predict(weights, images, tmp_path / "out")
    (tmp_path / "out" / "instances" / f"{SCENE}.json").write_text(content)
    with pytest.raises(InputError, match=rf"{SCENE}\.json: expected the results .* delete it and run again"):
        predict(weights, images, tmp_path / "out")


def test_a_pair_is_written_whole_or_not_at_all(weights, images, tmp_path):
    pair = tuple(images / f"{SCENE}_{phase}_disaster.tif" for phase in ("pre", "post"))
    (tmp_path / "file").write_text("")
    outputs = tmp_path / "localization.png", tmp_path / "file" / "damage.png"
    with pytest.raises(InputError, match="cannot be written"):
        infer_pair([ModelFiles(CONFIG, weights)], pair, outputs, overrides=tiny_overrides())
    assert not outputs[0].exists()
    outputs = outputs[0], tmp_path / "damage.png"
    infer_pair([ModelFiles(CONFIG, weights)], pair, outputs, overrides=tiny_overrides())
    assert [read_class_png(path).shape for path in outputs] == [(48, 64), (48, 64)]


def test_models_that_name_different_rules_want_one_together():
    configs = [CONFIG, str(CONFIGS / "semantic" / "unet_lite0.yaml")]
    models = [ModelFiles(config, "w.pth") for config in configs]
    with pytest.raises(InputError, match=r"--decisions: expected a rule for these models together, found"):
        load_models(models)
    rule = str(CONFIGS / "decisions" / "xbd_mrcnn_damage+unet_lite0.yaml")
    assert load_models(models, ["TEST.DECISIONS", rule])[1].score_threshold > 0
    assert load_models([models[0]] * 2)[1] == load_models(models[:1])[1]
