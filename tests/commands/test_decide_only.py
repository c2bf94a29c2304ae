"""Kept predictions decided by the public command: one set of buildings, each once, none erased."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from made_up import map_of, square_prediction

from skyeye_det.commands import infer
from skyeye_det.decision.rule import DecisionRule, write_rule
from skyeye_det.errors import InputError
from skyeye_det.prediction.prediction import Prediction
from skyeye_det.prediction.store import KeptImage, PredictionStore
from skyeye_det.prediction.visibility import keep_window

BUILDING = (20, 30, 60, 70)  # 1,600 px


def keep(folder: Path, prediction: Prediction) -> None:
    height, width = prediction.shape
    images = (KeptImage("town_00000001", "town_00000001_pre_disaster.png", height, width, "1"),)
    store = PredictionStore.create(folder / "predictions", images, 1024, 256, {"weights": ["w.pth"]})
    seen = np.ones((2, *prediction.shape), np.bool_)
    keep_window(store, images[0], store.windows(images[0])[0], prediction, seen)


def decide(folder: Path, *options: str, **rule: Any) -> tuple[np.ndarray, list[dict], list[dict]]:
    """The damage PNG, the buildings and the candidates."""
    write_rule(folder / "rule.yaml", DecisionRule(**rule))
    decisions = ["--decisions", str(folder / "rule.yaml")]
    infer.main(["--decide-only", "--output", str(folder), *decisions, *options])
    damage = cv2.imread(str(folder / "town_00000001_damage_prediction.png"), cv2.IMREAD_UNCHANGED)
    lists = (json.loads((folder / f"{name}.json").read_text()) for name in ("instances", "candidates"))
    return damage, *lists


@pytest.mark.parametrize("score", [0.3, 0.55, 0.61, 0.65, 0.69, 0.71, 0.9])
def test_an_unsure_instance_never_erases_a_sure_component(tmp_path: Path, score: float) -> None:
    # map 0.98, painted from 0.7 on: instances of 0.61 to 0.69 hid the component and were not painted
    seen = square_prediction(
        [BUILDING, BUILDING], [score, 0.98], components=[False, True], building_map=map_of([BUILDING], 0.98)
    )
    keep(tmp_path, seen)
    damage, buildings, _ = decide(tmp_path, score_threshold=0.7)
    assert np.count_nonzero(damage) == 1600
    assert [each["source"] for each in buildings] == ["instance" if score > 0.7 else "component"]


@pytest.mark.parametrize("score", [0.3, 0.5, 0.9])
def test_each_building_is_listed_once(tmp_path: Path, score: float) -> None:
    # 25 buildings gave 50 results
    squares = [(4 + 24 * i, 4 + 18 * j, 20 + 24 * i, 18 + 18 * j) for i in range(5) for j in range(5)]
    seen = square_prediction(
        squares * 2,
        [score] * 25 + [0.9] * 25,
        components=[False] * 25 + [True] * 25,
        building_map=map_of(squares, 0.9),
    )
    keep(tmp_path, seen)
    damage, buildings, _ = decide(tmp_path)
    assert len(buildings) == 25
    assert np.count_nonzero(damage) == 25 * 16 * 14
    assert len({tuple(each["bbox"]) for each in buildings}) == 25


def test_png_and_list_show_the_same_buildings_and_say_how_grades_were_chosen(tmp_path: Path) -> None:
    squares = [(4, 4, 24, 24), (40, 4, 60, 24), (40, 6, 58, 24), (4, 40, 24, 60)]
    keep(tmp_path, square_prediction(squares, [0.9, 0.8, 0.75, 0.2], damage=[0, 2, 3, 1]))
    damage, buildings, candidates = decide(tmp_path, damage_weights=(1.0, 40.0, 1.0, 1.0))
    _, labels = cv2.connectedComponents((damage > 0).astype(np.uint8))
    assert labels.max() == len(buildings) == 2
    for each in buildings:
        x, y, width, height = each["bbox"]
        assert (damage[y : y + height, x : x + width] == each["damage"] + 1).all()
    assert [each["damage"] for each in buildings] == [1, 1]
    assert [each["likeliest_damage"] for each in buildings] == [0, 2]
    assert [each["left_out"] for each in candidates] == ["duplicate", "score"]
    settings = json.loads((tmp_path / "inference.json").read_text())
    assert settings["rule"]["damage_weights"] == [1.0, 40.0, 1.0, 1.0]
    assert "likeliest_damage" in settings["damage"]


def test_a_new_rule_replaces_what_the_old_one_wrote(tmp_path: Path) -> None:
    keep(tmp_path, square_prediction([(4, 4, 24, 24), (40, 4, 60, 24)], [0.9, 0.5]))
    assert len(decide(tmp_path, score_threshold=0.6)[1]) == 1
    assert len(decide(tmp_path, score_threshold=0.4)[1]) == 2
    damage, buildings, _ = decide(tmp_path, score_threshold=0.95)
    assert not damage.any()
    assert buildings == []


@pytest.mark.parametrize("outline", ["painted", "mask", "simplified", "right-angled"])
def test_outlines_and_fills_are_options(tmp_path: Path, outline: str) -> None:
    keep(tmp_path, square_prediction([BUILDING], [0.9], damage=[2], building_map=map_of([BUILDING], 0.9)))
    damage, buildings, _ = decide(tmp_path, "--outline", outline)
    assert np.count_nonzero(damage == 3) == 1600
    assert ("polygons" in buildings[0]) == (outline in ("simplified", "right-angled"))
    shares, _, _ = decide(tmp_path, "--outline", outline, "--fill", "proportional")
    assert np.bincount(shares.ravel(), minlength=5)[1:].tolist() == [48, 48, 1456, 48]


def test_without_another_rule_the_last_one_stands(tmp_path: Path) -> None:
    keep(tmp_path, square_prediction([(4, 4, 24, 24), (40, 4, 60, 24)], [0.9, 0.5]))
    assert len(decide(tmp_path, score_threshold=0.95)[1]) == 0
    infer.main(["--decide-only", "--output", str(tmp_path), "--outline", "mask"])
    settings = json.loads((tmp_path / "inference.json").read_text())
    assert (settings["rule"]["score_threshold"], settings["rule"]["outline"]) == (0.95, "mask")
    (tmp_path / "inference.json").write_text('{"rule": {"score_threshold": "x"}}')
    with pytest.raises(InputError, match="expected the rule of its results"):
        infer.main(["--decide-only", "--output", str(tmp_path)])


def test_what_is_not_predicted_is_not_decided(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected kept predictions"):
        decide(tmp_path)
    keep(tmp_path, square_prediction([BUILDING], [0.9]))
    next((tmp_path / "predictions").glob("*.npz")).unlink()
    with pytest.raises(InputError, match="run the same command without --decide-only"):
        decide(tmp_path)


@pytest.mark.parametrize("strange", ["../../victim", "/victim", "..", ""])
def test_records_of_strangers_delete_nothing_outside(tmp_path: Path, strange: str) -> None:
    folder = tmp_path / "a" / "b"
    keep(folder, square_prediction([BUILDING], [0.9]))
    victims = [tmp_path / "victim.json", tmp_path / "victim_damage_prediction.png"]
    for victim in victims:
        victim.write_text("mine")
    (folder / "inference.json").write_text(json.dumps({"scenes": {strange: [strange, "x"]}}))
    with suppress(InputError):
        decide(folder)
    assert all(victim.read_text() == "mine" for victim in victims)
