"""Folders and single pairs through a tiny model with random weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as run_lengths
from skyeye_det.engine.pair_predictor import ModelFiles
from skyeye_det.engine.predictor import InferenceOptions, infer_folder, infer_pair
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.trainer import PairTrainer
from skyeye_det.errors import InputError
from skyeye_det.xview2.submission import read_class_png

CONFIG = str(CONFIGS / "xbd_mrcnn.yaml")
INFER = Path(__file__).resolve().parents[2] / "tools" / "infer.py"
SCENES = ("storm_00000001", "storm_00000002", "storm_00000003")
WIDTH, HEIGHT = 131, 97  # neither square nor a multiple of any stride
RULES = {
    "all": DecisionRule(score_threshold=0.0, pixel_threshold=0.01, map_weight=0.0),
    "map": DecisionRule(score_threshold=0.0, pixel_threshold=0.2, map_weight=1.0),
    "none": DecisionRule(score_threshold=1.0),
    "other": DecisionRule(score_threshold=0.7),
}
DECISIONS: dict[str, list[str]] = {name: [] for name in RULES}
PAINT_ALL, PAINT_MAP, PAINT_NONE, PAINT_OTHER = DECISIONS.values()


@pytest.fixture(autouse=True, scope="module")
def _decisions(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Rules as files, whose paths the overrides of this module name."""
    folder = tmp_path_factory.mktemp("decisions")
    for name, rule in RULES.items():
        write_rule(folder / f"{name}.yaml", rule)
        DECISIONS[name][:] = ["TEST.DECISIONS", str(folder / f"{name}.yaml")]


def write_pair(folder: Path, scene: str, seed: int, shape: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    folder.mkdir(exist_ok=True)
    generator = np.random.default_rng(seed)
    for phase in ("pre", "post"):
        image = generator.integers(0, 256, (*shape, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{scene}_{phase}_disaster.png"), image)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for seed, scene in enumerate(SCENES):
        write_pair(tmp_path / "images", scene, seed)
    return tmp_path / "images"


def predict(weights, images, output, overrides=PAINT_ALL, views="none", **options) -> int:
    model = ModelFiles(CONFIG, weights, views)
    return infer_folder([model], images, output, InferenceOptions(**options), [*tiny_overrides(), *overrides])


def pngs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def boxes_of(results: list[dict]) -> np.ndarray:
    """Pixels in a box or beside one."""
    boxes = np.zeros((HEIGHT, WIDTH), bool)
    for result in results:
        x, y, width, height = result["bbox"]
        rows = slice(max(int(y) - 1, 0), int(y + height) + 2)
        boxes[rows, max(int(x) - 1, 0) : int(x + width) + 2] = True
    return boxes


def test_every_pair_gets_two_pngs_of_its_size_and_its_instances(weights, images, tmp_path):
    assert predict(weights, images, tmp_path / "out") == len(SCENES)
    results = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert {result["scene"] for result in results} == set(SCENES)
    assert len({result["uid"] for result in results}) == len(results)
    for scene in SCENES:
        localization, damage = (
            read_class_png(tmp_path / "out" / f"{scene}_{kind}_prediction.png")
            for kind in ("localization", "damage")
        )
        assert localization.shape == damage.shape == (HEIGHT, WIDTH)
        found = [result for result in results if result["scene"] == scene]
        for result in found:
            assert run_lengths.decode(result["segmentation"]).shape == (HEIGHT, WIDTH)
            assert sum(result["damage_probs"]) == pytest.approx(1, abs=1e-4)
            assert int(np.argmax(result["damage_probs"])) == result["damage"]
        assert localization.any()
        assert not localization[~boxes_of(found)].any()
        np.testing.assert_array_equal(damage > 0, localization > 0)


def test_pixels_of_the_map_belong_to_instances(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out", PAINT_MAP)
    results = json.loads((tmp_path / "out" / "instances.json").read_text())
    off_boxes = 0
    for scene in SCENES:
        localization, damage = (
            read_class_png(tmp_path / "out" / f"{scene}_{kind}_prediction.png")
            for kind in ("localization", "damage")
        )
        np.testing.assert_array_equal(damage > 0, localization > 0)
        found = [result for result in results if result["scene"] == scene]
        assert set(np.unique(damage)) - {0} <= {1 + result["damage"] for result in found}
        boxes = boxes_of(found)
        off_boxes += int(localization[~boxes].sum())
    assert off_boxes > 0


def test_nothing_above_the_threshold_gives_zero_pngs(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out", PAINT_NONE)
    assert len(pngs(tmp_path / "out")) == 2 * len(SCENES)
    assert not any(read_class_png(path).any() for path in (tmp_path / "out").glob("*.png"))


def test_no_detection_at_all_gives_an_empty_list(images, tmp_path):
    model = PairTrainer.build_model(tiny_config())
    last = model.building_map_head.finer[-1]
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.constant_(last.bias, -20.0)  # the map is black
    SkyeyeCheckpointer(model, str(tmp_path)).save("blind")
    predict(
        str(tmp_path / "blind.pth"), images, tmp_path / "out", ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "1.1"]
    )
    assert json.loads((tmp_path / "out" / "instances.json").read_text()) == []
    assert not any(read_class_png(path).any() for path in (tmp_path / "out").glob("*.png"))


def test_a_black_pair_passes(weights, tmp_path):
    (tmp_path / "images").mkdir()
    for phase in ("pre", "post"):
        cv2.imwrite(
            str(tmp_path / "images" / f"x_00000001_{phase}_disaster.png"), np.zeros((64, 64, 3), np.uint8)
        )
    assert predict(weights, tmp_path / "images", tmp_path / "out") == 1
    assert len(pngs(tmp_path / "out")) == 2


def test_a_second_run_does_only_what_is_missing(weights, images, tmp_path):
    output = tmp_path / "out"
    predict(weights, images, output)
    expected, joined = pngs(output), (output / "instances.json").read_bytes()
    (output / "instances" / f"{SCENES[1]}.json").unlink()
    (output / "instances.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in output.glob("*.png")}
    predict(weights, images, output)
    redone = {path.name for path, time_ns in before.items() if path.stat().st_mtime_ns != time_ns}
    assert redone == {f"{SCENES[1]}_{kind}_prediction.png" for kind in ("localization", "damage")}
    assert pngs(output) == expected
    assert (output / "instances.json").read_bytes() == joined


def test_results_of_another_model_are_not_continued(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out")
    with pytest.raises(InputError, match="another decisions"):
        predict(weights, images, tmp_path / "out", PAINT_OTHER)


def test_another_set_of_images_is_not_continued(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out", numbered=True)
    write_pair(images, "a_new_one_00000001", 9)
    with pytest.raises(InputError, match="another images_sha256"):
        predict(weights, images, tmp_path / "out", numbered=True)


def test_a_lost_png_is_made_again(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out")
    lost = tmp_path / "out" / f"{SCENES[0]}_damage_prediction.png"
    content = lost.read_bytes()
    lost.unlink()
    predict(weights, images, tmp_path / "out")
    assert lost.read_bytes() == content


def test_numbered_names_come_with_their_table(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out", numbered=True, prefix="hold")
    assert {name.split("_")[0] for name in pngs(tmp_path / "out")} == {"hold"}
    table = (tmp_path / "out" / "numbering.csv").read_text().splitlines()
    assert table[1:] == [f"hold_{number:05d},{scene}" for number, scene in enumerate(SCENES)]


def test_the_container_entry_writes_what_the_folder_run_writes(weights, images, tmp_path):
    predict(weights, images, tmp_path / "out")
    outputs = tmp_path / "loc.png", tmp_path / "dmg.png"
    pair = tuple(images / f"{SCENES[0]}_{phase}_disaster.png" for phase in ("pre", "post"))
    infer_pair([ModelFiles(CONFIG, weights)], pair, outputs, overrides=[*tiny_overrides(), *PAINT_ALL])
    for path, kind in zip(outputs, ("localization", "damage"), strict=True):
        expected = tmp_path / "out" / f"{SCENES[0]}_{kind}_prediction.png"
        assert path.read_bytes() == expected.read_bytes()


def test_images_of_two_sizes_are_refused_by_name(weights, images, tmp_path):
    cv2.imwrite(str(images / f"{SCENES[2]}_post_disaster.png"), np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(InputError, match=rf"{SCENES[2]}_post_disaster.png: expected 131 x 97 px .* 60 x 50"):
        predict(weights, images, tmp_path / "out")


def test_a_repaired_image_is_taken_after_a_run_without_results(weights, tmp_path):
    write_pair(tmp_path / "images", SCENES[0], 0)
    path = tmp_path / "images" / f"{SCENES[0]}_pre_disaster.png"
    whole = path.read_bytes()
    path.write_bytes(whole[:200])
    with pytest.raises(InputError, match="damaged"):
        predict(weights, tmp_path / "images", tmp_path / "out")
    path.write_bytes(whole)
    assert predict(weights, tmp_path / "images", tmp_path / "out") == 1


def test_a_damaged_first_image_leaves_no_traceback_of_loading_processes(weights, images):
    path = images / f"{SCENES[0]}_pre_disaster.png"
    path.write_bytes(path.read_bytes()[:200])
    command = [
        sys.executable,
        str(INFER),
        "--config-file",
        CONFIG,
        "--weights",
        weights,
        "--images",
        str(images),
    ]
    command += ["--output", str(images.parent / "out"), "--opts", *tiny_overrides(DATALOADER__NUM_WORKERS=2)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert path.name in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_told_in_one_sentence(weights, images, tmp_path, workers):
    path = images / f"{SCENES[1]}_pre_disaster.png"
    path.write_bytes(path.read_bytes()[:200])  # the header is whole, the pixels are not
    with pytest.raises(InputError) as caught:
        predict(weights, images, tmp_path / "out", [*PAINT_ALL, "DATALOADER.NUM_WORKERS", str(workers)])
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(weights, images, tmp_path):
    with pytest.raises(InputError, match="expected those of the whole model"):
        predict(weights, images, tmp_path / "out", ["MODEL.FPN.OUT_CHANNELS", "24"])
    assert not (tmp_path / "out").exists()


def test_a_killed_run_leaves_no_half_file_and_is_taken_up(weights, images, tmp_path):
    for seed in range(3, 9):
        write_pair(images, f"storm_0000001{seed}", seed)
    output = tmp_path / "out"
    options = [*tiny_overrides(), *PAINT_ALL]
    command = [sys.executable, str(INFER), "--config-file", CONFIG, "--weights", weights]
    command += ["--images", str(images), "--output", str(output), "--opts", *options]
    run = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(output.glob("instances/*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = list(output.glob("instances/*.json"))
    assert done
    for part in done:
        scene = part.stem
        assert isinstance(json.loads(part.read_text()), list)
        for kind in ("localization", "damage"):
            assert read_class_png(output / f"{scene}_{kind}_prediction.png").shape == (HEIGHT, WIDTH)
    for path in output.glob("*.png"):
        read_class_png(path)
    predict(weights, images, output)
    assert len(pngs(output)) == 18
    assert not list(output.rglob("*.partial"))
