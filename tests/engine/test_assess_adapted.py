"""``skyeye assess`` keeps what adapting needs, and grades by the adaptation of another scene."""

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from assess_runs import layer, run
from scenes import CORNER, write_polygons

from skyeye_det.decision.adaptation import FEATURES, PRIOR, Adaptation
from skyeye_det.decision.adaptation_file import Card, write_adaptation
from skyeye_det.errors import InputError
from skyeye_det.scene.own_answers import ANSWERS, read_own_answers
from skyeye_det.scene.records import PROBABILITIES


def adaptation(path: Path, made: Adaptation, sha256: list[str | None]) -> str:
    gain = {"gain": 0.1, "low": 0.0, "high": 0.2}
    origin = {"event": "a storm", "model": "tiny", "model_sha256": sha256, "skyeye_det": "0"}
    write_adaptation(path, made, Card(labels=30, sampled=30, **gain, **origin))
    return str(path)


def test_the_models_own_answers_are_kept_and_adapted(pair, rule, weights, whole, tmp_path) -> None:
    other = tmp_path / "other"
    own, found = read_own_answers(whole / ANSWERS), layer(whole)
    assert own.ids == found["building_id"].tolist()
    seen = found["status"] == "assessed"
    assert (own.damage >= 0).tolist() == seen.tolist()
    probs = np.stack([found[name] for name in PROBABILITIES], axis=1)
    assert own.probs == pytest.approx(probs, nan_ok=True)
    assert own.features.shape[1] > 0
    assert json.loads((whole / "run.json").read_text())["adaptation"] is None
    direction = np.zeros(own.features.shape[1])
    direction[0] = 0.1
    made = Adaptation(FEATURES, 1.0, (5.0, 5.0, 5.0), direction.tolist())
    given = adaptation(tmp_path / "a.json", made, own.model_sha256)
    run(pair, other, weights, rule, "--adaptation", given)
    after = layer(other)
    assert after["building_id"].tolist() == found["building_id"].tolist()
    changed = np.stack([after[name] for name in PROBABILITIES], axis=1)
    assert changed[seen] == pytest.approx(made.apply(own.probs, own.features)[seen])
    assert np.isnan(changed[~seen]).all()
    assert np.stack([after[f"raw_{name}"] for name in PROBABILITIES], axis=1) == pytest.approx(
        probs, nan_ok=True
    )
    assert read_own_answers(other / ANSWERS).probs == pytest.approx(own.probs, nan_ok=True)
    assert json.loads((other / "run.json").read_text())["adaptation"]["event"] == "a storm"
    assert set(after["run_id"]) != set(found["run_id"])


def test_an_adaptation_that_does_not_fit_is_refused(pair, rule, weights, tmp_path) -> None:
    other = adaptation(tmp_path / "a.json", Adaptation(PRIOR, 1.0, (1.0, 1.0, 1.0)), ["other"])
    with pytest.raises(InputError, match="expected one of the model that assesses"):
        run(pair, tmp_path / "out", weights, rule, "--adaptation", other)
    place = shapely.box(CORNER[0] + 50, CORNER[1] - 70, CORNER[0] + 70, CORNER[1] - 50)
    box = write_polygons(tmp_path / "f.gpkg", place)
    plain = tmp_path / "plain"
    run(pair, plain, weights, rule, "--footprints", box)
    own = read_own_answers(plain / ANSWERS)
    assert own.features.shape == (1, 0)
    made = Adaptation(FEATURES, 1.0, (1.0, 1.0, 1.0), [1.0])
    given = adaptation(tmp_path / "b.json", made, own.model_sha256)
    with pytest.raises(InputError, match="priors alone with --footprints"):
        run(pair, plain, weights, rule, "--footprints", box, "--adaptation", given)
