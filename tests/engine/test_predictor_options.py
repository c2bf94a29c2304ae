"""Ensembles, test-time augmentation, decision rules and semantic models through the folder and pair forms."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from skyeye_det.engine.pair_predictor import ModelFiles, PairPredictor, ensemble
from skyeye_det.engine.predictor import infer_folder, infer_pair
from skyeye_det.prediction.pixel_prediction import PixelPrediction
from test_predictor import CONFIG, INFER, predict, write_pair
from tiny_model import CONFIGS, tiny_config, tiny_overrides

from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.engine.checkpoint import SkyeyeCheckpointer
from skyeye_det.engine.setup import build_pair_model, load_config
from skyeye_det.errors import InputError
from skyeye_det.prediction.merging import merge_predictions
from skyeye_det.xview2.submission import read_class_png

SEMANTIC = str(CONFIGS / "semantic" / "unet_lite0.yaml")
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", "MODEL.BACKBONE.NAME", "tu-test_efficientnet"]
SMALL += [
    "MODEL.BACKBONE.FREEZE_AT",
    "0",
    "MODEL.SEM_SEG_HEAD.CONVS_DIM",
    "32",
    "DATALOADER.NUM_WORKERS",
    "0",
]
SCENE = "storm_00000001"
EVERYTHING = DecisionRule(score_threshold=0.0, pixel_threshold=0.01)


def saved(cfg: CfgNode, seed: int, folder: Path) -> str:
    torch.manual_seed(seed)
    SkyeyeCheckpointer(build_pair_model(cfg), str(folder)).save(f"model_{seed}")
    return str(folder / f"model_{seed}.pth")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of two instance models."""
    folder = tmp_path_factory.mktemp("weights")
    return [saved(tiny_config(), seed, folder) for seed in (0, 1)]


@pytest.fixture(scope="module")
def semantic_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return saved(load_config(SEMANTIC, SMALL), 2, tmp_path_factory.mktemp("semantic"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    write_pair(tmp_path / "images", SCENE, 0, (64, 90))
    return tmp_path / "images"


@pytest.fixture
def everything(tmp_path: Path) -> list[str]:
    write_rule(tmp_path / "everything.yaml", EVERYTHING)
    return ["TEST.DECISIONS", str(tmp_path / "everything.yaml")]


def noise(side: int = 64) -> dict:
    image = torch.randint(0, 256, (6, side, side), generator=torch.Generator().manual_seed(3))
    return {"image": image.to(torch.uint8), "height": side, "width": side}


def written(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.glob("*.png")}


def test_two_checkpoints_are_merged_into_one_prediction(weights):
    cfg, pair = tiny_config(), noise()
    alone = [PairPredictor([(cfg, path)])(pair) for path in weights]
    together = PairPredictor([(cfg, path) for path in weights])(pair)
    expected = merge_predictions(alone)
    np.testing.assert_array_equal(together.scores, expected.scores)
    np.testing.assert_array_equal(together.damage_probs, expected.damage_probs)
    np.testing.assert_array_equal(together.building_map, expected.building_map)
    for one in alone:
        assert not np.array_equal(together.building_map, one.building_map)


def test_instances_and_pixels_make_one_ensemble(weights, semantic_weights):
    models = [(tiny_config(), weights[0]), (load_config(SEMANTIC, SMALL), semantic_weights)]
    pair = noise()
    alone = [PairPredictor([model])(pair) for model in models]
    together = PairPredictor(models)(pair)
    assert isinstance(alone[1], PixelPrediction)
    maps = np.stack([one.building_map for one in alone]).astype(int)
    np.testing.assert_array_equal(together.building_map, (maps.sum(axis=0) + 1) // 2)
    assert len(together.scores) == len(alone[0].scores) > 0


@pytest.mark.parametrize("kind", ["instances", "pixels"])
def test_d4_turns_its_finds_as_the_tile_is_turned(weights, semantic_weights, kind):
    """Eight views of a turned tile are the same eight, so that what the mean finds turns with it."""
    models = {
        "instances": (tiny_config(), weights[0]),
        "pixels": (load_config(SEMANTIC, SMALL), semantic_weights),
    }
    pair = noise()
    turned = pair | {"image": torch.rot90(pair["image"], 1, (1, 2)).contiguous()}
    for views, is_even in (("d4", True), ("none", False)):
        predictor = PairPredictor([models[kind]], [views])
        still, moved = (predictor(each).building_map for each in (pair, turned))
        assert np.array_equal(np.rot90(still), moved) == is_even


def test_views_are_part_of_what_a_folder_holds(weights, images, everything, tmp_path):
    assert predict(weights[0], images, tmp_path / "out", everything, views="d4") == 1
    settings = json.loads((tmp_path / "out" / "inference.json").read_text())
    assert settings["views"] == ["d4"]
    predict(weights[0], images, tmp_path / "plain", everything)
    name = "instances.json"
    assert (tmp_path / "out" / name).read_bytes() != (tmp_path / "plain" / name).read_bytes()
    with pytest.raises(InputError, match="found another views"):
        predict(weights[0], images, tmp_path / "out", everything)


@pytest.mark.parametrize("score", [0.0, 0.7])
def test_a_folder_tells_the_score_from_which_it_was_painted(weights, images, tmp_path, score):
    write_rule(tmp_path / "rule.yaml", DecisionRule(score_threshold=score))
    decisions = ["TEST.DECISIONS", str(tmp_path / "rule.yaml")]
    predict(weights[0], images, tmp_path / "out", decisions)
    settings = json.loads((tmp_path / "out" / "inference.json").read_text())
    assert settings["least_painted_score"] == score


def test_a_folder_of_another_ensemble_is_not_continued(weights, images, everything, tmp_path):
    predict(weights[0], images, tmp_path / "out", everything)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*")}
    with pytest.raises(InputError, match=r"found another weights_sha256 \(weights .*model_0") as told:
        predict(weights[1], images, tmp_path / "out", everything)
    assert "\n" not in str(told.value)
    both = [ModelFiles(CONFIG, path) for path in weights]
    with pytest.raises(InputError, match="weights_sha256, config_sha256"):
        infer_folder(both, images, tmp_path / "out", overrides=[*tiny_overrides(), *everything])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_weights_that_moved_are_the_same_weights(weights, images, everything, tmp_path):
    predict(weights[0], images, tmp_path / "out", everything)
    moved = tmp_path / "moved.pth"
    moved.write_bytes(Path(weights[0]).read_bytes())
    assert predict(str(moved), images, tmp_path / "out", everything) == 1


def test_the_command_takes_weights_views_and_decisions(weights, images, everything, tmp_path):
    command = [sys.executable, str(INFER), "--config-file", CONFIG, "--tta", "flips", "--tta", "none"]
    command += ["--weights", weights[0], "--weights", weights[1], "--decisions", everything[1]]
    command += ["--images", str(images), "--output", str(tmp_path / "out"), "--opts", *tiny_overrides()]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    settings = json.loads((tmp_path / "out" / "inference.json").read_text())
    assert settings["views"] == ["flips", "none"]
    assert settings["decisions"]["pixel_threshold"] == EVERYTHING.pixel_threshold
    infer_folder(
        ensemble([CONFIG], weights, ["flips", "none"]),
        images,
        tmp_path / "again",
        overrides=[*tiny_overrides(), *everything],
    )
    assert written(tmp_path / "out") == written(tmp_path / "again")


def test_decisions_decide_which_classes_are_painted(weights, images, tmp_path):
    for grade in range(4):
        factors = tuple(1e6 if each == grade else 1.0 for each in range(4))
        write_rule(tmp_path / "rule.yaml", DecisionRule(0.0, 0.01, damage_weights=factors))
        output = tmp_path / f"out{grade}"
        predict(weights[0], images, output, ["TEST.DECISIONS", str(tmp_path / "rule.yaml")])
        damage = read_class_png(output / f"{SCENE}_damage_prediction.png")
        assert set(np.unique(damage)) <= {0, grade + 1}
        assert damage.any()
        results = json.loads((output / "instances.json").read_text())
        assert {result["damage"] for result in results} == {grade}


@pytest.mark.parametrize(("configs", "count"), [(2, 3), (3, 2), (2, 1), (0, 1)])
def test_configs_and_weights_that_do_not_pair_are_refused(configs: int, count: int):
    with pytest.raises(InputError, match=f"--config-file: .* {count} --weights, found {configs}"):
        ensemble([f"{number}.yaml" for number in range(configs)], ["w.pth"] * count)


@pytest.mark.parametrize(("views", "count"), [(2, 3), (2, 1)])
def test_views_and_weights_that_do_not_pair_are_refused(views: int, count: int):
    with pytest.raises(InputError, match=f"--tta: .* {count} --weights, found {views}"):
        ensemble(["a.yaml"], ["w.pth"] * count, ["flips"] * views)


def test_each_model_looks_in_its_own_views(weights):
    models, pair = [(tiny_config(), path) for path in weights], noise()
    views = ["flips", "none"]
    alone = [PairPredictor([model], [own])(pair) for model, own in zip(models, views, strict=True)]
    together = PairPredictor(models, views)(pair)
    np.testing.assert_array_equal(together.scores, merge_predictions(alone).scores)
    assert not np.array_equal(together.building_map, PairPredictor(models, views[::-1])(pair).building_map)


def test_one_config_serves_all_weights_and_as_many_pair_in_order():
    assert ensemble(["a"], ["x", "y"], ["d4", "none"])[0] == ModelFiles("a", "x", "d4")
    assert [each.views for each in ensemble(["a"], ["x", "y"], ["d4"])] == ["d4", "d4"]
    assert ensemble(["a"], ["x", "y"]) == [ModelFiles("a", "x"), ModelFiles("a", "y")]
    assert ensemble(["a", "b"], ["x", "y"]) == [ModelFiles("a", "x"), ModelFiles("b", "y")]


def test_unknown_views_are_told_before_weights_are_read(weights):
    with pytest.raises(InputError, match="--tta: expected none, flips, d4.* found 'up'"):
        PairPredictor([(tiny_config(), "nowhere.pth")], ["up"])


def test_models_of_different_channel_orders_are_refused(weights):
    models = [(tiny_config(INPUT__FORMAT=order), weights[0]) for order in ("RGB", "BGR")]
    with pytest.raises(InputError, match=r"INPUT.FORMAT: .*\['BGR', 'RGB'\]"):
        PairPredictor(models)


@pytest.mark.parametrize("views", ["none", "d4"])
def test_a_semantic_model_predicts_a_pair_and_a_folder_alike(semantic_weights, images, tmp_path, views):
    # Of a semantic model everything is painted, whatever the least score of instances is.
    write_rule(tmp_path / "rule.yaml", replace(EVERYTHING, score_threshold=0.7))
    models = [ModelFiles(SEMANTIC, semantic_weights, views)]
    overrides = [*SMALL, "TEST.DECISIONS", str(tmp_path / "rule.yaml")]
    outputs = tmp_path / "loc.png", tmp_path / "dmg.png"
    pair = tuple(images / f"{SCENE}_{phase}_disaster.png" for phase in ("pre", "post"))
    infer_pair(models, pair, outputs, overrides=overrides)
    localization, damage = (read_class_png(path) for path in outputs)
    assert localization.shape == damage.shape == (64, 90)
    assert localization.any()
    np.testing.assert_array_equal(damage > 0, localization > 0)
    infer_folder(models, images, tmp_path / "out", overrides=overrides)
    assert json.loads((tmp_path / "out" / "inference.json").read_text())["least_painted_score"] == 0
    assert set(written(tmp_path / "out").values()) == {path.read_bytes() for path in outputs}
    results = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert {result["scene"] for result in results} == {SCENE}


def test_a_semantic_model_that_finds_nothing_gives_zero_pngs(semantic_weights, images, tmp_path):
    write_rule(tmp_path / "none.yaml", DecisionRule(pixel_threshold=1.0))
    overrides = [*SMALL, "TEST.DECISIONS", str(tmp_path / "none.yaml")]
    infer_folder([ModelFiles(SEMANTIC, semantic_weights)], images, tmp_path / "out", overrides=overrides)
    assert json.loads((tmp_path / "out" / "instances.json").read_text()) == []
    assert not any(read_class_png(path).any() for path in (tmp_path / "out").glob("*.png"))


def test_mixed_precision_finds_nearly_the_same(weights):
    model, pair = (tiny_config(), weights[0]), noise()
    plain, mixed = (PairPredictor([model], precision=each)(pair) for each in ("fp32", "bf16"))
    assert not np.array_equal(plain.building_map, mixed.building_map)
    assert np.abs(plain.building_map.astype(int) - mixed.building_map).max() <= 8
    np.testing.assert_allclose(mixed.damage_probs.sum(axis=1), 1, atol=1e-3)
    assert mixed.masks.dtype == mixed.scores.dtype == mixed.damage_probs.dtype == np.float32


def test_precision_is_part_of_what_a_folder_holds(weights, images, everything, tmp_path):
    predict(weights[0], images, tmp_path / "out", everything, precision="bf16")
    with pytest.raises(InputError, match="found another precision"):
        predict(weights[0], images, tmp_path / "out", everything)


@pytest.mark.parametrize(
    ("precision", "told"), [("fp8", "expected one of fp32, bf16, fp16"), ("fp16", "CUDA")]
)
def test_a_precision_that_is_not_there_is_told(weights, precision, told):
    with pytest.raises(InputError, match=told):
        PairPredictor([(tiny_config(), weights[0])], precision=precision)
