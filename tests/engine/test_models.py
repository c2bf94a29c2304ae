"""Models by themselves: ensembles, views, precisions, and what is refused."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from saved_models import CONFIG, SEMANTIC, SMALL, models, noise
from tiny_model import tiny_overrides

from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.engine.model_files import ModelFiles, ensemble
from skyeye_det.engine.models import Models
from skyeye_det.errors import InputError
from skyeye_det.prediction.footprints import Footprints
from skyeye_det.prediction.merging import merge_predictions
from skyeye_det.prediction.prediction import InstancePrediction, PixelPrediction, Prediction


def test_ensembles_are_merged_each_in_its_own_views(two, semantic):
    image = noise()
    alone = [
        models(path, views=(own,)).predict(image) for path, own in zip(two, ("flips", "none"), strict=True)
    ]
    together = models(*two, views=("flips", "none")).predict(image)
    expected = merge_predictions(alone)
    assert isinstance(together, InstancePrediction)
    for name in ("scores", "damage_probs", "building_map", "is_component"):
        np.testing.assert_array_equal(getattr(together, name), getattr(expected, name))
    assert alone[0].features.shape[1] == 16
    assert together.features.shape[1] == 0
    pixels = Models([ModelFiles(SEMANTIC, semantic)], SMALL).predict(image)
    assert isinstance(pixels, PixelPrediction)


@pytest.mark.parametrize("kind", ["instances", "pixels"])
def test_d4_turns_its_finds_as_the_image_is_turned(two, semantic, kind):
    """Eight views of a turned image are the same eight, so that what the mean finds turns with it."""
    image = noise()
    turned = np.ascontiguousarray(np.rot90(image, 1, (1, 2)))
    for views, is_even in (("d4", True), ("none", False)):
        found = (
            models(two[0], views=(views,))
            if kind == "instances"
            else Models([ModelFiles(SEMANTIC, semantic, views)], SMALL)
        )
        still, moved = (found.predict(each).building_map for each in (image, turned))
        assert np.array_equal(np.rot90(still), moved) == is_even


@pytest.mark.parametrize("kind", ["instances", "pixels"])
def test_a_batch_of_windows_finds_in_each_what_it_finds_alone(two, semantic, kind):
    found = (
        models(two[0], views=("flips",))
        if kind == "instances"
        else Models([ModelFiles(SEMANTIC, semantic)], SMALL)
    )
    images = [noise(), noise()[::-1].copy(), np.zeros_like(noise())]
    for together, image in zip(found.predict_batch(images), images, strict=True):
        assert_alike(together, found.predict(image))


@pytest.mark.parametrize(
    ("free", "side", "size"), [(80, 1024, 4), (10, 1024, 3), (10, 512, 4), (10, 2048, 1), (1, 1024, 1)]
)
def test_a_gpu_gets_as_many_windows_at_once_as_its_memory_holds(monkeypatch, free, side, size):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free << 30, 80 << 30))
    assert models("m.pth", MODEL__DEVICE="cuda").batch_size(side * side) == size
    assert models("m.pth").batch_size(side * side) == 1


def assert_alike(found: Prediction, expected: Prediction) -> None:
    for name in (each.name for each in fields(expected)):
        ours, theirs = (np.asarray(getattr(each, name), np.float64) for each in (found, expected))
        slack = 1 if name in ("masks", "building_map", "damage_map") else 1e-3  # of 255; of 1 or px
        np.testing.assert_allclose(ours, theirs, atol=slack)


@pytest.mark.parametrize("kind", ["instances", "pixels"])
def test_one_look_finds_and_classifies_as_two_do(two, semantic, kind):
    together = models(*two) if kind == "instances" else Models([ModelFiles(SEMANTIC, semantic)], SMALL)
    crops = [((4, 6), np.ones((20, 30), np.bool_)), ((40, 40), np.ones((9, 9), np.bool_))]
    given = Footprints(crops, (64, 64))
    found, known = together.predict_and_classify(noise(), given)
    assert_alike(found, together.predict(noise()))
    assert_alike(known, together.classify(noise(), given))
    assert known.damage_probs.shape == (2, 4)


def test_mixed_precision_finds_nearly_the_same(two):
    plain, mixed = (models(two[0], precision=each).predict(noise()) for each in ("fp32", "bf16"))
    assert not np.array_equal(plain.building_map, mixed.building_map)
    assert np.abs(plain.building_map.astype(int) - mixed.building_map).max() <= 8
    np.testing.assert_allclose(mixed.damage_probs.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize(("configs", "views", "count"), [(2, 1, 3), (3, 1, 2), (1, 2, 3), (0, 1, 1)])
def test_configs_views_and_weights_that_do_not_pair_are_refused(configs: int, views: int, count: int):
    with pytest.raises(InputError, match=f"(--config-file|--tta): .* {count} --weights, found"):
        ensemble(["c.yaml"] * configs, ["w.pth"] * count, ["flips"] * views)


def test_one_config_serves_all_weights_and_as_many_pair_in_order():
    assert ensemble(["a"], ["x", "y"], ["d4", "none"])[0] == ModelFiles("a", "x", "d4")
    assert [each.views for each in ensemble(["a"], ["x", "y"], ["d4"])] == ["d4", "d4"]
    assert ensemble(["a", "b"], ["x", "y"]) == [ModelFiles("a", "x"), ModelFiles("b", "y")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"views": ("up",)}, "--tta: expected none, flips, d4.* found 'up'"),
        ({"precision": "fp8"}, "expected one of fp32, bf16, fp16"),
        ({"precision": "fp16"}, "CUDA"),
    ],
)
def test_what_is_not_there_is_refused_before_weights_are_read(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        models("nowhere.pth", **arguments)


def test_models_that_do_not_fit_each_other_are_refused(two, tmp_path):
    bgr = tmp_path / "bgr.yaml"
    bgr.write_text(f"_BASE_: {CONFIG}\nINPUT:\n  FORMAT: BGR\n")
    overrides = tiny_overrides()
    with pytest.raises(InputError, match=r"INPUT.FORMAT: .*\['BGR', 'RGB'\]"):
        Models(ensemble([CONFIG, str(bgr)], two), overrides)
    for number in (1, 2):
        write_rule(tmp_path / f"rule{number}.yaml", DecisionRule(score_threshold=number / 4))
        text = f"_BASE_: {CONFIG}\nTEST:\n  DECISIONS: rule{number}.yaml\n"
        (tmp_path / f"config{number}.yaml").write_text(text)
    position = overrides.index("TEST.DECISIONS")
    del overrides[position : position + 2]
    both = Models(ensemble([str(tmp_path / f"config{number}.yaml") for number in (1, 2)], two), overrides)
    with pytest.raises(InputError, match="expected a rule for these models together"):
        both.rule("score")
